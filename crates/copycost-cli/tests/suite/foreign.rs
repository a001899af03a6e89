//! Files that others wrote, or nobody: bounded in what they cost, refused in one sentence, harmless on a terminal.

use std::fs;
use std::path::Path;
use std::process::Command;

use copycost_cli::record::{Conditions, Record, Results};
use copycost_cli::report::screen::Screen;
use copycost_cli::report::set::{of_results, side_by_side};
use copycost_cli::report::{self, Format};
use copycost_cli::verdict::{self, baseline};
use proptest::prelude::*;

use crate::program::Program;

#[path = "../../../../fuzz/edits/edits.rs"]
mod edits;

/// What `copycost run` wrote once.
const SEED: &str = include_str!("../../../../fuzz/seeds/run.json");

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// As the fuzz target `results` does for as many inputs as it is given.
    #[test]
    fn a_changed_file_is_refused_or_reported(seed in 0usize..3, changes in prop::collection::vec(any::<[u8; 4]>(), 1..12)) {
        let seeds = [SEED, include_str!("recorded/explained.json"), include_str!("recorded/predicted.json")];
        let mut value: serde_json::Value = serde_json::from_str(seeds[seed]).unwrap();
        changes.iter().for_each(|change| edits::change(&mut value, change));
        if let Ok(results) = Results::read(&value.to_string()) {
            for format in [Format::Table, Format::Json, Format::Csv, Format::Markdown, Format::Html] {
                let shown = format.write(&results);
                prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{value}");
            }
            let sets = [of_results("a", &results), of_results("b", &results)].concat();
            let _ = Format::Table.write_sets(&side_by_side(sets), Screen { coloured: true, ..Screen::FILE });
            let _ = (report::wide(&results, Screen::FILE), verdict::of(&results));
            let _ = (baseline::changes(&results, &results), baseline::differences(&results, &results));
        }
    }
}

#[test]
fn what_no_run_can_have_is_refused() {
    let seed: Results = serde_json::from_str(SEED).unwrap();
    let read = |change: &dyn Fn(&mut Results)| {
        let mut results = seed.clone();
        change(&mut results);
        Results::read(&serde_json::to_string(&results).unwrap())
    };
    assert!(read(&|_| ()).is_ok());
    assert!(read(&|results| results.records[0].bytes = 1 << 53).is_ok());
    assert!(read(&|results| results.records[0].bytes = (1 << 53) + 1).unwrap_err().contains("out of range"));
    let grid = |results: &mut Results, sizes: usize, clients: usize| {
        let record = results.records[0].clone();
        let cells = (0..sizes.max(clients)).map(|i| (i.min(sizes - 1), i.min(clients - 1)));
        let of = |(size, clients): (usize, usize)| Record { size: size.into(), clients, ..record.clone() };
        results.records = cells.map(of).collect();
    };
    assert!(read(&|results| grid(results, 100, 100)).is_ok());
    assert!(read(&|results| grid(results, 101, 100)).unwrap_err().contains("101 records"));
    let many = |results: &mut Results| results.verdict = vec![String::new(); 100_000];
    assert!(read(&many).is_err());
}

/// What a model says is computed from its figures, as many as it has terms.
#[test]
fn a_model_without_all_its_figures_is_refused() {
    let seed: serde_json::Value = serde_json::from_str(include_str!("recorded/predicted.json")).unwrap();
    let fit = "/models/0/models/0/model/fit";
    assert!(Results::read(&seed.to_string()).is_ok());
    for (figures, value) in [
        ("coefficients", serde_json::json!([])),
        ("inverse", serde_json::json!([[1.0]])),
        ("inverse", serde_json::json!([])),
    ] {
        let mut changed = seed.clone();
        changed.pointer_mut(fit).unwrap()[figures] = value;
        assert!(Results::read(&changed.to_string()).unwrap_err().contains("coefficients"), "{figures}");
    }
    let mut changed = seed.clone();
    changed.pointer_mut(fit).unwrap()["freedom"] = (1u64 << 53).into();
    let results = Results::read(&changed.to_string()).unwrap();
    assert!(copycost_cli::report::Format::Table.write(&results).contains("ns"), "and it has an end");
}

#[test]
fn a_file_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("endless.json");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let link = link.to_str().unwrap();
    for arguments in [&["report", link][..], &["run", "--baseline", link]] {
        Program::run(arguments).refused(2, &[link, "longer than 64 MiB"]);
    }
}

#[test]
fn deep_and_wide_texts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    let path = file.to_str().unwrap();
    let wide = format!("{{\"schema\":1,\"x\":[{}0]}}", "{\"\":0},".repeat(1 << 20));
    for (text, says) in [(&*"[".repeat(1 << 20), "not a result of copycost run"), (&wide, "missing field")] {
        fs::write(&file, text).unwrap();
        Program::run(&["report", path]).refused(2, &[path, says]);
    }
}

/// A pipe in a folder from elsewhere has no writer, and would be waited for without end.
#[test]
fn a_pipe_among_the_files_of_criterion_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("onecopy/1024/1/new");
    fs::create_dir_all(&new).unwrap();
    assert!(Command::new("mkfifo").arg(new.join("raw.csv")).status().unwrap().success());
    Program::run(&["report", folder.path().to_str().unwrap()]).refused(2, &["damaged", "not a regular file"]);
}

#[test]
fn no_file_steers_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    let path = file.to_str().unwrap();
    let mut results: Results = serde_json::from_str(SEED).unwrap();
    let steering = "a\u{1b}[2Jb\u{9b}31m\r\n\u{7}";
    results.conditions.kernel = steering.to_owned();
    results.verdict = vec![steering.to_owned()];
    results.records[0].limiter = steering.to_owned();
    results.conditions.flags.push(steering.to_owned());
    fs::write(&file, serde_json::to_string(&results).unwrap()).unwrap();
    let harmless = |text: &str| assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    harmless(&Program::run(&["report", path]).good());
    let resumed = ["run", "-p", "onecopy", "-s", "1KiB", "--seconds", "0.05", "--setups", "2"];
    harmless(&Program::run(&[&resumed[..], &["--baseline", path]].concat()).good());
    // Another kernel: nothing is added to that file, and the sentence names the kernel.
    let refused = Program::run(&[&resumed[..], &["--resume", "-o", path]].concat());
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("kernel: a [2Jb 31m"), "{refused:?}");
    harmless(&refused.err);
    results.conditions.kernel = Conditions::here().kernel;
    fs::write(&file, serde_json::to_string(&results).unwrap()).unwrap();
    let refused = Program::run(&[&resumed[..], &["--resume", "-o", path]].concat());
    harmless(&format!("{}{}", refused.out, refused.err));
}

/// A program that prints without an end is no server, and costs no memory.
#[test]
fn a_build_that_prints_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("endless");
    crate::common::child::write_executable(&program, b"#!/bin/sh\nexec cat /dev/zero\n");
    let program: &Path = &program;
    let path = program.to_str().unwrap();
    Program::run(&["run", "--with", path]).refused(2, &["--with", path, "not where it listens"]);
}
