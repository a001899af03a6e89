//! Every send path beyond the original's three: `cargo bench --bench paths`. Ids `{path}/{size}/{clients}`, as those of
//! the target `throughput`, which has the three.
//!
//! A path that cannot send from the default layout, the heap, is measured with the first that it takes, and says so.

mod matrix;

use criterion::{Criterion, criterion_group, criterion_main};

fn paths(criterion: &mut Criterion) {
    for group in matrix::groups::paths() {
        let layout = group.cells[0].spec.layout;
        if layout != Default::default() {
            eprintln!("{}: with the layout {layout}", group.name);
        }
        matrix::group(criterion, &group);
    }
}

criterion_group!(name = benches; config = matrix::config(); targets = paths);
criterion_main!(benches);
