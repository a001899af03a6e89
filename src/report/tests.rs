//! What is printed, on fixed records.

use super::*;
use crate::record::{CellFailure, Conditions, CpuRecord, LatencyRecord, LedgerRecord, Record, WireRecord};

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
        cpu: CpuRecord {
            scope: "user+kernel+softirq (task-clock)".into(),
            sender_ns_per_kib: Some(48.25),
            receiver_ns_per_kib: Some(60.5),
            missing: [("system".to_owned(), "needs at least 2 s".to_owned())].into(),
            ..CpuRecord::default()
        },
        counters: None,
        wire: Some(WireRecord { segments_per_message: Some(1.25), ..WireRecord::default() }),
        limiter: "unknown: sender and receiver share CPUs".into(),
        ns_per_message: 1234.5,
        latency_ns: Some(LatencyRecord {
            messages: 9,
            p50: 14_000,
            p90: 15_000,
            p99: 16_000,
            p999: 17_000,
            max: 18_000,
        }),
        pollution: None,
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
fn wide_tables() {
    let text = wide(&fixed());
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
