//! Verdicts of fixed results, as a person reads them.

use super::*;
use crate::record::{CellFailure, Conditions, LedgerRecord, Record};

fn results() -> Results {
    Results::new(Conditions {
        kernel: "6.18.44".into(),
        cpu_model: "AMD EPYC".into(),
        cpus: 2,
        congestion_control: "cubic".into(),
        send_buffer_bytes: 512 << 10,
        receive_buffer_bytes: 2 << 20,
        version: "0.1.0".into(),
        ..Conditions::default()
    })
}

/// `path` to onecopy, in throughput and in demand.
fn compared(path: &str, size: usize, throughput: (f64, &str), demand: (f64, &str)) -> Vec<Comparison> {
    let one = |metric: &str, (ratio, word): (f64, &str)| Comparison {
        size,
        clients: 1,
        client_hosts: 1,
        path: path.into(),
        reference: "onecopy".into(),
        metric: metric.into(),
        ratio: Some(ratio),
        low: Some(ratio * 0.99),
        high: Some(ratio * 1.01),
        word: word.into(),
        setups: 8,
        note: None,
    };
    vec![one("throughput", throughput), one("demand", demand)]
}

/// Of ten sends by reference, so many were copied.
fn copied(copied: u64) -> LedgerRecord {
    LedgerRecord { sends: 10, completed: 10, copied, ..LedgerRecord::default() }
}

fn record(path: &str, size: usize) -> Record {
    let ledger = (path == "zerocopy").then(|| copied(10));
    let value = serde_json::json!({
        "path": path, "size": size, "clients": 1, "layout": "heap", "fields": "even", "buffers": "constant",
        "footprint": "hot", "placement": "paired", "receive": "recv", "transport": "loopback", "clock": "window",
        "seconds": 1.0, "context_switches_per_message": 0.1, "messages": 10, "bytes": 10 * size,
        "throughput_bytes_per_second": 1e9, "syscalls_per_message": 1.0, "ledger": ledger,
        "verdict": (path == "zerocopy").then_some("copied"),
        "verdict_reason": (path == "zerocopy").then_some("loopback"),
    });
    serde_json::from_value(value).unwrap()
}

fn told(results: &Results) -> String {
    of(results).join("\n")
}

#[test]
fn one_path_wins_everywhere() {
    let mut results = results();
    for size in [1024, 4096, 65_536] {
        results.records.extend(["twocopy", "onecopy", "zerocopy"].map(|path| record(path, size)));
        let share = size as f64 / 65_536.0;
        results.comparisons.extend(compared(
            "twocopy",
            size,
            (0.3 + share / 2.0, "slower"),
            (2.0 - share / 2.0, "slower"),
        ));
        results.comparisons.extend(compared("zerocopy", size, (0.6, "slower"), (1.5, "slower")));
    }
    insta::assert_snapshot!(told(&results));
}

#[test]
fn ranges_ties_and_what_cannot_be_told() {
    let mut results = results();
    results.records.push(Record {
        flags: vec!["the sender was not the limit: this cell cannot tell send paths apart".into()],
        placement: "split".into(),
        ..record("onecopy", 1024)
    });
    results.records.push(Record { footprint: "cold".into(), ..record("twocopy", 4096) });
    results.comparisons.extend(compared("twocopy", 1024, (1.01, "equivalent"), (0.98, "undecided")));
    results.comparisons.extend(compared("twocopy", 4096, (1.2, "faster"), (0.9, "faster")));
    results.comparisons.extend(compared("zerocopy", 4096, (1.21, "faster"), (0.5, "faster")));
    results.comparisons.extend(compared("twocopy", 16_384, (0.98, "undecided"), (1.2, "slower")));
    let error = "client 0 failed: Connection reset by peer (os error 104)".to_owned();
    results.failures.push(CellFailure {
        path: "zerocopy".into(),
        size: 1024,
        clients: 1,
        client_hosts: 1,
        error,
    });
    insta::assert_snapshot!(told(&results));
}

#[test]
fn crossovers_say_how_far_they_are_known() {
    let crossover = |low, high, footprint: &str| Crossover {
        path: "zerocopy".into(),
        against: "onecopy".into(),
        clients: 4,
        client_hosts: 1,
        metric: "throughput".into(),
        footprint: footprint.into(),
        low,
        high,
        most: 1 << 20,
    };
    let mut results = results();
    results.crossovers = vec![
        crossover(Some(49_152), Some(57_344), "hot"),
        crossover(None, Some(1024), "hot"),
        crossover(Some(1 << 20), None, "hot"),
        crossover(Some(65_536), None, "cold"),
        crossover(Some(1 << 20), None, "cold"),
    ];
    for (metric, like) in [("demand", 2), ("demand", 4), ("sender-demand", 0)] {
        let also = Crossover { metric: metric.into(), ..results.crossovers[like].clone() };
        results.crossovers.push(also);
    }
    insta::assert_snapshot!(told(&results));
}

#[test]
fn set_ups_are_told_only_of_what_was_compared() {
    let mut results = results();
    results.records.push(record("onecopy", 1024));
    let conditions = |results: &Results| super::limits::conditions(results).unwrap();
    assert!(conditions(&results).ends_with("SO_RCVBUF 2 MiB."), "{}", conditions(&results));
    results.comparisons = compared("zerocopy", 1024, (1.0, "equivalent"), (1.0, "equivalent"));
    results.comparisons[0].setups = 6;
    assert!(conditions(&results).contains("6 to 8 set-ups a cell"), "{}", conditions(&results));
}

#[test]
fn builds_are_counted() {
    let mut results = results();
    let old = |size, word: &str| {
        let comparisons = compared("onecopy", size, (1.0, word), (1.0, "equivalent"));
        comparisons.into_iter().map(|comparison| Comparison { reference: "onecopy@OLD".into(), ..comparison })
    };
    results.comparisons = old(1024, "equivalent").chain(old(4096, "slower")).collect();
    insta::assert_snapshot!(told(&results));
}

#[test]
fn nothing_to_compare_is_no_verdict() {
    let mut results = results();
    results.records.push(record("onecopy", 1024));
    assert_eq!(of(&results), Vec::<String>::new());
}

#[test]
fn what_was_copied_by_choice_or_hardly_ever_did_not_go_without_zero_copy() {
    let mut results = results();
    let by_choice = LedgerRecord { plain: 10, ..LedgerRecord::default() };
    let hardly = copied(1);
    for (word, ledger) in [("copied", by_choice), ("mixed", hardly)] {
        let verdict = Some(word.to_owned());
        results.records.push(Record { verdict, ledger: Some(ledger), ..record("zerocopy", 1024) });
    }
    let asked = |results: &Results| limits::not_shown(results).iter().any(|line| line.contains("zero copy"));
    assert!(!asked(&results));
    results.records.push(record("zerocopy", 4096));
    assert!(asked(&results));
}
