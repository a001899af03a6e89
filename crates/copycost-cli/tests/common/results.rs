//! Results as `copycost run` writes them, made up: for tests of what reads them, and for the timing of a report.

use serde_json::{Value, json};

/// What holds for all records.
pub fn conditions(kernel: &str) -> Value {
    json!({
        "kernel": kernel, "cpu_model": "A CPU", "cpus": 2, "congestion_control": "cubic",
        "send_buffer_bytes": 524_288, "receive_buffer_bytes": 2_097_152, "nodelay": false, "version": "0.1.0",
        "commit": null, "command": ["copycost", "run"], "flags": [],
    })
}

/// A path in a cell, with every figure that a report plots.
pub fn record(path: &str, size: usize, clients: usize, rate: f64) -> Value {
    let zero_copy = path == "zerocopy";
    let ledger = json!({
        "sends": 1000, "completed": 900, "copied": 450, "enobufs": 0, "fallbacks": 100, "undrained": 0,
    });
    let time = 1e12 / rate;
    json!({
        "path": path, "size": size, "clients": clients, "layout": "heap", "fields": "even", "buffers": "constant",
        "footprint": "hot", "placement": "paired", "receive": "recv", "transport": "loopback", "clock": "window",
        "seconds": 1.0, "context_switches_per_message": 0.01, "messages": 1000, "bytes": rate as u64,
        "throughput_bytes_per_second": rate, "syscalls_per_message": 1.0,
        "ledger": if zero_copy { ledger } else { Value::Null },
        "verdict": if zero_copy { json!("mixed") } else { Value::Null },
        "cpu": {
            "scope": "user+kernel+softirq (task-clock)", "sender_ns_per_kib": time, "receiver_ns_per_kib": 60.5,
            "process_ns_per_kib": time + 62.0, "system_ns_per_kib": time + 70.0, "ksoftirqd_ns_per_kib": 0.1,
            "steal_percent": 0.0, "sender_user_percent": 5.0, "missing": {},
        },
        "ns_per_message": size as f64 * clients as f64 / rate * 1e9,
        "latency_ns": { "messages": 500, "p50": 14_000 * clients, "p90": 20_000 * clients, "p99": 60_000 * clients,
            "p999": 90_000 * clients, "max": 100_000 * clients },
        "pollution": { "table_bytes": 1_048_576, "ns_per_access": 9.5, "idle_ns_per_access": 4.0 },
        "limiter": "cpu",
    })
}

/// A comparison of `path` with onecopy.
fn comparison(path: &str, size: usize, clients: usize, ratio: f64) -> Value {
    let word = if ratio > 1.05 {
        "faster"
    } else if ratio < 0.95 {
        "slower"
    } else {
        "undecided"
    };
    json!({
        "size": size, "clients": clients, "path": path, "reference": "onecopy", "metric": "throughput",
        "ratio": ratio, "low": ratio * 0.95, "high": ratio * 1.05, "word": word, "setups": 8,
    })
}

/// The three paths of the original in every cell: bytes per second rise with the size and, up to two, the clients.
pub fn results(kernel: &str, sizes: &[usize], clients: &[usize]) -> Value {
    let (mut records, mut comparisons) = (Vec::new(), Vec::new());
    for &clients in clients {
        for &size in sizes {
            let one = 12e9 * size as f64 / (size as f64 + 12_000.0) * clients.min(2) as f64 / 2.0;
            for (path, share) in [("twocopy", 0.3), ("onecopy", 1.0), ("zerocopy", 0.2)] {
                // The others catch up with the size, zerocopy overtakes.
                let ratio = share + (1.1 - share) * size as f64 / (size as f64 + 9_000.0);
                let ratio = if path == "onecopy" { 1.0 } else { ratio };
                records.push(record(path, size, clients, one * ratio));
                if path != "onecopy" {
                    comparisons.push(comparison(path, size, clients, ratio));
                }
            }
        }
    }
    json!({
        "schema": 1, "conditions": conditions(kernel), "records": records, "comparisons": comparisons,
        "verdict": ["Send with `onecopy` at every size up to 32 KiB."],
    })
}
