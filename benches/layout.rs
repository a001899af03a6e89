//! Where the fields lie, for the two paths it matters to: `cargo bench --bench layout`. Groups `{path}-{layout}`,
//! ids `{path}-{layout}/{size}/1`; the layout `heap` is the target `throughput`.

mod matrix;

use criterion::{Criterion, criterion_group, criterion_main};

fn layout(criterion: &mut Criterion) {
    matrix::groups::layout().iter().for_each(|group| matrix::group(criterion, group));
}

criterion_group!(name = benches; config = matrix::config(); targets = layout);
criterion_main!(benches);
