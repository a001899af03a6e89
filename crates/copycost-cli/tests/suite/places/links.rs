//! Interfaces that are down, shaped or changed between two runs.

use copycost_cli::stats::Judgement;
use std::path::Path;

use super::namespace::Namespace;
use crate::common::skip;
use crate::program::{results, results_in};

const CELL: [&str; 9] = ["run", "-p", "onecopy,twocopy", "-s", "64KiB", "--seconds", "0.1", "--setups", "2"];

#[test]
fn loopback_that_is_down_is_said_once_with_its_fix() {
    let Some(namespace) = Namespace::make() else { return };
    let cells = ["run", "-p", "onecopy,twocopy", "-s", "1KiB,64KiB", "-c", "1,2", "--seconds", "0.1"];
    let ended = namespace.run(&cells);
    let err = ended.err.clone();
    ended.refused(1, &["lo is down", "ip link set lo up"]);
    assert_eq!(err.lines().filter(|line| !line.trim().is_empty()).count(), 1, "{err}");
    let ended = namespace.run(&["doctor", "--format", "json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("lo is down.") && ended.out.contains("ip link set lo up"), "{ended:?}");
    namespace.ip(&["link", "set", "lo", "up"]);
    namespace.run(&CELL).good();
}

#[test]
fn a_discipline_that_shapes_is_a_flag_a_condition_and_a_finding() {
    let Some(namespace) = Namespace::with_loopback() else { return };
    let json = [&CELL[..], &["--format", "json"]].concat();
    let plain = results(&namespace.run(&json).good());
    let link = plain.conditions.link.as_ref().expect("loopback");
    assert_eq!((link.qdisc.as_str(), &link.shaping), ("noqueue", &None));
    assert!(!plain.conditions.flags.iter().any(|flag| flag.contains("tbf")), "{:?}", plain.conditions.flags);
    let tbf = ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1gbit", "burst", "1m", "latency", "10ms"];
    if !namespace.tc(&tbf) {
        return skip("this kernel has no tbf");
    }
    let shaped = results(&namespace.run(&json).good());
    let link = shaped.conditions.link.as_ref().expect("loopback");
    assert_eq!(link.qdisc, "tbf");
    assert_eq!(link.shaping.as_deref(), Some("tbf at most 125000000 B/s"));
    assert!(shaped.conditions.flags.iter().any(|flag| flag.contains("shapes the traffic")), "{shaped:?}");
    let ended = namespace.run(&["doctor", "--format", "json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("tc qdisc del dev lo root"), "{ended:?}");
}

#[test]
fn runs_whose_conditions_differ_are_neither_joined_nor_judged() {
    let Some(namespace) = Namespace::with_loopback() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (file("before.json"), file("after.json"));
    namespace.run(&[&CELL[..], &["-o", &before]].concat()).good();
    namespace.ip(&["link", "set", "lo", "mtu", "1500"]);

    // Nothing goes on in the file of another MTU.
    let again =
        ["run", "-p", "onecopy,twocopy", "-s", "1KiB", "--seconds", "0.1", "--setups", "2", "--resume", "-o"];
    let resumed = [&again[..], &[before.as_str()]].concat();
    namespace.run(&resumed).refused(2, &["--resume", "MTU: 65536 there, 1500 here"]);

    // What the MTU has changed is no regression.
    let baseline = ["--baseline", &before, "--fail-on-regression", "1%", "-o", &after];
    let ended = namespace.run(&[&CELL[..], &baseline].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.err.contains("MTU: 65536 there, 1500 here") && !ended.err.contains("regression: "),
        "{ended:?}"
    );
    let results = results_in(Path::new(&after)).unwrap();
    let against: Vec<_> = results.comparisons.iter().filter(|c| c.reference.contains('@')).collect();
    assert!(!against.is_empty() && against.iter().all(|c| c.word.is(Judgement::Undecided)), "{against:?}");

    // Two curves, and why.
    let report = namespace.run(&["report", &before, &after, "--format", "markdown"]).good();
    assert!(report.contains("not joined with") && report.contains("MTU: 65536 there, 1500 here"), "{report}");
    assert!(report.contains("before") && report.contains("after"), "{report}");

    // The same conditions go on as before.
    namespace.ip(&["link", "set", "lo", "mtu", "65536"]);
    namespace.run(&resumed).good();
    assert_eq!(results_in(Path::new(&before)).unwrap().records.len(), 4);
}
