//! `copycost report`: makes pages and tables from saved results and from a Criterion folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use clap::Args;

use super::files::Files;
use super::{Done, Failure, arguments, input, output};
use crate::record::{Load, Results};
use crate::report::Format;
use crate::report::bench_runs::{BenchRuns, RUNS};
use crate::report::criterion::{self, Benchmark};
use crate::report::screen::Screen;
use crate::report::set::{self, RecordSet};

/// What to read, and what to write.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// JSON files of `copycost run`, or a Criterion folder such as target/criterion. Files of one machine that
    /// measured different cells are joined; other runs are shown side by side
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// A file for the report; its extension chooses the format (.html, .md, .csv, .txt, .json); repeatable
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Show how many cores the sender takes at this load: bits, bytes or messages in a second (25Gbit, 3GB/s, 200k msg/s)
    #[arg(long, value_name = "LOAD", value_parser = arguments::load)]
    at: Option<Load>,
    /// The format on standard output if no file is given: table, json, csv, markdown or html
    #[arg(long, default_value_t)]
    format: Format,
}

/// The contents of an input.
enum ReportInput {
    Results(Box<Results>),
    Criterion(Box<RecordSet>),
}

impl ReportArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        // A file that is given twice counts once.
        let first = |place: &usize| !self.inputs[..*place].contains(&self.inputs[*place]);
        let paths = (0..self.inputs.len()).filter(first).map(|place| &self.inputs[place]);
        let inputs = paths.map(|path| Ok((path, read(path)?))).collect::<Result<Vec<_>, Failure>>()?;
        let files = Files::open(&self.output)?;
        let mut sets = Vec::new();
        let mut runs = Vec::new();
        for (path, input) in inputs {
            match input {
                ReportInput::Results(results) => {
                    sets.extend(set::of_results(&path.display().to_string(), &results));
                    runs.push(results);
                }
                ReportInput::Criterion(set) => sets.push(*set),
            }
        }
        let mut sets = set::side_by_side(sets);
        sets.iter_mut().for_each(|set| set.load = self.at.or(set.load));
        // The JSON format holds one run.
        let criterion = sets.iter().any(|set| set.conditions.is_none());
        let one = if let ([run], false) = (&runs[..], criterion) { Some(run.as_ref()) } else { None };
        let printed = self.output.is_empty().then_some(self.format);
        if one.is_none() && (files.has(Format::Json) || printed == Some(Format::Json)) {
            return Err(Failure::Usage(
                "JSON holds one run, but these are several runs or Criterion's results: write .html, .md, \
                 .csv or .txt"
                    .to_owned(),
            ));
        }
        files.save_each(|format| match (format, one) {
            (Format::Json, Some(run)) => format.write(run),
            _ => format.write_sets(&sets, Screen::FILE),
        })?;
        match (printed, one) {
            (Some(Format::Json), Some(run)) => output::print(&Format::Json.write(run)),
            (Some(format), _) => output::print(&format.write_sets(&sets, output::screen())),
            (None, _) => {}
        }
        Ok(Done::Yes)
    }
}

fn read(path: &Path) -> Result<ReportInput, Failure> {
    let usage = |what: String| Failure::Usage(format!("'{}' {what}", path.display()));
    if path.is_dir() {
        return folder(path).map(|set| ReportInput::Criterion(Box::new(set))).map_err(usage);
    }
    let text = input::text(path).map_err(|error| usage(format!("cannot be read: {error}")))?;
    let results = Results::read(&text).map_err(usage)?;
    if results.is_empty() {
        return Err(usage("holds no measurement".to_owned()));
    }
    Ok(ReportInput::Results(Box::new(results)))
}

/// How deep Criterion nests its folders.
const DEEPEST: usize = 4;

/// Reads the benchmarks in a Criterion folder.
fn folder(path: &Path) -> Result<RecordSet, String> {
    let mut leaves = Vec::new();
    find(path, DEEPEST, &mut leaves).map_err(|error| format!("cannot be read: {error}"))?;
    leaves.sort();
    if leaves.is_empty() {
        return Err("holds no Criterion benchmark: give target/criterion after `cargo bench`".to_owned());
    }
    let runs = BenchRuns::read(&fs::read_to_string(path.join(RUNS)).unwrap_or_default());
    let mut benchmarks = Vec::new();
    for leaf in leaves {
        let damaged = |error: String| format!("is damaged: {}: {error}", leaf.display());
        let text = |name: &str| {
            input::text_of_regular(&leaf.join(name)).map_err(|error| damaged(format!("{name}: {error}")))
        };
        let raw = leaf.join("raw.csv").exists();
        let mut benchmark = if raw {
            Benchmark::from_raw(&text("raw.csv")?).map_err(|error| damaged(format!("raw.csv: {error}")))?
        } else {
            Benchmark::from_json(&text("benchmark.json")?, &text("sample.json")?).map_err(damaged)?
        };
        let written = written(&leaf.join(if raw { "raw.csv" } else { "sample.json" }));
        benchmark.measured = written.map(|at| runs.dated(at));
        benchmarks.push(benchmark);
    }
    criterion::set(&path.display().to_string(), &benchmarks)
}

/// When a file was written, in seconds since 1970. Criterion records no other date.
fn written(file: &Path) -> Option<u64> {
    let written = fs::metadata(file).and_then(|file| file.modified()).ok()?;
    Some(written.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Collects the folders `new` that hold a benchmark, at most `deeper` levels down.
fn find(folder: &Path, deeper: usize, leaves: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // Skips symbolic links, which could form a cycle.
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let whole = || path.join("raw.csv").exists() || path.join("benchmark.json").exists();
        if entry.file_name() == "new" && whole() {
            leaves.push(path);
        } else if deeper > 0 {
            find(&path, deeper - 1, leaves)?;
        }
    }
    Ok(())
}
