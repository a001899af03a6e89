//! Criterion's files of a benchmark, and every report of them.
#![no_main]

use copycost_cli::report::Format;
use copycost_cli::report::criterion::{Benchmark, set};
use copycost_cli::report::screen::Screen;
use copycost_cli::report::set::side_by_side;
use libfuzzer_sys::fuzz_target;

const HEADER: &str =
    "group,function,value,throughput_num,throughput_type,sample_measured_value,unit,iteration_count\n";

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, format], rest)) = data.split_first_chunk() else { return };
    let text = String::from_utf8_lossy(rest);
    let (first, second) = text.split_once('\0').unwrap_or((&text, ""));
    let benchmarks: Vec<_> = match choice % 3 {
        0 => [first, second].iter().filter_map(|text| Benchmark::from_raw(text).ok()).collect(),
        1 => [first, second]
            .iter()
            .filter_map(|text| Benchmark::from_raw(&format!("{HEADER}{text}")).ok())
            .collect(),
        _ => Benchmark::from_json(first, second).into_iter().collect(),
    };
    let Ok(set) = set("target/criterion", &benchmarks) else { return };
    let screen = Screen { columns: format.into(), ..Screen::FILE };
    let format = [Format::Table, Format::Csv, Format::Markdown, Format::Html][usize::from(format % 4)];
    let _ = format.write_sets(&side_by_side(vec![set.clone(), set]), screen);
});
