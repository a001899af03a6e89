//! A results file, and every report of it. The first byte chooses: the text itself, or a run's file with changed values,
//! which gets past the parser every time.
#![no_main]

#[path = "../edits/edits.rs"]
mod edits;

use std::sync::LazyLock;

use copycost_cli::record::Results;
use copycost_cli::report::screen::Screen;
use copycost_cli::report::set::{of_results, side_by_side};
use copycost_cli::report::{self, Format};
use copycost_cli::verdict::{self, baseline};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

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
            rest.chunks(4).take(16).for_each(|edit| edits::change(&mut value, edit));
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
        // Wider and narrower than what a terminal is taken for, too.
        let screen =
            Screen { coloured: choice % 2 == 0, columns: choice.into(), unicode: !choice.is_multiple_of(3) };
        let _ = format.write_sets(&side_by_side(sets), screen);
        let _ = report::wide(&results, screen);
        let _ = (baseline::changes(&results, &results), baseline::differences(&results, &results));
        let _ = verdict::of(&results);
    }
    let again = Results::read(&Format::Json.write(&results)).expect("what was written reads back");
    assert_eq!(again.records.len(), results.records.len());
});
