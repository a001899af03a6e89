//! The receive paths: `cargo bench --bench receive`. Groups `recv-{receive path}` of what `onecopy` sends and
//! `recv-{receive path}-late` of what `zerocopy` sends, which the kernel copies late, over loopback, to single pages; ids
//! `{group}/{size}/{clients}`.

mod matrix;

use copycost::message::Spec;
use copycost::recv;
use copycost::scenario::Scenario;
use copycost::send;
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [usize; 3] = [1024, 16_384, 65_536];

const CLIENTS: [usize; 2] = [1, 8];

fn receive(criterion: &mut Criterion) {
    for (name, ending) in [("onecopy", ""), ("zerocopy", "-late")] {
        let Some(path) = send::by_name(name) else { continue };
        for receive in recv::ALL {
            if let Err(reason) = (receive.probe)(false) {
                eprintln!("recv-{} is left out: {reason}", receive.name);
                continue;
            }
            let spec = |size| Spec::new(size).expect("the matrix holds valid sizes");
            let scenario = |size, clients| Scenario { receive, ..Scenario::new(path, spec(size), clients) };
            let group = format!("recv-{}{ending}", receive.name);
            matrix::group(criterion, &group, &SIZES, &CLIENTS, scenario);
        }
    }
}

criterion_group!(name = benches; config = matrix::config(); targets = receive);
criterion_main!(benches);
