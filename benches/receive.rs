//! The receive paths: `cargo bench --bench receive`. Groups `recv-{receive path}` of what `onecopy` sends and
//! `recv-{receive path}-late` of what `zerocopy` sends, which the kernel copies late, over loopback, to single pages; ids
//! `{group}/{size}/{clients}`.

mod matrix;

use criterion::{Criterion, criterion_group, criterion_main};

fn receive(criterion: &mut Criterion) {
    matrix::groups::receive().iter().for_each(|group| matrix::group(criterion, group));
}

criterion_group!(name = benches; config = matrix::config(); targets = receive);
criterion_main!(benches);
