//! Where buffers begin, as an axis of the command: what was asked for is what the addresses say, and records that differ
//! in it are not joined.

use copycost_cli::compare::metric::Metric;
use std::collections::BTreeSet;

use crate::program::{Program, length, results, results_in};
use copycost_cli::record::Record;

const CELL: [&str; 6] = ["-p", "onecopy,zerocopy", "-s", "64KiB", "--verify", "--format"];

fn measured(offsets: &[&str]) -> Vec<Record> {
    let run = [&["run"][..], &CELL, &["json"], &length("0.1"), offsets].concat();
    let results = results(&Program::run(&run).good());
    assert_eq!(results.failures, []);
    results.records
}

#[test]
fn what_is_drawn_is_the_same_for_all_paths_of_a_set_up_and_differs_between_set_ups() {
    let records = measured(&[]);
    assert_eq!(records.len(), 2);
    let [one, other] = &records[..] else { panic!("{records:?}") };
    assert_eq!((one.send_offset.as_str(), one.receive_offset.as_str()), ("drawn", "drawn"));
    assert!(one.offset_seed.is_some());
    assert_eq!(one.offset_seed, other.offset_seed);
    assert_eq!(one.receive_offsets, other.receive_offsets);
    assert_eq!(one.send_offsets, other.send_offsets);
    assert!(one.receive_offsets.len() >= 2, "{one:?}");
    // From multiples of 64, of which there are 63: that two set-ups draw the same is left to chance, all eight are not.
    assert!(one.receive_offsets.iter().all(|offset| offset % 64 == 0 && *offset > 0), "{one:?}");
    let distinct = |offsets: &[u16]| offsets.iter().collect::<BTreeSet<_>>().len();
    let several = distinct(&one.receive_offsets) > 1 || distinct(&one.send_offsets) > 1;
    assert!(several || one.receive_offsets.len() < 8, "{one:?}");
    // The same seed draws the same.
    let seed = one.offset_seed.unwrap().to_string();
    let again = measured(&["--offset-seed", &seed]);
    assert_eq!(again[0].receive_offsets[..2], one.receive_offsets[..2]);
    assert_eq!(again[0].send_offsets[..2], one.send_offsets[..2]);
}

#[test]
fn offsets_side_by_side_are_arms_of_one_cell() {
    let records = measured(&["--receive-offset", "64,16", "--send-offset", "128"]);
    let arms: Vec<_> = records.iter().map(|r| (r.path.as_str(), r.receive_offset.as_str())).collect();
    let wanted = [("onecopy@64", "64"), ("onecopy@16", "16"), ("zerocopy@64", "64"), ("zerocopy@16", "16")];
    assert_eq!(arms, wanted);
    for record in &records {
        let asked: u16 = record.receive_offset.parse().unwrap();
        assert!(record.receive_offsets.iter().all(|offset| *offset == asked), "{record:?}");
        assert!(record.send_offsets.iter().all(|offset| *offset == 128), "{record:?}");
        assert_eq!(record.offset_seed, None);
    }
    let json = Program::run(
        &[&["run"][..], &CELL, &["json"], &length("0.1"), &["--receive-offset", "64,16"]].concat(),
    );
    let compared = results(&json.good()).comparisons;
    let throughput = compared.iter().filter(|comparison| comparison.metric.is(Metric::Throughput));
    let pairs: Vec<_> = throughput.map(|c| (c.path.as_str(), c.reference.as_str())).collect();
    let wanted = [
        ("onecopy@16", "onecopy@64"),
        ("zerocopy@64", "onecopy@64"),
        ("zerocopy@16", "onecopy@16"),
        ("zerocopy@16", "zerocopy@64"),
    ];
    assert_eq!(pairs, wanted);
}

#[test]
fn malloc_is_one_of_the_choices_and_is_told() {
    let run = [&["run"][..], &CELL, &["table"], &length("0.1")].concat();
    let table = Program::run(&[&run[..], &["--receive-offset", "malloc"]].concat()).good();
    let words: Vec<_> = table.split_whitespace().collect();
    assert!(words.join(" ").contains("receive buffers where malloc puts them"), "{table}");
}

#[test]
fn records_with_other_offsets_are_neither_joined_nor_judged() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (file("before.json"), file("after.json"));
    let run = [&["run"][..], &CELL[..5], &length("0.1")].concat();
    Program::run(&[&run[..], &["--receive-offset", "64", "-o", &before]].concat()).good();
    let baseline = ["--receive-offset", "16", "--baseline", &before, "-o", &after];
    // Any difference at all would be a regression.
    let strict = ["--fail-on-regression", "0.01%"];
    let ended = Program::run(&[&run[..], &baseline, &strict].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let says = ["receive offset: 64 there, 16", "cannot be said"];
    assert!(says.iter().all(|part| ended.err.contains(part)), "{ended:?}");
    assert!(!ended.err.contains("regression: "), "{ended:?}");
    // Arms of one run are no builds.
    let arms = ["--receive-offset", "64,16", "--baseline", &before];
    let ended = Program::run(&[&run[..], &arms, &strict].concat());
    assert!(!ended.err.contains("regression: "), "{ended:?}");
    let report = Program::run(&["report", &before, &after, "--format", "markdown"]).good();
    assert!(report.contains("receive offset"), "{report}");
    // What was measured elsewhere is not taken for this cell.
    let resumed = Program::run(&[&run[..], &["--receive-offset", "128", "--resume", "-o", &before]].concat());
    resumed.good();
    let records = results_in(before.as_ref()).unwrap().records;
    assert!(records.iter().all(|record| record.receive_offset == "128"), "{records:?}");
}

#[test]
fn wrong_offsets_are_one_sentence() {
    for (flags, says) in [
        (&["run", "--receive-offset", "4096"][..], "0 to 4095"),
        (&["run", "--send-offset", "page"], "drawn, malloc"),
        (&["explain", "--receive-offset", "0,16"], "copycost run"),
        (&["predict", "--fields", "64,1000", "--send-offset", "0,16"], "copycost run"),
        (&["run", "--receive-offset", "0,16", "--with", "/bin/true"], "--with"),
    ] {
        Program::run(flags).refused(2, &[says]);
    }
}

/// Whatever the CPU makes of it: the distances are what was asked for.
#[test]
fn explain_finds_hazardous_copies_where_they_were_asked_for() {
    let share = |offset: &str| {
        let flags = ["explain", "-p", "onecopy", "-s", "64KiB", "--seconds", "0.5", "--format", "json"];
        let explained = results(&Program::run(&[&flags[..], &["--receive-offset", offset]].concat()).good());
        let explanation = explained.explanations[0].clone();
        if let Some(why) = &explanation.missing {
            crate::common::skip(why);
            return None;
        }
        let receiver = explanation.paths[0].ends.iter().find(|end| end.end == "receiver").unwrap().clone();
        let of = |class: &str| {
            receiver.classes.iter().find(|c| c.class == class).map_or(0.0, |c| c.ns_per_kib.value)
        };
        Some(of("hazardous copy") / (of("hazardous copy") + of("copy")))
    };
    let (Some(hit), Some(control)) = (share("16"), share("64")) else { return };
    if cfg!(target_arch = "x86_64") {
        assert!(hit > 0.5 && control < 0.1, "{hit} of the copying is hazardous, {control} of the control's");
    } else {
        assert!(hit == 0.0, "nothing can be told of this architecture's copies");
    }
}
