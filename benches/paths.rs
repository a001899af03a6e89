//! Every send path beyond the original's three: `cargo bench --bench paths`. Ids `{path}/{size}/{clients}`, as those of
//! the target `throughput`, which has the three.
//!
//! A path that cannot send from the default layout, the heap, is measured with the first that it takes, and says so.

mod matrix;

use copycost::message::Spec;
use copycost::scenario::Scenario;
use copycost::send;
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [usize; 3] = [1024, 16_384, 65_536];

const CLIENTS: [usize; 2] = [1, 8];

fn paths(criterion: &mut Criterion) {
    for path in send::ALL.iter().filter(|path| !send::ORIGINAL.contains(&path.name)) {
        let fitting = |spec: Spec| path.nearest(&spec).unwrap_or(spec);
        let spec = |size| fitting(Spec::new(size).expect("the matrix holds valid sizes"));
        if spec(SIZES[0]).layout != Default::default() {
            eprintln!("{}: with the layout {}", path.name, spec(SIZES[0]).layout);
        }
        let scenario = |size, clients| Scenario::new(path, spec(size), clients);
        matrix::group(criterion, path.name, &SIZES, &CLIENTS, scenario);
    }
}

criterion_group!(name = benches; config = matrix::config(); targets = paths);
criterion_main!(benches);
