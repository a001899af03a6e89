//! One line per path and cell of `copycost run` or of Criterion.
//!
//! The columns of the original experiment come first, under their original names, so that scripts for its tables keep
//! working: Gbit/s; µs per message and client at saturation; cycles, misses and switches as totals of both ends over
//! the measured time. Then come the columns of copycost, with the unit in the name.

use super::number;
use crate::record::{LatencyRecord, Record};
use crate::report::dated;
use crate::report::metric::RecordMetric;
use crate::report::set::{RecordSet, SetRow};

const ORIGINAL: [&str; 9] = [
    "Impl",
    "Size",
    "Workers",
    "ThroughputGbps",
    "LatencyUs",
    "Cycles",
    "L1Miss",
    "LLCMiss",
    "ContextSwitch",
];

const COLUMNS: [&str; 54] = [
    "set",
    "path",
    "size",
    "clients",
    "layout",
    "fields",
    "buffers",
    "footprint",
    "placement",
    "receive",
    "send_offset",
    "receive_offset",
    "offset_seed",
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
    "both_ends_ns_per_kib",
    "latency_mean_ns",
    "latency_p50_ns",
    "latency_p99_ns",
    "latency_max_ns",
    "flags",
    "plain",
    "mapped_share",
    "doubtful",
    "client_hosts",
    "fairness_jain",
    "fairness_min_over_max",
    "measured_utc",
];

/// The names of all columns.
pub(super) fn header() -> Vec<String> {
    ORIGINAL.iter().chain(&COLUMNS).map(ToString::to_string).collect()
}

/// A line for each row of the sets.
pub(super) fn lines(sets: &[RecordSet]) -> Vec<Vec<String>> {
    let line =
        |set: &RecordSet, row: &SetRow| original(row).into_iter().chain(own_columns(set, row)).collect();
    sets.iter().flat_map(|set| set.rows.iter().map(move |row| line(set, row))).collect()
}

fn figure(row: &SetRow, metric: RecordMetric) -> Option<f64> {
    row.figure(metric).map(|figure| figure.value)
}

fn original(row: &SetRow) -> [String; ORIGINAL.len()] {
    let record = row.record.as_ref();
    let total = |metric, of_each: fn(&Record) -> f64| {
        let total = figure(row, metric)? * of_each(record?);
        Some(total.round())
    };
    let kib = |record: &Record| record.bytes as f64 / 1024.0;
    let throughput = figure(row, RecordMetric::Throughput);
    // Criterion only measures a round, in which each client receives one message.
    let round = throughput.map(|rate| row.size as f64 * row.clients as f64 / rate / 1e3);
    [
        row.path.clone(),
        row.size.to_string(),
        row.clients.to_string(),
        number(throughput.map(|rate| rate * 8.0)),
        number(record.map_or(round, |record| record.ns_per_message.map(|time| time / 1e3))),
        number(total(RecordMetric::CyclesPerByte, |record| record.bytes as f64)),
        number(total(RecordMetric::FirstLevelMisses, kib)),
        number(total(RecordMetric::LastLevelMisses, kib)),
        number(total(RecordMetric::Switches, |record| record.messages as f64)),
    ]
}

/// The columns of copycost. Those that Criterion does not measure are empty in its rows.
fn own_columns(set: &RecordSet, row: &SetRow) -> [String; COLUMNS.len()] {
    let mut values: [String; COLUMNS.len()] =
        row.record.as_ref().map_or_else(|| [const { String::new() }; COLUMNS.len()], recorded);
    let fill = [
        ("set", set.label.clone()),
        ("path", row.path.clone()),
        ("size", row.size.to_string()),
        ("clients", row.clients.to_string()),
        ("throughput_bytes_per_second", number(figure(row, RecordMetric::Throughput).map(|rate| rate * 1e9))),
        ("both_ends_ns_per_kib", number(figure(row, RecordMetric::BothDemand))),
        ("latency_mean_ns", number(figure(row, RecordMetric::LatencyMean).map(|us| us * 1e3))),
        ("measured_utc", dated::of_row(row)),
    ];
    for (name, value) in fill {
        if let Some(place) = COLUMNS.iter().position(|column| *column == name) {
            values[place] = value;
        }
    }
    values
}

fn recorded(record: &Record) -> [String; COLUMNS.len()] {
    let ledger = record.ledger.as_ref();
    let count = |field: fn(&crate::record::LedgerRecord) -> u64| {
        ledger.map_or_else(String::new, |l| field(l).to_string())
    };
    let wire = record.wire.clone().unwrap_or_default();
    let latency = |field: fn(&LatencyRecord) -> u64| {
        record.latency_ns.as_ref().map_or_else(String::new, |l| field(l).to_string())
    };
    [
        String::new(),
        record.path.clone(),
        record.size.to_string(),
        record.clients.to_string(),
        record.layout.clone(),
        record.fields.clone(),
        record.buffers.clone(),
        record.footprint.clone(),
        record.placement.clone(),
        record.receive.clone(),
        record.send_offset.clone(),
        record.receive_offset.clone(),
        record.offset_seed.map_or_else(String::new, |seed| seed.to_string()),
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
        number(record.ns_per_message),
        String::new(),
        String::new(),
        latency(|l| l.p50),
        latency(|l| l.p99),
        latency(|l| l.max),
        record.flags.join("; "),
        count(|l| l.plain),
        number(record.mapped_share),
        count(|l| l.doubtful),
        record.client_hosts.to_string(),
        number(record.hosts.as_ref().and_then(|hosts| hosts.fairness_jain)),
        number(record.hosts.as_ref().and_then(|hosts| hosts.fairness_min_over_max)),
        String::new(),
    ]
}
