//! Labs come and go, by every way to go, and nothing is left of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use copycost::send::USUAL;
use copycost_cli::lab::Lab;

use super::{names_of, of_host, possible};
use crate::common::child::{Wanted, role};
use crate::common::eventually;
use crate::program::{LASTING, Program, length, results, sized};

const RUN: [&str; 5] = ["run", "--over", "lab", "-s", "64KiB"];

/// A long run that is measuring.
fn measuring() -> Program {
    let program = Program::start(&[&RUN[..], &LASTING].concat());
    eventually("the lab stands", || names_of(program.pid()).len() == 3);
    // Of each path a server and a client, beside the relay, the signals and itself.
    eventually("it measures", || program.threads() >= 3 + 2 * USUAL.len());
    program
}

#[test]
fn a_killed_lab_is_swept_away_by_the_next_start() {
    if !possible() {
        return;
    }
    let before = of_host();
    let program = measuring();
    let pid = program.pid();
    drop(program);
    assert_eq!(names_of(pid).len(), 3, "a kill leaves names");
    // One that lives is left alone.
    let living = measuring();
    assert!(names_of(pid).is_empty(), "the next start sweeps");
    Program::run(&["lab", "--", "true"]).good();
    assert_eq!(names_of(living.pid()).len(), 3, "and takes no living lab away");
    let living_pid = living.pid();
    living.signal("INT");
    let ended = living.finish();
    assert!(matches!(ended.code, Some(130)), "{ended:?}");
    assert!(names_of(living_pid).is_empty(), "Ctrl-C leaves nothing");
    eventually("no link and no node is new", || of_host().is_subset(&before));
}

#[test]
fn a_second_signal_ends_at_once_and_leaves_nothing_either() {
    if !possible() {
        return;
    }
    let program = measuring();
    let pid = program.pid();
    program.signal("INT");
    // Signals closer than half a second are one.
    thread::sleep(Duration::from_secs(2));
    program.signal("INT");
    program.finish();
    assert!(names_of(pid).is_empty());
}

#[test]
fn two_labs_at_once_do_not_meet() {
    if !possible() {
        return;
    }
    let json = ["--verify", "--format", "json"];
    let start = || Program::start(&[&RUN[..], &length("0.3"), &json].concat());
    let both = [start(), start()];
    for program in both {
        let told = results(&program.finish().good());
        assert_eq!((told.records.len(), told.failures.len()), (USUAL.len(), 0), "{:?}", told.failures);
    }
    let (one, two) = (Lab::start().unwrap(), Lab::start().unwrap());
    assert_ne!(one.network().server.name, two.network().server.name);
    assert!(names_of(std::process::id()).len() >= 6);
}

#[test]
fn a_failure_and_a_panic_remove_the_network() {
    if !possible() {
        return;
    }
    // A reference that takes no part is found out after the lab was asked for.
    let program = Program::start(&["run", "--over", "lab", "-p", "onecopy", "--reference", "twocopy"]);
    let pid = program.pid();
    program.finish().refused(2, &["--reference"]);
    assert!(names_of(pid).is_empty());
    let mut names = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::start().unwrap();
        names = lab.network().ends().map(|end| end.name.clone()).to_vec();
        panic!("on purpose");
    }));
    assert!(panicked.is_err() && names.len() == 3);
    let there = names_of(std::process::id());
    assert!(names.iter().all(|name| !there.contains(name)), "{there:?}");
}

/// In a process of its own, whose open files are those of the labs alone.
#[test]
fn labs_come_and_go_and_leave_nothing() {
    const THIS: &str = "lab::standing::labs_come_and_go_and_leave_nothing";
    if role(THIS).is_none() {
        if possible() {
            Wanted::new(THIS, "alone", &[]).run();
        }
        return;
    }
    let program = Program::start(&["lab", "--", "sleep", "60"]);
    drop(program);
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    drop(Lab::start().unwrap());
    let (before, files_before) = (of_host(), files());
    let mut names = Vec::new();
    for _ in 0..sized(100, 10) {
        let lab = Lab::start().unwrap();
        names.extend(lab.network().ends().map(|end| end.name.clone()));
    }
    let there = names_of(std::process::id());
    assert!(names.iter().all(|name| !there.contains(name)), "{there:?}");
    assert_eq!(files(), files_before, "open files");
    eventually("no link and no node is new", || of_host().is_subset(&before));
}

#[test]
fn a_lab_is_kept_up_for_a_command_and_ends_with_it() {
    if !possible() {
        return;
    }
    let told = Program::run(&["lab", "--", "ip", "-brief", "address", "show", "eth0"]).good();
    assert!(told.contains("10.0.0.2") && told.contains("ip netns exec copycost-"), "{told}");
    let reach = "ip netns exec $COPYCOST_LAB_SERVER ip -brief address show eth0";
    assert!(Program::run(&["lab", "--", "sh", "-c", reach]).good().contains("10.0.0.1"));
    let ended = Program::run(&["lab", "--", "false"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let program = Program::start(&["lab"]);
    let pid = program.pid();
    eventually("the lab stands", || names_of(pid).len() == 3 && program.catches_signals());
    program.signal("INT");
    program.finish().good();
    assert!(names_of(pid).is_empty());
}
