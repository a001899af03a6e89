//! Results as tables with every figure.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, Table};

use super::screen::Screen;
use super::set::{of_results, side_by_side};
use crate::record::{LatencyRecord, Record, Results};
use copycost::units::{ByteSize, significant};

/// `results` with every figure, one table a subject.
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

/// How even the client hosts were, and what each had; nothing where one received.
fn of_hosts(results: &Results, screen: Screen) -> String {
    let mut table = screen.table();
    table.set_header(["path", "size", "clients", "client host", "GB/s", "share %", "recv", "p50 µs", "p99"]);
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for record in &results.records {
        let Some(hosts) = &record.hosts else { continue };
        let cell = |name: String| {
            [record.path.clone(), ByteSize(record.size).to_string(), record.clients.to_string(), name]
        };
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
            table.add_row(cell(format!("{} (rank {})", host.host, host.rank)).into_iter().chain(figures));
        }
        let even = format!(
            "{} hosts: Jain {}, least {}",
            record.client_hosts,
            maybe(hosts.fairness_jain),
            maybe(hosts.fairness_min_over_max)
        );
        let rate = significant(record.throughput_bytes_per_second / 1e9);
        table.add_row(cell(even).into_iter().chain([rate, "100".to_owned()]));
    }
    if table.is_empty() { String::new() } else { format!("{}\n\n", trimmed(&table)) }
}

/// What a path with several ways chose in each cell.
fn decided(results: &Results) -> String {
    let line = |record: &Record| {
        let decisions = record.ledger.as_ref()?.decisions?;
        let Record { path, size, clients, .. } = record;
        Some(format!("{path}, {}, {clients} clients: {decisions}\n", ByteSize(*size)))
    };
    results.records.iter().filter_map(line).collect()
}

/// Why figures are missing, each reason once.
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

/// A table whose rows begin with the path and the cell. Numbers stand to the right.
fn cells<const N: usize>(
    results: &Results,
    screen: Screen,
    header: &[&str],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    if results.records.is_empty() {
        return String::new();
    }
    let mut table = screen.table();
    table.set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (record, row) in results.records.iter().zip(rows) {
        let cell = [record.path.clone(), ByteSize(record.size).to_string(), record.clients.to_string()];
        table.add_row(cell.into_iter().chain(row));
    }
    format!("{}\n", trimmed(&table))
}

fn unknown() -> String {
    "-".to_owned()
}

fn maybe(value: Option<f64>) -> String {
    value.map_or_else(unknown, significant)
}

/// A name under `title`, whether it is to be had, and what it is: one line each.
pub fn list(title: &str, rows: &[[String; 3]], screen: Screen) -> String {
    let mut table = screen.table();
    table.set_header([title, "here", "what it does"]);
    for row in rows {
        table.add_row(row);
    }
    format!("{}\n", trimmed(&table))
}

/// Without the blanks at the ends of the lines.
pub(super) fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
