//! Service demand: CPU time of sender and receiver together for each KiB moved, in ns/KiB. Groups `{path}-cpu`.
//!
//! The value is a cost already, and no throughput is set: Criterion inverts the sign of changes for throughputs, and
//! a regression would print as an improvement.

mod matrix;

use matrix::groups;

use copycost::rig::{Rig, Sample, Work};
use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{
    AxisScale, Criterion, PlotConfiguration, SamplingMode, Throughput, criterion_group, criterion_main,
};

/// CPU time for each KiB. Iterations add up, so that Criterion's division by them gives it back.
struct ServiceDemand;

impl Measurement for ServiceDemand {
    type Intermediate = ();
    type Value = f64;

    // Only `iter_custom` is used here: the rig measures, not the closure.
    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        0.0
    }

    fn add(&self, one: &f64, other: &f64) -> f64 {
        one + other
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &NanosecondsPerKib
    }
}

struct NanosecondsPerKib;

impl ValueFormatter for NanosecondsPerKib {
    fn scale_values(&self, _typical: f64, _values: &mut [f64]) -> &'static str {
        "ns/KiB"
    }

    fn scale_throughputs(&self, _typical: f64, _of: &Throughput, _values: &mut [f64]) -> &'static str {
        "ns/KiB"
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "ns/KiB"
    }
}

fn cost(criterion: &mut Criterion<ServiceDemand>) {
    for cells in groups::cost() {
        let mut group = criterion.benchmark_group(&cells.name);
        group.sampling_mode(SamplingMode::Flat);
        group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
        for scenario in matrix::available(&cells) {
            let mut rig: Option<Rig> = None;
            group.bench_function(matrix::id(scenario), |bencher| {
                let rig = rig.get_or_insert_with(|| matrix::built(scenario));
                bencher.iter_custom(|rounds| {
                    let sample =
                        rig.run(Work::Rounds(rounds)).unwrap_or_else(|error| panic!("{scenario}: {error}"));
                    ns_per_kib(&sample, scenario.spec.size) * rounds as f64
                });
            });
        }
        group.finish();
    }
}

fn ns_per_kib(sample: &Sample, size: usize) -> f64 {
    let cpu = sample.sender.cpu_time() + sample.receiver.cpu_time();
    cpu.as_nanos() as f64 / (sample.messages as f64 * size as f64 / 1024.0)
}

criterion_group!(name = benches; config = matrix::config().with_measurement(ServiceDemand); targets = cost);
criterion_main!(benches);
