//! Loads that do not wait, from the command line: what is offered and what is shown, and what is refused.
//!
//! Other tests run at the same time, so a generator may be too late and a load too much: then the point must say so.

use std::fs;
use std::time::Duration;

use crate::common::eventually;
use crate::program::{Program, results, results_in, sample, sized};
use copycost::message::Spec;
use copycost::send::{self, Release, SendPath};
use copycost_cli::record::{LoadCurve, LoadPoint, LoadState, Results};

fn run(arguments: &[&str]) -> Program {
    run_for(sized("1.6", "0.3"), arguments)
}

fn run_for(seconds: &str, arguments: &[&str]) -> Program {
    let effort = ["--seconds", seconds, "--setups", sized("3", "2")];
    Program::start(&[&["run", "--format", "json"], &effort[..], arguments].concat())
}

/// Each point has received what was due, unless it says why not.
fn check(curve: &LoadCurve) {
    for point in &curve.points {
        let LoadPoint { state, reason, due, received, .. } = point;
        assert_eq!(state.is(LoadState::Carried), reason.is_none(), "{point:?}");
        assert!(*due > 0 && received <= due && point.setups > 0, "{point:?}");
        if state.is(LoadState::Carried) {
            assert_eq!(due, received, "{point:?}");
            // Random arrivals differ by some per cent.
            let ratio = point.achieved_per_second / point.offered_per_second;
            assert!((0.97..1.4).contains(&ratio), "{ratio}: {point:?}");
            assert!(point.max_ns.is_some() && point.latency.len() == 4, "{point:?}");
            for quantile in &point.latency {
                assert_ne!(quantile.ns.is_some(), quantile.missing.is_some(), "{quantile:?}");
            }
        } else {
            assert!(point.latency.is_empty() && point.max_ns.is_none(), "{point:?}");
        }
        let reports = send::by_name(&point.path).unwrap().release == Release::OnCompletion;
        assert_eq!(point.ledger.is_some(), reports, "{point:?}");
    }
}

fn curve(results: &Results) -> &LoadCurve {
    let [curve] = results.load_curves.as_slice() else { panic!("{:?}", results.load_curves.len()) };
    check(curve);
    curve
}

#[test]
fn paths_are_compared_at_shares_of_what_the_reference_carries() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let names = ["a.json", "a.csv", "a.html", "a.md", "a.txt"].map(file);
    let outputs: Vec<&str> = names.iter().flat_map(|name| ["-o", name.as_str()]).collect();
    let arguments = ["--load", "60%,20%,200%", "-s", "4KiB", "-p", "onecopy,zerocopy", "--verify"];
    let ended = run(&[&arguments[..], &outputs].concat()).finish();
    assert!(ended.err.contains("onecopy carries "), "{ended:?}");
    let found = results(&ended.good());
    assert_eq!((found.failures.len(), found.records.len()), (0, 0));
    let curve = curve(&found);
    let saturation = curve.saturation_per_second.unwrap();
    assert!(saturation > 1000.0, "{saturation}");
    let loads: Vec<_> = curve.of_path("onecopy").map(|point| point.load.unwrap()).collect();
    assert_eq!(loads, [0.2, 0.6, 2.0], "in ascending order");
    for point in &curve.points {
        let share = point.offered_per_second / saturation;
        assert!((share / point.load.unwrap() - 1.0).abs() < 1e-9, "{share}");
    }
    let at = |path, load| curve.of_path(path).find(|point| point.load == Some(load)).unwrap();
    for load in loads {
        let both = ["onecopy", "zerocopy"].map(|path| at(path, load));
        let carried = both.iter().all(|point| point.state.is(LoadState::Carried));
        // All paths of a set-up have the same arrivals.
        assert!(!carried || both[0].due == both[1].due, "{both:?}");
        let compared = curve.comparisons.iter().filter(|one| one.load == Some(load));
        assert_eq!(compared.filter(|one| one.path == "zerocopy").count() > 0, carried, "{both:?}");
    }
    let answer = found.answer.clone().unwrap();
    assert!(answer.starts_with("At ") || answer.starts_with("No answer: "), "{answer}");
    assert_eq!(results_in(names[0].as_ref()).unwrap(), found);
    for name in &names[1..] {
        let text = fs::read_to_string(name).unwrap();
        assert!(text.contains("p99.9") || text.contains("p999_ns"), "{name}: {text:.300}");
        assert!(text.contains("zerocopy"), "{name}: {text:.300}");
    }
    let again = Program::run(&["report", &names[0]]).good();
    assert!(again.contains(&answer) && again.contains("each is asked for"), "{again}");
}

#[test]
fn every_path_has_a_latency_at_a_rate() {
    // Those that can send this message here.
    let available = |path: &&SendPath| (path.probe)(&Spec::new(4096).unwrap()).is_ok();
    let paths = sample(send::ALL.iter().filter(available).collect());
    let names: Vec<_> = paths.iter().map(|path| path.name).collect();
    let names = names.join(",");
    for more in [&["-s", "4KiB", "-c", "3", "--arrivals", "fixed", "--verify"][..], &["--mix", "kv"]] {
        let found = results(
            &run_for(sized("0.6", "0.3"), &[&["--rate", "500", "-p", &names], more].concat()).finish().good(),
        );
        let curve = curve(&found);
        assert_eq!(curve.paths().join(","), names);
        assert_eq!((curve.saturation_per_second, curve.points.len()), (None, curve.paths().len()));
        for point in &curve.points {
            let clients = curve.clients as f64;
            assert_eq!((point.load, point.offered_per_second), (None, 500.0 * clients), "{point:?}");
        }
    }
}

#[test]
fn rates_from_one_a_second_to_a_million() {
    let found = results(&run_for("2", &["--rate", "1,1M", "-s", "64B", "-p", "onecopy"]).finish().good());
    let points: Vec<_> = found.load_curves[0].points.iter().collect();
    let [slow, fast] = points.as_slice() else { panic!("{points:?}") };
    assert_eq!((slow.offered_per_second, fast.offered_per_second), (1.0, 1e6));
    // None of a message a second may be due in two seconds.
    assert!(slow.due < 20 && slow.received == slow.due, "{slow:?}");
    assert!(slow.latency.iter().all(|quantile| quantile.ns.is_none()), "{slow:?}");
    assert!(fast.state.is(LoadState::Saturated) && fast.latency.is_empty(), "{fast:?}");
}

#[test]
fn an_interrupted_run_keeps_whole_set_ups() {
    // Set-ups of 20 s, and of a fifth of a second.
    for (seconds, keeps) in [("600", false), ("6", true)] {
        let arguments = ["--rate", "200", "-s", "1KiB", "-p", "onecopy,zerocopy"];
        let effort = ["--seconds", seconds, "--setups", "60"];
        let program = Program::start(&[&["run", "--format", "json"], &arguments[..], &effort].concat());
        eventually("signals are caught", || program.catches_signals());
        std::thread::sleep(Duration::from_secs(3));
        program.signal("INT");
        let ended = program.finish_within(Duration::from_secs(20));
        assert_eq!(ended.code, Some(130), "{ended:?}");
        if keeps {
            assert!(ended.err.contains("note: interrupted"), "{ended:?}");
            let setups = results(&ended.out).load_curves[0].points[0].setups;
            assert!((1..60).contains(&setups), "{setups}");
        } else {
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}

#[test]
fn another_host_is_asked_at_a_rate() {
    let (server, address) = Program::serve(&[]);
    let over = address.to_string();
    let found = run(&["--over", &over, "--load", "30%", "-s", "16KiB", "-p", "onecopy,zerocopy", "--verify"])
        .finish();
    let found = results(&found.good());
    let curve = curve(&found);
    assert_eq!(curve.points.len(), 2);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (arguments, says) in [
        (&["--load", "80 percent"][..], &["1% to 200%"][..]),
        (&["--load", "0%"], &["1% to 200%"]),
        (&["--rate", "0"], &["0.01 to 10M"]),
        (&["--rate", "fast"], &["messages a second"]),
        (&["--rate", "5", "--load", "50%"], &["--rate", "--load"]),
        (&["--arrivals", "fixed"], &["--load", "--rate"]),
        (&["--rate", "5", "--arrivals", "bursty"], &["poisson", "fixed"]),
        (&["--load", "--latency"], &["--latency"]),
        (&["--rate", "5", "--crossover", "zerocopy:onecopy"], &["--crossover"]),
        (&["--rate", "5", "--precision", "1%"], &["--precision"]),
    ] {
        run(arguments).finish().refused(2, says);
    }
    // One CPU is too few for a generator beside the ends.
    let alone = ["taskset", "-c", "0"];
    let ended =
        Program::start_in(&alone, &["run", "--load", "-s", "1KiB", "-p", "onecopy", "--format", "json"])
            .finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let failures = results(&ended.out).failures;
    assert!(failures[0].error.contains("an open loop needs a CPU for its generator"), "{failures:?}");
}
