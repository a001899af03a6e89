//! One line per path and cell of `copycost run` or of Criterion.
//!
//! The columns of the original experiment come first, under their original names, so that scripts for its tables keep
//! working: Gbit/s; µs per message and client at saturation; cycles, misses and switches as totals of both ends over
//! the measured time. Then come the columns of copycost, with the unit in the name.

use super::number;
use crate::record::{ClassCost, Record};
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

/// One column of copycost: its name, and its value for a row. What a row does not have is empty.
type CsvColumn = (&'static str, fn(&RecordSet, &SetRow) -> String);

/// A column of what `copycost run` recorded. Criterion's rows have no record.
macro_rules! recorded {
    ($name:expr, $value:expr) => {
        ($name, |_, row| {
            let value: fn(&Record) -> String = $value;
            row.record.as_ref().map_or_else(String::new, value)
        })
    };
}

/// A column of a count of the ledger, under its name.
macro_rules! counted {
    ($count:ident) => {
        recorded!(stringify!($count), |record| {
            record.ledger.as_ref().map_or_else(String::new, |ledger| ledger.$count.to_string())
        })
    };
}

/// A column of a latency in ns.
macro_rules! latency {
    ($name:literal, $quantile:ident) => {
        recorded!($name, |record| {
            record.latency_ns.as_ref().map_or_else(String::new, |latency| latency.$quantile.to_string())
        })
    };
}

/// The share of each size in the time of the calls: `512 B=0.16; 16 KiB=0.84`.
fn call_shares(record: &Record) -> String {
    let share = |class: &ClassCost| Some(format!("{}={}", class.name, class.call_share?));
    record.classes.iter().filter_map(share).collect::<Vec<_>>().join("; ")
}

/// All of them, in order. New ones come last, so that scripts that count columns keep working.
const COLUMNS: &[CsvColumn] = &[
    ("set", |set, _| set.label.clone()),
    ("path", |_, row| row.path.clone()),
    ("size", |_, row| row.size.bytes.to_string()),
    ("clients", |_, row| row.clients.to_string()),
    recorded!("layout", |record| record.layout.clone()),
    recorded!("fields", |record| record.fields.clone()),
    recorded!("buffers", |record| record.buffers.clone()),
    recorded!("footprint", |record| record.footprint.clone()),
    recorded!("placement", |record| record.placement.clone()),
    recorded!("receive", |record| record.receive.clone()),
    recorded!("send_offset", |record| record.send_offset.clone()),
    recorded!("receive_offset", |record| record.receive_offset.clone()),
    recorded!("offset_seed", |record| record.offset_seed.map_or_else(String::new, |seed| seed.to_string())),
    recorded!("transport", |record| record.transport.clone()),
    recorded!("clock", |record| record.clock.clone()),
    recorded!("seconds", |record| record.seconds.to_string()),
    recorded!("messages", |record| record.messages.to_string()),
    recorded!("bytes", |record| record.bytes.to_string()),
    ("throughput_bytes_per_second", |_, row| {
        number(figure(row, RecordMetric::Throughput).map(|rate| rate * 1e9))
    }),
    recorded!("syscalls_per_message", |record| record.syscalls_per_message.to_string()),
    recorded!("context_switches_per_message", |record| record.context_switches_per_message.to_string()),
    counted!(sends),
    counted!(completed),
    counted!(copied),
    counted!(merged_ranges),
    counted!(enobufs),
    counted!(waits),
    counted!(fallbacks),
    counted!(aborted),
    counted!(undrained),
    counted!(peak_in_flight_bytes),
    recorded!("verdict", |record| record.verdict.clone().unwrap_or_default()),
    recorded!("cpu_scope", |record| record.cpu.scope.clone()),
    recorded!("sender_ns_per_kib", |record| number(record.cpu.sender_ns_per_kib)),
    recorded!("receiver_ns_per_kib", |record| number(record.cpu.receiver_ns_per_kib)),
    recorded!("process_ns_per_kib", |record| number(record.cpu.process_ns_per_kib)),
    recorded!("system_ns_per_kib", |record| number(record.cpu.system_ns_per_kib)),
    recorded!("segments_per_message", |record| number(
        record.wire.as_ref().and_then(|w| w.segments_per_message)
    )),
    recorded!("mean_segment_bytes", |record| number(record.wire.as_ref().and_then(|w| w.mean_segment_bytes))),
    recorded!("limiter", |record| record.limiter.clone()),
    recorded!("ns_per_message", |record| number(record.ns_per_message)),
    ("both_ends_ns_per_kib", |_, row| number(figure(row, RecordMetric::BothDemand))),
    ("latency_mean_ns", |_, row| number(figure(row, RecordMetric::LatencyMean).map(|us| us * 1e3))),
    latency!("latency_p50_ns", p50),
    latency!("latency_p99_ns", p99),
    latency!("latency_max_ns", max),
    recorded!("flags", |record| record.flags.join("; ")),
    counted!(plain),
    recorded!("mapped_share", |record| number(record.mapped_share)),
    counted!(doubtful),
    recorded!("client_hosts", |record| record.client_hosts.to_string()),
    recorded!("fairness_jain", |record| number(record.hosts.as_ref().and_then(|hosts| hosts.fairness_jain))),
    recorded!("fairness_min_over_max", |record| {
        number(record.hosts.as_ref().and_then(|hosts| hosts.fairness_min_over_max))
    }),
    ("measured_utc", |_, row| dated::of_row(row)),
    ("workload", |_, row| row.size.workload.map_or_else(String::new, |name| name.to_string())),
    recorded!("call_shares", call_shares),
];

/// The names of all columns.
pub(super) fn header() -> Vec<String> {
    ORIGINAL.iter().chain(COLUMNS.iter().map(|(name, _)| name)).map(ToString::to_string).collect()
}

/// A line for each row of the sets.
pub(super) fn lines(sets: &[RecordSet]) -> Vec<Vec<String>> {
    let line = |set: &RecordSet, row: &SetRow| {
        let own = COLUMNS.iter().map(|(_, value)| value(set, row));
        original(row).into_iter().chain(own).collect()
    };
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
    let round = throughput.map(|rate| row.size.bytes as f64 * row.clients as f64 / rate / 1e3);
    [
        row.path.clone(),
        row.size.bytes.to_string(),
        row.clients.to_string(),
        number(throughput.map(|rate| rate * 8.0)),
        number(record.map_or(round, |record| record.ns_per_message.map(|time| time / 1e3))),
        number(total(RecordMetric::CyclesPerByte, |record| record.bytes as f64)),
        number(total(RecordMetric::FirstLevelMisses, kib)),
        number(total(RecordMetric::LastLevelMisses, kib)),
        number(total(RecordMetric::Switches, |record| record.messages as f64)),
    ]
}
