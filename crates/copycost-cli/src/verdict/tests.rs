//! Verdicts of fixed results, as a user reads them.

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

/// Comparisons of `path` with onecopy, by throughput and by demand.
fn compared(path: &str, size: usize, throughput: (f64, &str), demand: (f64, &str)) -> Vec<Comparison> {
    let one = |metric: &str, (ratio, judgement): (f64, &str)| Comparison {
        size: size.into(),
        ratio: Some(ratio),
        low: Some(ratio * 0.99),
        high: Some(ratio * 1.01),
        word: judgement.into(),
        ..Comparison::example(path, "onecopy", metric)
    };
    vec![one("throughput", throughput), one("demand", demand)]
}

/// The ledger of ten zero-copy sends, of which `copied` were copied.
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

/// The headline and the verdict.
fn headline_and_verdict(results: &Results) -> String {
    let answer = headline(results).unwrap_or_default();
    assert!(answer.chars().count() <= LONGEST, "{answer}");
    format!("{answer}\n\n{}", of(results).join("\n"))
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
    insta::assert_snapshot!(headline_and_verdict(&results));
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
        size: 1024.into(),
        clients: 1,
        client_hosts: 1,
        error,
    });
    insta::assert_snapshot!(headline_and_verdict(&results));
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
    insta::assert_snapshot!(headline_and_verdict(&results));
}

/// Results with the comparisons that `of` gives for each size, and a record of each path.
fn measured(sizes: &[usize], of: impl Fn(usize) -> Vec<Comparison>) -> Results {
    let mut results = results();
    for &size in sizes {
        let comparisons = of(size);
        let mut paths: Vec<_> = comparisons.iter().map(|comparison| comparison.path.clone()).collect();
        paths.push("onecopy".into());
        paths.dedup();
        results.records.extend(paths.iter().map(|path| record(path, size)));
        results.comparisons.extend(comparisons);
    }
    results
}

#[test]
fn the_answer_is_what_to_do_in_one_sentence() {
    let small = |size: usize, path: &str| match size {
        size if size <= 4096 => compared(path, size, (1.2, "faster"), (0.8, "faster")),
        size => compared(path, size, (0.8, "slower"), (1.2, "slower")),
    };
    let of = |results: &Results| headline(results).unwrap();
    let flatten = measured(&[1024, 4096, 65_536], |size| {
        [small(size, "flatten"), compared("zerocopy", size, (0.6, "slower"), (1.5, "slower"))].concat()
    });
    assert_eq!(
        of(&flatten),
        "Over loopback: flatten to 4 KiB, onecopy from 64 KiB; zero copy cannot win here (try --over lab)."
    );
    let same = measured(&[1024], |size| compared("flatten", size, (1.01, "undecided"), (1.0, "undecided")));
    assert_eq!(of(&same), "Over loopback, 1 KiB: no difference shown.");
    let equal = measured(&[1024], |size| compared("flatten", size, (1.0, "equivalent"), (1.0, "equivalent")));
    assert_eq!(of(&equal), "Over loopback, 1 KiB: no difference.");
    let three = measured(&[1024], |size| {
        [
            compared("flatten", size, (1.0, "undecided"), (1.0, "undecided")),
            compared("twocopy", size, (0.3, "slower"), (3.0, "slower")),
        ]
        .concat()
    });
    assert_eq!(of(&three), "Over loopback, 1 KiB: use onecopy or flatten.");
    let contrary = measured(&[1024], |size| compared("flatten", size, (1.2, "faster"), (1.2, "slower")));
    assert_eq!(of(&contrary), "Over loopback, 1 KiB: use flatten; by CPU time use onecopy.");
}

#[test]
fn a_failed_path_is_not_named_and_without_the_reference_there_is_no_answer() {
    let failed = |path: &str, size: usize| CellFailure {
        path: path.into(),
        size: size.into(),
        clients: 1,
        client_hosts: 1,
        error: "client 0 failed: Connection reset by peer (os error 104) (in set-up 1)".into(),
    };
    let without = |comparison: Comparison| Comparison {
        ratio: None,
        low: None,
        high: None,
        word: "undecided".into(),
        note: Some(format!("{} failed: …", comparison.path)),
        ..comparison
    };
    let mut one = measured(&[1024], |size| compared("twocopy", size, (0.3, "slower"), (3.0, "slower")));
    one.comparisons.extend(compared("zerocopy", 1024, (1.0, "x"), (1.0, "x")).into_iter().map(without));
    one.failures.push(failed("zerocopy", 1024));
    let all = headline_and_verdict(&one);
    assert!(all.starts_with("Over loopback, 1 KiB: use onecopy."), "{all}");
    assert!(!all.contains("zerocopy"), "{all}");
    let mut none = measured(&[1024], |size| {
        compared("twocopy", size, (1.0, "x"), (1.0, "x")).into_iter().map(without).collect()
    });
    none.records.retain(|record| record.path != "onecopy");
    none.failures.push(failed("onecopy", 1024));
    let all = headline_and_verdict(&none);
    assert!(
        all.starts_with("No answer: onecopy, with which the others are compared, could not be measured."),
        "{all}"
    );
    assert!(!all.contains("CPU time") && !all.contains("twocopy"), "{all}");
}

#[test]
fn an_interval_that_allows_everything_recommends_nothing() {
    let mut vague = measured(&[1024], |size| {
        [
            compared("flatten", size, (1.37, "faster"), (0.7, "faster")),
            compared("twocopy", size, (0.25, "undecided"), (4.0, "undecided")),
        ]
        .concat()
    });
    for comparison in vague.comparisons.iter_mut().filter(|comparison| comparison.path == "twocopy") {
        (comparison.low, comparison.high) = (Some(0.001), Some(62.0));
    }
    let all = headline_and_verdict(&vague);
    assert!(all.starts_with("Over loopback, 1 KiB: no difference shown (too few set-ups)."), "{all}");
    assert!(all.contains("at 1 KiB, there were too few set-ups to tell paths apart by throughput."), "{all}");
    assert!(!all.contains("use "), "{all}");
}

#[test]
fn in_the_lab_the_senders_cpu_time_leads() {
    let mut lab = measured(&[65_536], |size| {
        let of = |path: &str, throughput, demand, sender: (f64, &str)| {
            let mut all = compared(path, size, throughput, demand);
            let more = Comparison { metric: "sender-demand".into(), ..all[0].clone() };
            let (ratio, judgement) = sender;
            all.push(Comparison {
                ratio: Some(ratio),
                low: Some(ratio * 0.99),
                high: Some(ratio * 1.01),
                word: judgement.into(),
                ..more
            });
            all
        };
        [
            of("zerocopy", (0.9, "slower"), (1.1, "slower"), (0.92, "faster")),
            of("uring-sendzc", (0.8, "slower"), (1.2, "slower"), (0.77, "faster")),
        ]
        .concat()
    });
    for record in &mut lab.records {
        record.transport = "lab".into();
        record.lab = Some(Default::default());
    }
    let all = headline_and_verdict(&lab);
    assert!(all.starts_with("In the lab, by the sender's CPU time, 64 KiB: use uring-sendzc."), "{all}");
    assert!(
        all.contains("With 1 client, at 64 KiB, use uring-sendzc: it needs the least CPU time of the sender"),
        "{all}"
    );
    assert!(!all.contains("throughput (") && !all.contains("highest throughput"), "{all}");
}

#[test]
fn each_number_of_hosts_has_its_own_answer() {
    let of = |hosts: usize, judgement: &'static str| {
        let mut part =
            measured(&[1024], |size| compared("flatten", size, (1.2, judgement), (0.8, judgement)));
        part.comparisons.iter_mut().for_each(|comparison| comparison.client_hosts = hosts);
        part.records.iter_mut().for_each(|record| {
            (record.client_hosts, record.transport) = (hosts, "mpi".into());
        });
        part
    };
    let both = |two: &'static str, three: &'static str| {
        let (mut all, more) = (of(2, two), of(3, three));
        all.records.extend(more.records);
        all.comparisons.extend(more.comparisons);
        headline(&all).unwrap()
    };
    assert_eq!(both("faster", "faster"), "Over many hosts, 1 KiB: use flatten.");
    assert_eq!(both("faster", "slower"), "It depends on the number of client hosts, see below.");
}

#[test]
fn the_answer_is_never_too_long() {
    for transport in ["loopback", "lab", "remote", "mpi"] {
        for (sizes, clients) in [
            (vec![1 << 30], vec![1024]),
            (vec![24_876], vec![50, 1024]),
            (vec![1024, 4097, 1 << 20], vec![2, 1024]),
        ] {
            let mut results = results();
            for (place, &size) in sizes.iter().enumerate() {
                for (other, &clients) in clients.iter().enumerate() {
                    let judgement = ["faster", "slower", "undecided"][(place + other) % 3];
                    let mut all = compared("uring-sendmsg", size, (1.2, judgement), (0.8, judgement));
                    let more = Comparison { metric: "sender-demand".into(), ..all[0].clone() };
                    all.push(more);
                    all.iter_mut().for_each(|comparison| comparison.clients = clients);
                    results.comparisons.extend(all);
                    for path in ["onecopy", "uring-sendmsg", "zerocopy"] {
                        let mut record =
                            Record { clients, transport: transport.into(), ..record(path, size) };
                        record.lab = (transport == "lab").then(Default::default);
                        results.records.push(record);
                    }
                }
            }
            results.at = Some("25 Gbit/s".into());
            let answer = headline(&results).unwrap();
            assert!(answer.chars().count() <= LONGEST, "{answer}");
            assert!(answer.ends_with('.'), "{answer}");
        }
    }
}

#[test]
fn cores_at_a_load_are_in_the_answer() {
    let mut results =
        measured(&[24_876], |size| compared("zerocopy", size, (0.9, "slower"), (1.1, "slower")));
    results.at = Some("25 Gbit/s".into());
    for record in &mut results.records {
        record.cpu.sender_ns_per_kib = Some(if record.path == "onecopy" { 360.0 } else { 330.0 });
    }
    let answer = headline(&results).unwrap();
    assert_eq!(
        answer,
        "Over loopback, 24876 B: use onecopy (1.10 cores at 25 Gbit/s with onecopy, 1.01 with zerocopy)."
    );
}

#[test]
fn set_ups_are_counted_only_if_paths_were_compared() {
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
    let old = |size, judgement: &str| {
        let comparisons = compared("onecopy", size, (1.0, judgement), (1.0, "equivalent"));
        comparisons.into_iter().map(|comparison| Comparison { reference: "onecopy@OLD".into(), ..comparison })
    };
    results.comparisons = old(1024, "equivalent").chain(old(4096, "slower")).collect();
    insta::assert_snapshot!(headline_and_verdict(&results));
}

#[test]
fn nothing_to_compare_is_no_verdict() {
    let mut results = results();
    results.records.push(record("onecopy", 1024));
    assert_eq!(of(&results), Vec::<String>::new());
}

#[test]
fn copies_by_choice_and_rare_copies_are_not_reported() {
    let mut results = results();
    let by_choice = LedgerRecord { plain: 10, ..LedgerRecord::default() };
    let rarely = copied(1);
    for (verdict, ledger) in [("copied", by_choice), ("mixed", rarely)] {
        let verdict = Some(verdict.to_owned());
        results.records.push(Record { verdict, ledger: Some(ledger), ..record("zerocopy", 1024) });
    }
    let reported =
        |results: &Results| limits::not_shown(results).iter().any(|line| line.contains("zero copy"));
    assert!(!reported(&results));
    results.records.push(record("zerocopy", 4096));
    assert!(reported(&results));
}

/// Points of onecopy and other paths at 80 % load, the highest that onecopy carries, and the comparisons there.
fn at_a_load(others: &[(&str, &str)], compared: &[(&str, &str, f64, &str)]) -> Results {
    let point = |path: &str, state: &str| {
        serde_json::json!({
            "path": path, "load": 0.8, "offered_per_second": 40_000.0, "achieved_per_second": 39_900.0, "due": 320_000,
            "received": 320_000, "setups": 8, "state": state,
            "latency": [{"quantile": 0.5, "ns": 70_000}, {"quantile": 0.99, "ns": 900_000}],
        })
    };
    let points: Vec<_> =
        [("onecopy", "carried")].iter().chain(others).map(|(path, state)| point(path, state)).collect();
    let comparison = |(path, metric, ratio, word): &(&str, &str, f64, &str)| {
        serde_json::json!({
            "path": path, "reference": "onecopy", "load": 0.8, "offered_per_second": 40_000.0, "metric": metric,
            "ratio": ratio, "low": ratio * 0.9, "high": ratio * 1.1, "word": word,
        })
    };
    let curve = serde_json::json!({
        "size": 65_536, "clients": 1, "settings": ["loopback"], "arrivals": "poisson", "reference": "onecopy",
        "saturation_per_second": 50_000.0, "points": points,
        "comparisons": compared.iter().map(comparison).collect::<Vec<_>>(),
    });
    let mut results = results();
    results.load_curves.push(serde_json::from_value(curve).unwrap());
    conclude(&mut results);
    results
}

#[test]
fn the_answer_for_a_load_names_the_shortest_tail() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str, f64, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (
            &[("zerocopy", "carried")],
            &[
                ("zerocopy", "p50", 1.1, "slower"),
                ("zerocopy", "p99.9", 0.8, "faster"),
                ("zerocopy", "sender-cpu", 1.0, "equivalent"),
            ],
            "At 80 % load of 64 KiB messages, zerocopy's p99.9 is 0.80 of onecopy's; CPU is the same.",
        ),
        (
            &[("zerocopy", "carried")],
            &[("zerocopy", "p99", 2.5, "slower"), ("zerocopy", "sender-cpu", 0.7, "faster")],
            "At 80 % load of 64 KiB messages, zerocopy's p99 is 2.50 of onecopy's; CPU is 0.70.",
        ),
        (
            &[("zerocopy", "carried"), ("twocopy", "carried")],
            &[("zerocopy", "p99.9", 0.9, "faster"), ("twocopy", "p99.9", 0.6, "faster")],
            "At 80 % load of 64 KiB messages, twocopy's p99.9 is 0.60 of onecopy's.",
        ),
        (
            &[("zerocopy", "carried"), ("twocopy", "carried")],
            &[("zerocopy", "p99.9", 1.0, "undecided"), ("twocopy", "p99.9", 1.6, "slower")],
            "At 80 % load of 64 KiB messages no path is shown to have a lower p99.9 than onecopy.",
        ),
        (
            &[("zerocopy", "carried")],
            &[("zerocopy", "p99", 1.0, "undecided"), ("zerocopy", "sender-cpu", 1.0, "undecided")],
            "At 80 % load of 64 KiB messages, no difference of zerocopy to onecopy in p99 shown.",
        ),
        (
            &[("zerocopy", "saturated")],
            &[],
            "At 80 % load of 64 KiB messages zerocopy is saturated, and onecopy's p99 is 900 µs.",
        ),
        (&[], &[], "At 80 % load of 64 KiB messages onecopy's p99 is 900 µs."),
    ];
    for (others, compared, expected) in cases {
        let answer = at_a_load(others, compared).answer.unwrap();
        assert!(answer.chars().count() <= LONGEST, "{} characters: {answer}", answer.chars().count());
        assert_eq!(answer, *expected);
    }
}

#[test]
fn what_a_load_did_not_carry_is_said() {
    let mut results = at_a_load(&[("zerocopy", "saturated")], &[]);
    assert!(
        results.verdict[0].starts_with("zerocopy is saturated from 80 % load on"),
        "{:?}",
        results.verdict
    );
    for (state, answer) in [
        ("saturated", "No answer: onecopy carried none of these loads."),
        ("invalid", "No answer: messages were asked for too late, see below."),
    ] {
        results.load_curves[0].points[0].state = state.into();
        conclude(&mut results);
        assert_eq!(results.answer.as_deref(), Some(answer));
    }
    results.load_curves[0].points[0].due = 0;
    conclude(&mut results);
    let answer = results.answer.take().unwrap();
    assert!(answer.starts_with("No answer: no message was due"), "{answer}");
    results.load_curves[0].points.clear();
    conclude(&mut results);
    assert_eq!(results.answer.as_deref(), Some("No answer: onecopy could not be measured."));
}
