//! A results file, and every report of it. The first byte chooses: the text itself, or a run's file with changed values,
//! which gets past the parser every time.
#![no_main]

use std::sync::LazyLock;

use copycost_cli::compare::{baseline, verdict};
use copycost_cli::record::Results;
use copycost_cli::report::set::{of_results, side_by_side};
use copycost_cli::report::{self, Format, Paint};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// What `copycost run`, `explain` and `predict` wrote.
static SEEDS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let read = |text: &str| serde_json::from_str(text).expect("a seed is JSON");
    [
        include_str!("../seeds/run.json"),
        include_str!("../../crates/copycost-cli/tests/suite/recorded/explained.json"),
        include_str!("../../crates/copycost-cli/tests/suite/recorded/predicted.json"),
    ]
    .map(read)
    .into()
});

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, format], rest)) = data.split_first_chunk() else { return };
    let text = match SEEDS.get(usize::from(choice % 4)) {
        None => String::from_utf8_lossy(rest).into_owned(),
        Some(seed) => {
            let mut value = seed.clone();
            rest.chunks(4).take(16).for_each(|edit| change(&mut value, edit));
            value.to_string()
        }
    };
    let Ok(results) = Results::read(&text) else { return };
    let format =
        [Format::Table, Format::Json, Format::Csv, Format::Markdown, Format::Html][usize::from(format % 5)];
    let shown = format.write(&results);
    assert!(!shown.contains(|c: char| c.is_control() && !"\n\t".contains(c)), "a terminal could be steered");
    if format == Format::Table {
        let sets = [of_results("a", &results), of_results("b", &results)].concat();
        let _ = format.write_sets(&side_by_side(sets), Paint::Coloured);
        let _ = report::wide(&results);
        let _ = (baseline::changes(&results, &results), baseline::differences(&results, &results));
        let _ = verdict::of(&results);
    }
    let again = Results::read(&Format::Json.write(&results)).expect("what was written reads back");
    assert_eq!(again.records.len(), results.records.len());
});

/// Goes down to a value, two bytes for the way, and puts another in its place, or takes it away, or doubles it.
fn change(value: &mut Value, edit: &[u8]) {
    let [a, b, c, what] = [0, 1, 2, 3].map(|at| edit.get(at).copied().unwrap_or(0));
    let mut way = u32::from_le_bytes([a, b, c, 0]) as usize;
    let mut at = value;
    loop {
        let count = match &*at {
            Value::Array(values) => values.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        if count == 0 {
            *at = other(what, at);
            return;
        }
        let index = way % count;
        way /= count;
        // Rarely a whole branch.
        let stop = way == 0 && what >= 192;
        match at {
            Value::Array(values) if stop => {
                match what % 2 {
                    0 => drop(values.remove(index)),
                    _ => values.push(values[index].clone()),
                }
                return;
            }
            Value::Object(fields) if stop => {
                let name = fields.keys().nth(index).cloned().unwrap_or_default();
                fields.insert(name, other(what, &Value::Null));
                return;
            }
            Value::Array(values) => at = &mut values[index],
            Value::Object(fields) => match fields.values_mut().nth(index) {
                Some(field) => at = field,
                None => return,
            },
            _ => return,
        }
    }
}

fn other(what: u8, old: &Value) -> Value {
    match what % 24 {
        0 => json!(0),
        1 => json!(1),
        2 => json!(-1),
        3 => json!(1u64 << 53),
        4 => json!(u64::MAX),
        5 => json!(1e308),
        6 => json!(5e-324),
        7 => json!(-0.0),
        8 => json!(-1e308),
        9 => json!(null),
        10 => json!(""),
        11 => json!("\u{1b}[31m\u{9b}\r\n\u{7f}"),
        12 => json!("é".repeat(300)),
        13 => json!("<script>&\"'"),
        14 => json!([]),
        15 => json!({}),
        16 => json!(true),
        17 => json!(0.5),
        18 => json!(usize::MAX >> 11),
        19 => json!("onecopy"),
        20 => json!("lab"),
        21 => json!(format!("{},{}", u64::MAX >> 12, usize::MAX)),
        22 => json!("throughput"),
        _ => old.as_f64().map_or(json!("unknown: "), |number| json!(number * -1.5)),
    }
}
