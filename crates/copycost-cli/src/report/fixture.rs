//! Fixed records for the tests of every form.

use crate::record::{
    CellFailure, Comparison, Conditions, CountRecord, CountersRecord, CpuRecord, Crossover, HostRecord,
    HostsRecord, LatencyRecord, LedgerRecord, PollutionRecord, RankConditions, Record, Results, WireRecord,
};
use crate::record::{FigureRecord, LatenessRecord, LoadComparison, LoadCurve, LoadPoint, QuantileRecord};

/// A record of one path in a cell with one client.
pub fn record(path: &str, size: usize, throughput: f64, ledger: Option<LedgerRecord>) -> Record {
    Record {
        path: path.into(),
        size: size.into(),
        clients: 1,
        client_hosts: 1,
        layout: "heap".into(),
        fields: "even".into(),
        buffers: "constant".into(),
        footprint: "hot".into(),
        placement: "paired".into(),
        receive: "recv".into(),
        measured_at: None,
        send_offset: "drawn".into(),
        receive_offset: "drawn".into(),
        offset_seed: Some(7),
        send_offsets: Vec::new(),
        receive_offsets: Vec::new(),
        transport: "loopback".into(),
        clock: "window".into(),
        seconds: 1.0,
        context_switches_per_message: 0.0041,
        messages: throughput as u64 / size as u64,
        bytes: throughput as u64,
        throughput_bytes_per_second: throughput,
        syscalls_per_message: 1.0,
        verdict: ledger.as_ref().map(|_| "copied".into()),
        lab: None,
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
        mapped_share: None,
        mapped_reason: None,
        limiter: "unknown: sender and receiver share CPUs".into(),
        ns_per_message: Some(1234.5),
        latency_ns: Some(LatencyRecord {
            messages: 9,
            p50: 14_000,
            p90: 15_000,
            p99: 16_000,
            p999: 17_000,
            max: 18_000,
        }),
        pollution: None,
        throttled: None,
        hosts: None,
        classes: Vec::new(),
        flags: Vec::new(),
    }
}

/// A ledger of `sends` sends, all copied.
pub fn copied(sends: u64) -> LedgerRecord {
    LedgerRecord { sends, completed: sends, copied: sends, ..LedgerRecord::default() }
}

/// The conditions of an invented machine.
pub fn conditions() -> Conditions {
    Conditions {
        kernel: "6.18.0".into(),
        cpu_model: "AMD EPYC".into(),
        cpus: 2,
        congestion_control: "cubic".into(),
        send_buffer_bytes: 512 << 10,
        receive_buffer_bytes: 2 << 20,
        version: "0.0.0".into(),
        command: vec!["copycost".into(), "run".into()],
        ..Conditions::default()
    }
}

/// Two paths on one, two and four client hosts, with throughput and demand that grow with the number of hosts.
pub fn of_hosts() -> Results {
    let mut results = Results::new(conditions());
    for hosts in [1, 2, 4] {
        for (path, rate) in [("onecopy", 1e9), ("zerocopy", 1.5e9)] {
            let share = |rank: usize| HostRecord {
                rank,
                host: format!("node{rank}"),
                bytes: 500_000_000,
                seconds: 1.0,
                throughput_bytes_per_second: rate,
                share: 1.0 / hosts as f64,
                receiver_ns_per_kib: Some(61.5),
                latency_ns: None,
            };
            let hosts_record = HostsRecord {
                fairness_jain: Some(1.0 - 0.05 * hosts as f64),
                fairness_min_over_max: Some(0.75),
                windows_apart_us: 120.0,
                each: (1..=hosts).map(share).collect(),
            };
            let mut record = Record {
                client_hosts: hosts,
                transport: "mpi".into(),
                hosts: Some(hosts_record),
                ..record(path, 65_536, rate * (hosts as f64).sqrt(), None)
            };
            record.cpu.sender_ns_per_kib = Some(40.0 + hosts as f64);
            results.records.push(record);
        }
    }
    results.conditions.ranks = vec![RankConditions {
        rank: 1,
        role: "client host".into(),
        host: "node1".into(),
        conditions: conditions(),
    }];
    results
}

/// Two records, a flag and a failure.
pub fn few() -> Results {
    let mut results = Results::new(conditions());
    results.records.push(record("onecopy", 1024, 1.1e9, None));
    results.records.push(record("zerocopy", 65_536, 4.25e9, Some(copied(10))));
    results.records[1]
        .flags
        .push("measures the scheduler: too many context switches for each message".into());
    results.failures.push(CellFailure {
        path: "zerocopy".into(),
        size: 1024.into(),
        clients: 1,
        client_hosts: 1,
        error: "client 0 failed: Connection reset by peer".into(),
    });
    results
}

/// Three paths in four cells with comparisons, a crossover, a verdict, counters and the pointer chase.
pub fn full() -> Results {
    let mut results = Results::new(conditions());
    for (clients, scale) in [(1, 1.0), (8, 1.75)] {
        for (size, rates) in [(1024, [0.25e9, 1.0e9, 0.2e9]), (65_536, [5.0e9, 6.0e9, 6.6e9])] {
            for (path, rate) in ["twocopy", "onecopy", "zerocopy"].into_iter().zip(rates) {
                let ledger = (path == "zerocopy").then(|| copied(1000));
                let mut record = Record { clients, ..record(path, size, rate * scale, ledger) };
                record.cpu.sender_ns_per_kib = Some(1e12 / rate);
                record.pollution = Some(PollutionRecord {
                    table_bytes: 1 << 20,
                    ns_per_access: 9.5,
                    idle_ns_per_access: 4.0,
                });
                results.records.push(record);
            }
        }
    }
    results.comparisons = comparisons(&results.records);
    results.crossovers.push(Crossover {
        path: "zerocopy".into(),
        against: "onecopy".into(),
        clients: 1,
        client_hosts: 1,
        metric: "throughput".into(),
        footprint: "hot".into(),
        low: Some(16_384),
        high: Some(32_768),
        most: 1 << 20,
    });
    results.verdict = vec!["Send with `onecopy` below 32 KiB and with zerocopy from there on.".into()];
    results
}

/// Comparisons of every path with onecopy; those of large messages with 8 clients are undecided.
fn comparisons(records: &[Record]) -> Vec<Comparison> {
    let reference = |record: &Record| {
        let same = |other: &&Record| (other.size, other.clients) == (record.size, record.clients);
        records.iter().filter(same).find(|other| other.path == "onecopy").unwrap().throughput_bytes_per_second
    };
    let compared = |record: &Record| {
        let ratio = record.throughput_bytes_per_second / reference(record);
        let open = record.size == 65_536 && record.clients == 8;
        let outcome = if open {
            "undecided"
        } else if ratio > 1.0 {
            "faster"
        } else {
            "slower"
        };
        Comparison {
            size: record.size,
            clients: record.clients,
            client_hosts: record.client_hosts,
            ratio: Some(ratio),
            low: Some(ratio * if open { 0.8 } else { 0.97 }),
            high: Some(ratio * if open { 1.3 } else { 1.03 }),
            word: outcome.into(),
            note: open.then(|| "the budget was used up".into()),
            ..Comparison::example(&record.path, "onecopy", "throughput")
        }
    };
    records.iter().filter(|record| record.path != "onecopy").map(compared).collect()
}

/// Two paths at three loads of which one path carries two, and the other path is slower.
pub fn loaded() -> Results {
    let latency = |p50: u64, tail: u64| -> Vec<QuantileRecord> {
        [(0.5, p50), (0.9, p50 * 2), (0.99, tail / 2), (0.999, tail)]
            .map(|(quantile, us)| QuantileRecord {
                quantile,
                ns: Some(us * 1000),
                low: Some(us * 900),
                high: Some(us * 1200),
                missing: None,
            })
            .to_vec()
    };
    let point = |path: &str, share: f64, us: Option<(u64, u64)>| {
        let ledger = LedgerRecord {
            sends: 90_000,
            completed: 90_000,
            copied: 90_000,
            peak_in_flight_bytes: 832 << 10,
            notification_p50_ns: Some(67_000),
            notification_p99_ns: Some(690_000),
            ..LedgerRecord::default()
        };
        let is_zero_copy = path == "zerocopy";
        LoadPoint {
            path: path.into(),
            load: Some(share),
            offered_per_second: share * 50_000.0,
            achieved_per_second: if us.is_some() { share * 49_950.0 } else { 31_242.0 },
            due: (share * 400_000.0) as u64,
            received: (share * 400_000.0) as u64,
            setups: 8,
            state: if us.is_some() { "carried" } else { "saturated" }.into(),
            reason: us.is_none().then(|| "31,242 messages a second of 40,000 arrived".into()),
            latency: us.map(|(p50, tail)| latency(p50, tail)).unwrap_or_default(),
            max_ns: us.map(|(_, tail)| tail * 2000),
            lateness: LatenessRecord { p50: 30, p99: 50_000, p999: 400_000, max: 5_000_000 },
            sender_ns_per_message: Some(FigureRecord {
                value: if is_zero_copy { 23_400.0 } else { 17_500.0 },
                low: Some(17_000.0),
                high: Some(24_000.0),
            }),
            sender_missing: None,
            ledger: is_zero_copy.then_some(ledger),
            verdict: is_zero_copy.then(|| "copied".into()),
            verdict_reason: is_zero_copy.then(|| "loopback".into()),
            flags: Vec::new(),
        }
    };
    let compared = |share: f64, metric: &str, ratio: f64, word: &str| LoadComparison {
        path: "zerocopy".into(),
        reference: "onecopy".into(),
        load: Some(share),
        offered_per_second: share * 50_000.0,
        metric: metric.into(),
        ratio: Some(ratio),
        low: Some(ratio * 0.9),
        high: Some(ratio * 1.1),
        word: word.into(),
        note: None,
    };
    let mut first = point("onecopy", 0.2, Some((70, 300)));
    first.latency[3] = QuantileRecord {
        quantile: 0.999,
        missing: Some("it takes 100,000 messages, and there were 80,000".into()),
        ..QuantileRecord::default()
    };
    let curve = LoadCurve {
        size: 65_536.into(),
        clients: 1,
        client_hosts: 1,
        settings: ["loopback", "paired placement", "hot footprint"].map(str::to_owned).to_vec(),
        arrivals: "poisson".into(),
        reference: "onecopy".into(),
        saturation_per_second: Some(50_000.0),
        points: vec![
            first,
            point("zerocopy", 0.2, Some((90, 480))),
            point("onecopy", 0.5, Some((92, 1300))),
            point("zerocopy", 0.5, Some((218, 7000))),
            point("onecopy", 0.8, Some((250, 11_600))),
            point("zerocopy", 0.8, None),
        ],
        comparisons: vec![
            compared(0.2, "p50", 1.28, "slower"),
            compared(0.2, "sender-cpu", 1.48, "slower"),
            compared(0.5, "p50", 2.37, "slower"),
            compared(0.5, "p99.9", 5.38, "slower"),
            compared(0.5, "sender-cpu", 1.0, "equivalent"),
        ],
    };
    let mut results = Results { load_curves: vec![curve], ..Results::new(conditions()) };
    crate::verdict::conclude(&mut results);
    results
}

/// `record` with hardware counters: cycles, first-level and last-level misses per KiB at each end.
pub fn counted(record: Record, cycles: f64, first: f64, last: f64) -> Record {
    let events = [("cycles", cycles), ("L1-dcache-load-misses", first), ("cache-misses", last)];
    let side: std::collections::BTreeMap<_, _> = events
        .map(|(name, per_kib)| (name.to_owned(), CountRecord { per_kib: Some(per_kib), per_message: None }))
        .into();
    let counters = CountersRecord { sender: side.clone(), receiver: side, ..CountersRecord::default() };
    Record { counters: Some(counters), ..record }
}
