//! A Criterion group over sizes and clients: what the bench targets have in common.

#![allow(dead_code, reason = "each bench target compiles this file and uses a part of it")]

pub mod groups;
mod noted;

use std::time::Duration;

use copycost::recv::Mapped;
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send::Ledger;
use copycost::units::thousands;
use criterion::{AxisScale, BenchmarkId, Criterion, PlotConfiguration, SamplingMode, Throughput};

use groups::Group;

/// Three of four runs of an unchanged build differ from the run before by less than 3.8 %, half by less than 2.1 %
/// (README, "Tracking regressions", says how that was measured); Criterion's own 1 % would report noise.
const NOISE: f64 = 0.05;

/// The 48 ids of `throughput`, plots included, in less than five minutes, all default targets in less than ten;
/// flags of the command line win.
pub fn config() -> Criterion {
    noted::run();
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(2_000))
        .sample_size(25)
        .nresamples(20_000)
        .noise_threshold(NOISE)
}

/// Measures the throughput of each cell, and says at the end what the kernel copied.
pub fn group(criterion: &mut Criterion, cells: &Group) {
    let mut ledger = Ledger::default();
    let mut mapped = Mapped::default();
    let mut group = criterion.benchmark_group(&cells.name);
    // The linear mode would take a run's beginning for part of the cost of a round.
    group.sampling_mode(SamplingMode::Flat);
    group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    for scenario in available(cells) {
        group.throughput(Throughput::Bytes(scenario.round_bytes()));
        // Built when the first measurement asks for it: an id that is filtered out costs nothing.
        let mut rig: Option<Rig> = None;
        group.bench_function(id(scenario), |bencher| {
            let rig = rig.get_or_insert_with(|| built(scenario));
            bencher.iter_custom(|rounds| {
                let sample =
                    rig.run(Work::Rounds(rounds)).unwrap_or_else(|error| panic!("{scenario}: {error}"));
                ledger.add(&sample.ledger);
                mapped = mapped.and(&sample.mapped.unwrap_or_default());
                // All rounds ran to their end, whatever of them fell into the measured part.
                sample.time_of(rounds * scenario.round_bytes()).unwrap_or(sample.wall)
            });
        });
    }
    group.finish();
    tell_copies(&ledger);
    tell_mapped(&mapped);
}

/// The cells that this machine has; says why where it has none.
pub fn available(group: &Group) -> &[Scenario] {
    group.available().unwrap_or_else(|reason| {
        eprintln!("{reason}");
        &[]
    })
}

/// What follows the group's name in the id of a cell.
pub fn id(cell: &Scenario) -> BenchmarkId {
    BenchmarkId::new(groups::function(cell), cell.clients)
}

/// Sets a scenario up, or ends the bench with the sentence why not.
pub fn built(scenario: &Scenario) -> Rig {
    Rig::build(scenario).unwrap_or_else(|error| panic!("{scenario}: {error}"))
}

/// A group whose sends were copied by the kernel has not measured zero copy, and must say so.
fn tell_copies(ledger: &Ledger) {
    if let Some(share) = ledger.copied_share() {
        let sends = thousands(ledger.completed);
        println!("kernel copied {:.0} % of {sends} sends: loopback\n", 100.0 * share);
    }
}

/// A receiver that maps nothing is one that copies with more calls, and must say so.
fn tell_mapped(mapped: &Mapped) {
    if let Some(share) = mapped.share() {
        let why = mapped.copy_reason().map_or_else(String::new, |why| format!(": {why}"));
        println!("{:.0} % of the bytes were mapped{why}\n", 100.0 * share);
    }
}
