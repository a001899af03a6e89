//! Results as tables with every figure.

use std::collections::BTreeSet;

use super::screen::Screen;
use super::set::{of_results, side_by_side};
use crate::record::{LatencyRecord, Record, Results};
use copycost::units::significant;

/// `results` with every figure, one table per subject.
pub(super) fn wide(results: &Results, screen: Screen) -> String {
    let of = |header: &[&str], row: fn(&Record) -> [String; 6]| {
        cells(results, screen, header, results.records.iter().map(row))
    };
    let cpu = of(
        &["path", "size", "clients", "ns/KiB send", "recv", "process", "system", "ksoftirqd", "user % send"],
        |record| {
            let cpu = &record.cpu;
            [
                cpu.sender_ns_per_kib,
                cpu.receiver_ns_per_kib,
                cpu.process_ns_per_kib,
                cpu.system_ns_per_kib,
                cpu.ksoftirqd_ns_per_kib,
                cpu.sender_user_percent,
            ]
            .map(maybe)
        },
    );
    let wire = of(
        &[
            "path",
            "size",
            "clients",
            "calls/msg",
            "segments/msg",
            "bytes/segment",
            "resent",
            "rtt µs",
            "µs/msg",
        ],
        |record| {
            let wire = record.wire.clone().unwrap_or_default();
            [
                significant(record.syscalls_per_message),
                maybe(wire.segments_per_message),
                maybe(wire.mean_segment_bytes),
                wire.retransmits.map_or_else(unknown, |n| n.to_string()),
                wire.rtt_us.map_or_else(unknown, |n| n.to_string()),
                maybe(record.ns_per_message.map(|time| time / 1e3)),
            ]
        },
    );
    let latency =
        of(&["path", "size", "clients", "latency µs p50", "p90", "p99", "p99.9", "max", "messages"], |r| {
            let Some(latency) = r.latency_ns else { return [(); 6].map(|()| unknown()) };
            let us = |ns: u64| significant(ns as f64 / 1e3);
            let at = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(us);
            let [p50, p90, p99, p999, max] = at;
            [p50, p90, p99, p999, max, latency.messages.to_string()]
        });
    let counters = of(
        &[
            "path",
            "size",
            "clients",
            "cycles/KiB send",
            "L1 miss",
            "last level",
            "migrations",
            "faults",
            "chase ns",
        ],
        |record| {
            let per_kib = |name: &str| {
                let counters = record.counters.as_ref()?;
                counters.sender.get(name)?.per_kib
            };
            let last_level = per_kib("cache-misses").or_else(|| per_kib("LLC-load-misses"));
            let chase = record.pollution.map_or_else(unknown, |p| {
                format!("{} ({})", significant(p.ns_per_access), significant(p.idle_ns_per_access))
            });
            [
                maybe(per_kib("cycles")),
                maybe(per_kib("L1-dcache-load-misses")),
                maybe(last_level),
                maybe(per_kib("cpu-migrations")),
                maybe(per_kib("page-faults")),
                chase,
            ]
        },
    );
    let hosts = of_hosts(results, screen);
    let missing = decided(results) + &reasons(results);
    let main = super::terminal::report(&side_by_side(of_results("", results)), screen);
    format!("{main}\n{cpu}\n{wire}\n{latency}\n{counters}\n{hosts}{missing}")
}

/// The figures of each client host and their fairness; empty without several hosts.
fn of_hosts(results: &Results, screen: Screen) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for record in &results.records {
        let Some(hosts) = &record.hosts else { continue };
        let cell =
            |name: String| [record.path.clone(), record.size.to_string(), record.clients.to_string(), name];
        for host in &hosts.each {
            let latency = |of: fn(&LatencyRecord) -> u64| {
                host.latency_ns.as_ref().map_or_else(unknown, |latency| significant(of(latency) as f64 / 1e3))
            };
            let figures = [
                significant(host.throughput_bytes_per_second / 1e9),
                significant(100.0 * host.share),
                maybe(host.receiver_ns_per_kib),
                latency(|latency| latency.p50),
                latency(|latency| latency.p99),
            ];
            rows.push(
                cell(format!("{} (rank {})", host.host, host.rank)).into_iter().chain(figures).collect(),
            );
        }
        let even = format!(
            "{} hosts: Jain {}, least {}",
            record.client_hosts,
            maybe(hosts.fairness_jain),
            maybe(hosts.fairness_min_over_max)
        );
        let rate = significant(record.throughput_bytes_per_second / 1e9);
        rows.push(cell(even).into_iter().chain([rate, "100".to_owned()]).collect());
    }
    let header = ["path", "size", "clients", "client host", "GB/s", "share %", "recv", "p50 µs", "p99"];
    if rows.is_empty() { String::new() } else { format!("{}\n", screen.listed(header, rows, 4)) }
}

/// The decisions of adaptive paths in each cell.
fn decided(results: &Results) -> String {
    let line = |record: &Record| {
        let decisions = record.ledger.as_ref()?.decisions?;
        let Record { path, size, clients, .. } = record;
        Some(format!("{path}, {}, {clients} clients: {decisions}\n", size))
    };
    results.records.iter().filter_map(line).collect()
}

/// The reasons for missing figures, each once.
fn reasons(results: &Results) -> String {
    let mut lines = BTreeSet::new();
    for record in &results.records {
        let counters = record.counters.iter().flat_map(|counters| &counters.missing);
        let wire = record.wire.iter().flat_map(|wire| &wire.missing);
        for (figure, reason) in record.cpu.missing.iter().chain(counters).chain(wire) {
            lines.insert(format!("no {figure}: {reason}\n"));
        }
        lines.extend(record.counters.iter().map(|counters| format!("counters: {}\n", counters.scope)));
        lines.insert(format!("CPU time: {}\n", record.cpu.scope));
    }
    lines.into_iter().collect()
}

/// A table whose rows begin with the path and the cell. Numbers are aligned to the right.
fn cells<const N: usize>(
    results: &Results,
    screen: Screen,
    header: &[&str],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    if results.records.is_empty() {
        return String::new();
    }
    let rows = results.records.iter().zip(rows).map(|(record, row)| {
        let cell = [record.path.clone(), record.size.to_string(), record.clients.to_string()];
        cell.into_iter().chain(row)
    });
    screen.listed(header, rows, 1)
}

fn unknown() -> String {
    "-".to_owned()
}

fn maybe(value: Option<f64>) -> String {
    value.map_or_else(unknown, significant)
}

/// A table of names under `title`, with their availability and a description, one row each.
pub fn list(title: &str, rows: &[[String; 3]], screen: Screen) -> String {
    screen.listed([title, "here", "what it does"], rows, usize::MAX)
}
