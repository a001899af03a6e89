//! Results as CSV, one line a record: units stand in the column's name, and what is unknown is empty.

use crate::record::{LatencyRecord, Record, Results};

const COLUMNS: [&str; 41] = [
    "path",
    "size",
    "clients",
    "layout",
    "fields",
    "buffers",
    "footprint",
    "placement",
    "receive",
    "transport",
    "clock",
    "seconds",
    "messages",
    "bytes",
    "throughput_bytes_per_second",
    "syscalls_per_message",
    "context_switches_per_message",
    "sends",
    "completed",
    "copied",
    "merged_ranges",
    "enobufs",
    "waits",
    "fallbacks",
    "aborted",
    "undrained",
    "peak_in_flight_bytes",
    "verdict",
    "cpu_scope",
    "sender_ns_per_kib",
    "receiver_ns_per_kib",
    "process_ns_per_kib",
    "system_ns_per_kib",
    "segments_per_message",
    "mean_segment_bytes",
    "limiter",
    "ns_per_message",
    "latency_p50_ns",
    "latency_p99_ns",
    "latency_max_ns",
    "flags",
];

/// The records of `results`.
pub(super) fn results(results: &Results) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let rows = results.records.iter().map(row);
    for row in std::iter::once(COLUMNS.map(str::to_owned)).chain(rows) {
        // Writing to memory does not fail, and every row has as many columns as the first.
        let _ = writer.write_record(row);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn row(record: &Record) -> [String; COLUMNS.len()] {
    let ledger = record.ledger.as_ref();
    let count = |field: fn(&crate::record::LedgerRecord) -> u64| {
        ledger.map_or_else(String::new, |l| field(l).to_string())
    };
    let wire = record.wire.clone().unwrap_or_default();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let latency = |field: fn(&LatencyRecord) -> u64| {
        record.latency_ns.as_ref().map_or_else(String::new, |l| field(l).to_string())
    };
    [
        record.path.clone(),
        record.size.to_string(),
        record.clients.to_string(),
        record.layout.clone(),
        record.fields.clone(),
        record.buffers.clone(),
        record.footprint.clone(),
        record.placement.clone(),
        record.receive.clone(),
        record.transport.clone(),
        record.clock.clone(),
        record.seconds.to_string(),
        record.messages.to_string(),
        record.bytes.to_string(),
        record.throughput_bytes_per_second.to_string(),
        record.syscalls_per_message.to_string(),
        record.context_switches_per_message.to_string(),
        count(|l| l.sends),
        count(|l| l.completed),
        count(|l| l.copied),
        count(|l| l.merged_ranges),
        count(|l| l.enobufs),
        count(|l| l.waits),
        count(|l| l.fallbacks),
        count(|l| l.aborted),
        count(|l| l.undrained),
        count(|l| l.peak_in_flight_bytes),
        record.verdict.clone().unwrap_or_default(),
        record.cpu.scope.clone(),
        number(record.cpu.sender_ns_per_kib),
        number(record.cpu.receiver_ns_per_kib),
        number(record.cpu.process_ns_per_kib),
        number(record.cpu.system_ns_per_kib),
        number(wire.segments_per_message),
        number(wire.mean_segment_bytes),
        record.limiter.clone(),
        record.ns_per_message.to_string(),
        latency(|l| l.p50),
        latency(|l| l.p99),
        latency(|l| l.max),
        record.flags.join("; "),
    ]
}
