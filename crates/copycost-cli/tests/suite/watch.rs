//! `copycost watch` on real processes: one whose receive buffers are hit, one whose are not, one that is not there.

use std::thread;
use std::time::Duration;

use crate::common::child::{is_root, works};
use crate::common::skip;
use crate::program::{LASTING, Program};
use serde_json::Value;

/// A run of copycost over loopback that receives at this offset, and what is seen of it.
fn watched(offset: &str) -> Option<Value> {
    let cell = ["run", "-p", "onecopy,twocopy", "-s", "64KiB", "--receive-offset", offset];
    let run = Program::start(&[&cell[..], &LASTING].concat());
    thread::sleep(Duration::from_millis(500));
    let pid = run.pid().to_string();
    let seen = Program::run(&["watch", &pid, "--seconds", "1.5", "--format", "json"]);
    if seen.code == Some(1) && seen.err.contains("cannot be watched") {
        skip(&seen.err);
        return None;
    }
    Some(serde_json::from_str(&seen.good()).unwrap())
}

#[test]
fn a_receiver_that_is_hit_is_told_from_one_that_is_not() {
    let (Some(hit), Some(control)) = (watched("16"), watched("64")) else { return };
    let percent = |seen: &Value, name: &str| seen[name].as_f64();
    for seen in [&hit, &control] {
        assert!(seen["samples"].as_u64().unwrap() > 100 && seen["threads"].as_u64().unwrap() >= 3, "{seen}");
    }
    if !cfg!(target_arch = "x86_64") {
        assert_eq!(percent(&hit, "hazardous_percent"), None);
        return;
    }
    // What the sender copies begins anywhere in the kernel's pages: now and then it is hit too.
    let of_receiver = |seen: &Value| -> f64 {
        let places = seen["places"].as_array().unwrap();
        places
            .iter()
            .filter(|place| place["direction"] == "out of the kernel")
            .filter_map(|p| p["percent"].as_f64())
            .sum()
    };
    let [hits, misses] = [&hit, &control].map(of_receiver);
    assert!(percent(&hit, "hazardous_percent").unwrap() >= hits, "{hit}");
    assert!(percent(&control, "copying_percent").unwrap() > 1.0, "{control}");
    assert!(hits > 1.0 && misses < hits / 5.0, "{hits} % and {misses} %: {hit} {control}");
    let place = &hit["places"][0];
    assert_eq!((&place["direction"], &place["distance"]), (&"out of the kernel".into(), &16.into()), "{hit}");
    let frames = place["frames"].as_array().unwrap();
    assert!(frames.iter().any(|frame| frame.as_str().unwrap().starts_with("tcp_recvmsg")), "{hit}");
}

/// Processes that come and go, and one that ends while it is watched.
#[test]
fn children_are_watched_until_the_last_has_ended() {
    let burn = "for i in 1 2 3 4 5 6 7 8; do timeout 0.5 sh -c 'while :; do :; done'; done";
    let mut shell = std::process::Command::new("sh").args(["-c", burn]).spawn().unwrap();
    let seen = Program::run(&["watch", &shell.id().to_string(), "--seconds", "30"]);
    shell.wait().unwrap();
    if seen.code == Some(1) && seen.err.contains("cannot be watched") {
        return skip(&seen.err);
    }
    let text = seen.good();
    assert!(text.contains("The process ended while it was watched"), "{text}");
    assert!(text.contains("No hazardous copying") || text.contains("no registers"), "{text}");
}

#[test]
fn what_cannot_be_watched_is_one_sentence() {
    // Beyond the largest number that the kernel gives (/proc/sys/kernel/pid_max).
    Program::run(&["watch", "4194305"]).refused(2, &["there is no process 4194305"]);
    Program::run(&["watch", "0"]).refused(2, &["PID"]);
    Program::run(&["watch"]).refused(2, &["PID"]);
    if !is_root() || !works("setpriv", &["--version"]) {
        return skip("becoming another user needs root");
    }
    let wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let ended = Program::start_in(&wrapper, &["watch", "1"]).finish();
    ended.refused(1, &["process 1 cannot be watched", "perf_event_paranoid"]);
}
