//! Bytes per second of the three original paths, for each message size and number of clients: the crate's main
//! matrix, 48 ids `{path}/{size}/{clients}`.

mod matrix;

use copycost::message::Spec;
use copycost::scenario::{CLIENTS, SIZES, Scenario};
use copycost::send;
use criterion::{Criterion, criterion_group, criterion_main};

fn throughput(criterion: &mut Criterion) {
    for path in send::ORIGINAL.iter().filter_map(|name| send::by_name(name)) {
        let spec = |size| Spec::new(size).expect("the matrix holds valid sizes");
        let scenario = |size, clients| Scenario::new(path, spec(size), clients);
        matrix::group(criterion, path.name, &SIZES, &CLIENTS, scenario);
    }
}

criterion_group!(name = benches; config = matrix::config(); targets = throughput);
criterion_main!(benches);
