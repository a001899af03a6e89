//! How long a report of 1,000 records takes in each form: `cargo run --release --example report_speed`.

use std::time::Instant;

#[path = "../tests/common/results.rs"]
mod results;

use copycost_cli::record::Results;
use copycost_cli::report::Format;

fn main() {
    let sizes: Vec<usize> = (0..20).map(|n| 64 + (1 << n)).collect();
    let clients: Vec<usize> = (1..=17).collect();
    let value = results::results("6.18.0", &sizes, &clients);
    let results: Results = serde_json::from_value(value).expect("made up in the form that is read");
    println!("{} records, {} comparisons", results.records.len(), results.comparisons.len());
    for format in Format::ALL {
        let began = Instant::now();
        let bytes = format.write(&results).len();
        println!("{format:>10}: {:>8.1} ms, {:>9} bytes", began.elapsed().as_secs_f64() * 1e3, bytes);
    }
}
