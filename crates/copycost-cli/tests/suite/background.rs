//! Signals as nohup, shells and timeout send them.

use std::path::Path;

use crate::common::eventually;
use crate::program::{Program, results_in};

/// Cells of 0.1 s each, of which the first is done and most are still to come.
fn measuring(wrapper: &[&str], cells: usize, file: &Path) -> Program {
    let sizes: Vec<_> = (1..=cells).map(|kib| format!("{kib}KiB")).collect();
    let cells = ["run", "-p", "onecopy", "-s", &sizes.join(","), "--seconds", "0.1", "--setups", "2"];
    let program = Program::start_in(wrapper, &[&cells[..], &["-o", file.to_str().unwrap()]].concat());
    eventually("the first cell is on disk", || results_in(file).is_some());
    program
}

/// More cells than are measured before a signal comes.
const ENDLESS: usize = 100;

/// With a signal ignored, as nohup does it, or a shell for a job in the background.
fn ignoring(signal: &str) -> [String; 4] {
    ["sh".to_owned(), "-c".to_owned(), format!("trap '' {signal}; exec \"$@\""), "sh".to_owned()]
}

fn named(signal: &str, number: i32) -> (Program, tempfile::TempDir, i32) {
    let folder = tempfile::tempdir().unwrap();
    let program = measuring(&[], ENDLESS, &folder.path().join("r.json"));
    program.signal(signal);
    (program, folder, 128 + number)
}

#[test]
fn the_exit_code_of_an_interrupted_run_says_so() {
    for (signal, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        let (program, folder, code) = named(signal, number);
        let ended = program.finish();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.err.contains("note: interrupted") && ended.out.contains("1 KiB"), "{ended:?}");
        assert_eq!(results_in(&folder.path().join("r.json")).unwrap().records[0].size, 1024);
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for signal in ["HUP", "INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.json");
        let wrapper = ignoring(signal);
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let program = measuring(&wrapper, 6, &file);
        program.signal(signal);
        let ended = program.finish();
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert_eq!(results_in(&file).unwrap().records.len(), 6);
    }
}

/// timeout(1) signals the command and then its own process group, in which the command is too.
#[test]
fn timeout_lets_a_run_come_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    // Ended from outside, so that no machine is too slow for it: timeout passes the signal on just as its own.
    let wrapper = ["timeout", "--preserve-status", "3600"];
    let program = measuring(&wrapper, ENDLESS, &file);
    program.signal("TERM");
    let ended = program.finish();
    // That the two signals are one is a matter of microseconds, which no test can promise: see cli/signals.rs.
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert!(!results_in(&file).unwrap().records.is_empty());
}
