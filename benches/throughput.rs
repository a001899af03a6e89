//! Bytes per second of the three original paths, for each message size and number of clients: the crate's main
//! matrix, 48 ids `{path}/{size}/{clients}`.

use std::time::Duration;

use copycost::message::Spec;
use copycost::rig::{Rig, Work};
use copycost::scenario::{CLIENTS, SIZES, Scenario, cell_id, matrix};
use copycost::send::{self, Ledger, Release, SendPath};
use copycost::units::thousands;
use criterion::{
    AxisScale, BenchmarkId, Criterion, PlotConfiguration, SamplingMode, Throughput, criterion_group,
    criterion_main,
};

/// Half of the runs of an unchanged build differ from the run before by less than 3 %, and nine of ten by less
/// than this (README, "Tracking regressions", says how that was measured); Criterion's own 1 % would report noise.
const NOISE: f64 = 0.05;

fn throughput(criterion: &mut Criterion) {
    for path in send::ORIGINAL.iter().filter_map(|name| send::by_name(name)) {
        let ledger = group(criterion, path);
        if path.release == Release::OnCompletion {
            tell_copies(&ledger);
        }
    }
}

fn group(criterion: &mut Criterion, path: &'static SendPath) -> Ledger {
    let mut ledger = Ledger::default();
    let mut group = criterion.benchmark_group(path.name);
    group.sampling_mode(SamplingMode::Flat);
    group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    for (size, clients) in matrix(&SIZES, &CLIENTS) {
        let spec = Spec::new(size).expect("the matrix holds valid sizes");
        if let Err(reason) = (path.probe)(&spec) {
            eprintln!("{} is left out: {reason}", path.name);
            break;
        }
        let scenario = Scenario::new(path, spec, clients);
        group.throughput(Throughput::Bytes(scenario.round_bytes()));
        // Built when the first measurement asks for it: an id that is filtered out costs nothing.
        let mut rig: Option<Rig> = None;
        group.bench_function(BenchmarkId::from_parameter(cell_id(size, clients)), |bencher| {
            let rig = rig.get_or_insert_with(|| built(&scenario));
            bencher.iter_custom(|rounds| {
                let sample =
                    rig.run(Work::Rounds(rounds)).unwrap_or_else(|error| panic!("{scenario}: {error}"));
                ledger.add(&sample.ledger);
                sample.time_of(rounds * scenario.round_bytes())
            });
        });
    }
    group.finish();
    ledger
}

fn built(scenario: &Scenario) -> Rig {
    Rig::build(scenario).unwrap_or_else(|error| panic!("{scenario}: {error}"))
}

/// A group whose sends were copied by the kernel has not measured zero copy, and must say so.
fn tell_copies(ledger: &Ledger) {
    if let Some(share) = ledger.copied_share() {
        let sends = thousands(ledger.completed);
        println!("kernel copied {:.0} % of {sends} sends: loopback\n", 100.0 * share);
    }
}

criterion_group! {
    name = benches;
    // 48 ids, plots included, in less than five minutes; flags of the command line win.
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(2_000))
        .sample_size(25)
        .nresamples(20_000)
        .noise_threshold(NOISE);
    targets = throughput
}
criterion_main!(benches);
