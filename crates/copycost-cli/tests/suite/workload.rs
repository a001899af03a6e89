//! Messages of several sizes from the command line: what a mix and a trace come to in every verb, and what is refused.

use std::fs;

use crate::program::{Program, length, results, results_in};
use copycost_cli::record::{Record, Results};

const MIX: &str = "512B:60%,16KiB/single:30%,1MiB:10%";

fn run(arguments: &[&str]) -> Program {
    Program::start(&[&["run", "--format", "json"], &length("0.3")[..], arguments].concat())
}

/// The shares of each size add up, and each record has its calls.
fn check(results: &Results, sizes: usize) {
    assert_eq!(results.failures, []);
    let workload = results.workload.as_ref().expect("the messages of the run");
    assert_eq!(workload.classes.len(), sizes, "{workload:?}");
    assert!((workload.classes.iter().map(|class| class.messages).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!((workload.classes.iter().map(|class| class.bytes).sum::<f64>() - 1.0).abs() < 1e-9);
    for record in &results.records {
        let mean = workload.bytes as f64 / workload.messages as f64;
        assert!(
            (record.size.bytes as f64 - mean).abs() <= 0.5 && record.size.workload.is_some(),
            "{record:?}"
        );
        assert_eq!(record.classes.len(), sizes, "{record:?}");
        let shares: f64 = record.classes.iter().filter_map(|class| class.call_share).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{:?}", record.classes);
    }
}

/// Whether every message that adaptive sent was decided upon.
fn decided(record: &Record) -> bool {
    record
        .classes
        .iter()
        .filter(|class| class.timed > 0)
        .all(|class| class.by_reference.is_some() && class.reason.is_some())
}

#[test]
fn a_mix_is_compared_like_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, html, markdown) = (file("a.json"), file("a.csv"), file("a.html"), file("a.md"));
    let arguments = ["--mix", MIX, "-p", "onecopy,adaptive", "-c", "1,2", "--verify", "--latency"];
    let ended =
        run(&[&arguments[..], &["-o", &json, "-o", &csv, "-o", &html, "-o", &markdown]].concat()).finish();
    let found = results(&ended.good());
    check(&found, 3);
    assert_eq!(found.workload.as_ref().unwrap().name, MIX);
    assert_eq!(found.records.len(), 4);
    assert_eq!(found.comparisons.len(), 2 * 3);
    let shares: Vec<_> =
        found.workload.iter().flat_map(|w| &w.classes).map(|c| (c.bytes * 1000.0).round()).collect();
    assert_eq!(shares, [3.0, 45.0, 953.0]);
    for record in &found.records {
        assert!(record.latency_ns.is_some_and(|latency| latency.messages > 0), "{record:?}");
        assert_eq!(decided(record), record.path == "adaptive", "{:?}", record.classes);
    }
    assert!(
        found.answer.as_ref().is_some_and(|answer| answer.contains("mix of 3 sizes")),
        "{:?}",
        found.answer
    );
    assert_eq!(results_in(json.as_ref()).unwrap(), found);
    let csv = fs::read_to_string(csv).unwrap();
    assert!(csv.contains("mix of 3 sizes") && csv.contains("1 MiB="), "{csv}");
    for page in [html, markdown] {
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains("16 KiB") && page.contains("of messages"), "{page:.300}");
    }
    // The same mix is resumed without measuring again, another one is refused.
    let again = run(&[&arguments[..], &["-o", &json, "--resume"]].concat()).finish();
    assert_eq!(results(&again.good()).records, found.records);
    run(&["--mix", "512B:50%,1MiB:50%", "-p", "onecopy,adaptive", "-o", &json, "--resume"])
        .finish()
        .refused(2, &["--resume", "other sizes or shares"]);
    // Ratios of an earlier run of the same mix are compared.
    let beside = run(&["--mix", MIX, "-p", "onecopy,adaptive", "--baseline", &json]).finish();
    let beside = results(&beside.good());
    assert!(
        beside.comparisons.iter().any(|comparison| comparison.reference.ends_with("@BASELINE")),
        "{:?}",
        beside.comparisons
    );
    let report = Program::start(&["report", &json]).finish().good();
    assert!(report.contains("% of bytes") && report.contains("adaptive decided"), "{report}");
}

#[test]
fn a_trace_is_sent_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("odd name,\n.csv");
    let lines: String = (0..30_000).map(|i| format!("{},{}\r\n", 8 + (i * 7919) % 40_000, i % 5)).collect();
    fs::write(&trace, format!("\u{feff}size,connection\r\n{lines}")).unwrap();
    let trace = trace.to_str().unwrap();
    for more in [&["--verify"][..], &["--footprint", "l2"], &["--buffers", "ring:2", "--verify"]] {
        let found = run(&[&["--trace", trace, "-p", "onecopy,zerocopy", "-c", "2"], more].concat()).finish();
        let found = results(&found.good());
        check(&found, 6);
        let workload = found.workload.as_ref().unwrap();
        assert_eq!((workload.kind.as_str(), workload.messages), ("trace", 30_000));
        assert!(!workload.name.contains('\n'), "{workload:?}");
    }
    let text =
        Program::start(&[&["run", "--trace", trace, "-p", "onecopy"], &length("0.1")[..]].concat()).finish();
    assert!(text.good().contains("up to 64 KiB"));
}

#[test]
fn another_host_plays_the_same_messages() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    // Thousands of sizes, as many as a stretch has messages: the longest order that a server gets.
    let lines: String = (0..20_000).map(|i| format!("{},{}\n", 1000 + (i * 7919) % 20_000, i % 7)).collect();
    fs::write(&trace, lines).unwrap();
    let (server, address) = Program::serve(&[]);
    let over = address.to_string();
    for (messages, sizes) in [(["--mix", MIX], 3), (["--trace", trace.to_str().unwrap()], 4)] {
        let arguments = ["--over", &over, "-p", "onecopy,adaptive", "-c", "2", "--verify"];
        let found = results(&run(&[&arguments[..], &messages].concat()).finish().good());
        check(&found, sizes);
        for record in &found.records {
            assert_eq!(decided(record), record.path == "adaptive", "{:?}", record.classes);
        }
    }
    server.stop().good();
}

#[test]
fn every_verb_takes_a_mix() {
    let listed = Program::start(&["list"]).finish().good();
    for known in copycost::workload::published::ALL {
        assert!(listed.contains(known.name), "{listed}");
    }
    let explained =
        ["explain", "--mix", "kv", "-p", "onecopy,flatten", "--seconds", "0.2", "--format", "json"];
    let explained = results(&Program::start(&explained).finish().good());
    assert_eq!(explained.explanations[0].size.to_string(), "mix kv");
    assert_eq!(explained.workload.unwrap().messages, 100);
    let predicted =
        ["predict", "--mix", "512B:60%,16KiB:40%", "-p", "onecopy", "--budget", "4s", "--format", "json"];
    let predicted = Program::start(&predicted).finish();
    // A model that is not good enough predicts nothing, and exits with 3.
    assert!([Some(0), Some(3)].contains(&predicted.code), "{predicted:?}");
    let predicted = results(&predicted.out);
    let asked = &predicted.models[0].asked;
    assert_eq!((asked.size, asked.text().as_str()), (6861, "mix of 2 sizes, hot"));
}

#[test]
fn what_is_no_mix_and_no_trace_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, broken) = (file("empty.csv", b""), file("broken.csv", b"512\n16KiB\nhello\n64\n"));
    let binary = file("binary.csv", b"512\n\xff\xfe\x00\n");
    for (arguments, parts) in [
        (&["--mix", "512B:60%,16KiB:30%"][..], &["--mix", "add up to 90%"][..]),
        (&["--mix", "nonsense"], &["--mix", "kv"]),
        (&["--mix", "512B:60%;1MiB:40%"], &["--mix"]),
        (&["--mix", "4B:100%"], &["8 bytes"]),
        (&["--mix", MIX, "--size", "4KiB"], &["cannot be used with"]),
        (&["--mix", MIX, "--trace", &empty], &["cannot be used with"]),
        (&["--mix", MIX, "--fields", "64,448"], &["--fields"]),
        (&["--mix", MIX, "--crossover", "onecopy:zerocopy"], &["--crossover"]),
        (&["--trace", &empty], &["--trace", "no message"]),
        (&["--trace", &broken], &["--trace", "line 3", "hello"]),
        (&["--trace", &binary], &["--trace", "line 2", "UTF-8"]),
        (&["--trace", "/nowhere/at/all"], &["--trace", "cannot be read"]),
        (&["--trace", "/"], &["--trace", "cannot be read"]),
    ] {
        run(arguments).finish().refused(2, parts);
    }
}
