//! Bytes per second of the three original paths, for each message size and number of clients: the crate's main
//! matrix, 48 ids `{path}/{size}/{clients}`.

mod matrix;

use criterion::{Criterion, criterion_group, criterion_main};

fn throughput(criterion: &mut Criterion) {
    matrix::groups::throughput().iter().for_each(|group| matrix::group(criterion, group));
}

criterion_group!(name = benches; config = matrix::config(); targets = throughput);
criterion_main!(benches);
