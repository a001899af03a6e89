//! Bytes per second of published mixes of message sizes: `cargo bench --bench mix`. Ids `{path}/mix-NAME/{clients}`.

mod matrix;

use criterion::{Criterion, criterion_group, criterion_main};

fn mix(criterion: &mut Criterion) {
    matrix::groups::mix().iter().for_each(|group| matrix::group(criterion, group));
}

criterion_group!(name = benches; config = matrix::config(); targets = mix);
criterion_main!(benches);
