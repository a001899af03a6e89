//! Where the fields lie, for the two paths it matters to: `cargo bench --bench layout`. Groups `{path}-{layout}`,
//! ids `{path}-{layout}/{size}/1`; the layout `heap` is the target `throughput`.

mod matrix;

use copycost::message::{Layout, Spec};
use copycost::scenario::Scenario;
use copycost::send;
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [usize; 3] = [4096, 16_384, 65_536];

fn layout(criterion: &mut Criterion) {
    for path in ["zerocopy", "onecopy"].into_iter().filter_map(send::by_name) {
        for layout in [Layout::Page, Layout::Arena, Layout::Huge] {
            let scenario = |size, clients| {
                let spec = Spec { layout, ..Spec::new(size).expect("the matrix holds valid sizes") };
                Scenario::new(path, spec, clients)
            };
            matrix::group(criterion, &format!("{}-{layout}", path.name), &SIZES, &[1], scenario);
        }
    }
}

criterion_group!(name = benches; config = matrix::config(); targets = layout);
criterion_main!(benches);
