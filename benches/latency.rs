//! Message latency: a client asks for one message and the clock stops at its last byte. Groups `{path}-latency`.
//!
//! With TCP_NODELAY and the fields of a message joined, because a held tail would wait 40 ms for an acknowledgement.

mod matrix;

use std::time::Duration;

use matrix::groups;

use copycost::rig::{Rig, Work};
use criterion::{AxisScale, Criterion, PlotConfiguration, SamplingMode, criterion_group, criterion_main};

fn latency(criterion: &mut Criterion) {
    for cells in groups::latency() {
        let mut group = criterion.benchmark_group(&cells.name);
        group.sampling_mode(SamplingMode::Flat);
        group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
        for scenario in matrix::available(&cells) {
            let mut rig: Option<Rig> = None;
            group.bench_function(matrix::id(scenario), |bencher| {
                let rig = rig.get_or_insert_with(|| matrix::built(scenario));
                bencher.iter_custom(|messages| one_by_one(rig, messages));
            });
        }
        group.finish();
    }
}

/// The time of `messages` messages at their mean latency over all clients.
fn one_by_one(rig: &mut Rig, messages: u64) -> Duration {
    let sample =
        rig.run(Work::Single(messages)).unwrap_or_else(|error| panic!("{}: {error}", rig.scenario()));
    sample.latency.mean().unwrap_or_default().mul_f64(messages as f64)
}

criterion_group!(name = benches; config = matrix::config(); targets = latency);
criterion_main!(benches);
