//! What is printed, on fixed records.

use super::*;
use crate::record::{CellFailure, Conditions, LedgerRecord, Record};

fn record(path: &str, size: usize, throughput: f64, ledger: Option<LedgerRecord>) -> Record {
    Record {
        path: path.into(),
        size,
        clients: 1,
        layout: "heap".into(),
        fields: "even".into(),
        buffers: "constant".into(),
        footprint: "hot".into(),
        placement: "paired".into(),
        receive: "recv".into(),
        transport: "loopback".into(),
        clock: "window".into(),
        seconds: 1.0,
        context_switches_per_message: 0.0041,
        messages: throughput as u64 / size as u64,
        bytes: throughput as u64,
        throughput_bytes_per_second: throughput,
        syscalls_per_message: 1.0,
        verdict: ledger.as_ref().map(|_| "copied".into()),
        verdict_reason: ledger.as_ref().map(|_| "loopback".into()),
        ledger,
        huge_share: None,
        flags: Vec::new(),
    }
}

fn fixed() -> Results {
    let ledger = LedgerRecord { sends: 10, completed: 10, copied: 10, ..LedgerRecord::default() };
    let conditions = Conditions {
        kernel: "6.18.0".into(),
        cpu_model: "AMD EPYC".into(),
        cpus: 2,
        congestion_control: "cubic".into(),
        send_buffer_bytes: 512 << 10,
        receive_buffer_bytes: 2 << 20,
        version: "0.0.0".into(),
        command: vec!["copycost".into(), "run".into()],
        ..Conditions::default()
    };
    let mut results = Results::new(conditions);
    results.records.push(record("onecopy", 1024, 1.1e9, None));
    results.records.push(record("zerocopy", 65_536, 4.25e9, Some(ledger)));
    results.records[1]
        .flags
        .push("measures the scheduler: too many context switches for each message".into());
    results.failures.push(CellFailure {
        path: "zerocopy".into(),
        size: 1024,
        clients: 1,
        error: "client 0 failed: Connection reset by peer".into(),
    });
    results
}

#[test]
fn table() {
    let text = Format::Table.write(&fixed());
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn csv() {
    insta::assert_snapshot!(Format::Csv.write(&fixed()));
}

#[test]
fn json_has_every_field_and_reads_back() {
    let text = Format::Json.write(&fixed());
    assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), fixed());
    insta::assert_snapshot!(text);
}

#[test]
fn the_extension_decides() {
    for (name, format) in [("a.json", Format::Json), ("b/c.csv", Format::Csv), ("d.txt", Format::Table)] {
        assert_eq!(Format::of_file(Path::new(name)), Ok(format));
    }
    for name in ["a", "a.html.bak", ".json", ""] {
        assert!(Format::of_file(Path::new(name)).is_err(), "{name}");
    }
}
