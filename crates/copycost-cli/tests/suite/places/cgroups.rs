//! Control groups of version 1 that the test makes below its own. Version 2 is tested with trees of files, beside the
//! code that reads them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use copycost_cli::record::THROTTLED;

use crate::common::child::is_root;
use crate::common::skip;
use crate::program::{Program, results};

/// A group, removed on drop.
struct Group(PathBuf);

impl Group {
    /// `None`, with the reason printed, where groups cannot be made.
    fn make(controller: &str, settings: &[(&str, &str)]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let own = copycost::internals::cgroup::directories(
            controller,
            &read("/proc/self/cgroup"),
            &read("/proc/self/mountinfo"),
        );
        let file = settings[0].0;
        let own = own.into_iter().find(|group| PathBuf::from(group).join("tasks").exists());
        let Some(own) = own.filter(|_| is_root()) else {
            skip(&format!("a {controller} group needs root and version 1 of control groups"));
            return None;
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let group = Self(PathBuf::from(own).join(format!("copycost-place-{}-{number}", std::process::id())));
        if let Err(error) = fs::create_dir(&group.0) {
            skip(&format!("a {controller} group cannot be made: {error}"));
            return None;
        }
        for (file, text) in settings {
            fs::write(group.0.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        assert!(group.0.join(file).exists());
        Some(group)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The start of a command line that runs in the group.
    fn wrapper(&self) -> Vec<String> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.path());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    fn start(&self, arguments: &[&str]) -> Program {
        let wrapper = self.wrapper();
        Program::start_in(&wrapper.iter().map(String::as_str).collect::<Vec<_>>(), arguments)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Busy until the last process in it is gone.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

const COLD: [&str; 10] =
    ["-p", "onecopy", "-s", "64KiB", "-c", "4", "--footprint", "cold", "--seconds", "0.1"];

#[test]
fn what_a_memory_group_does_not_have_is_refused_and_not_killed() {
    let Some(group) = Group::make("memory", &[("memory.limit_in_bytes", "200M")]) else { return };
    let ended = group.start(&[&["run"], &COLD[..]].concat()).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // Before anything is measured, and with what would fit.
    assert_eq!(ended.out, "", "{ended:?}");
    for part in ["the control group", group.path(), "of which each path may have half", "--footprint cold"] {
        assert!(ended.err.contains(part), "{part} in {ended:?}");
    }
    // What fits is measured.
    group.start(&["run", "-p", "onecopy", "-s", "64KiB", "-c", "1", "--seconds", "0.1"]).finish().good();
    let found = group.start(&["doctor", "--format", "json"]).finish().out;
    assert!(found.contains("memory-limit") && found.contains("allows 200 MiB"), "{found}");
}

#[test]
fn a_request_beyond_the_hosts_memory_group_leaves_the_host_alive() {
    let Some(group) = Group::make("memory", &[("memory.limit_in_bytes", "200M")]) else { return };
    let wrapper = group.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let (mut server, address) = Program::serve_in(&wrapper, &["--port", "0"]);
    let over = address.to_string();
    let over = ["run", "--over", &over];
    // 250 MiB in all, of which each client's part is within what the host has for one.
    let ring = ["-p", "onecopy", "-s", "64KiB", "-c", "4", "--buffers", "ring:1000", "--seconds", "0.1"];
    let ended = Program::run(&[&over[..], &ring].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("refuses") && told.contains("bytes of messages"), "{ended:?}");
    assert!(server.is_running());
    let fits = ["-p", "onecopy", "-s", "64KiB", "-c", "1", "--seconds", "0.1"];
    Program::run(&[&over[..], &fits].concat()).good();
    server.stop().good();
}

#[test]
fn a_record_says_how_often_a_cpu_quota_stopped_it() {
    let settings = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")];
    let Some(group) = Group::make("cpu", &settings) else { return };
    let cell = ["-p", "onecopy", "-s", "64KiB", "-c", "1", "--seconds", "1", "--format", "json"];
    let results = results(&group.start(&[&["run"], &cell[..]].concat()).finish().good());
    let record = &results.records[0];
    let throttled = record.throttled.expect("a group with a quota");
    assert!(throttled.stopped > 0 && throttled.stopped <= throttled.periods, "{throttled:?}");
    assert!(record.flags.iter().any(|flag| flag.starts_with(THROTTLED)), "{:?}", record.flags);
    // A group that may use half a CPU distorts, whether or not it is being stopped at this moment.
    let ended = group.start(&["doctor", "--format", "json"]).finish();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("allows 0.50 CPUs"), "{ended:?}");
}

#[test]
fn without_a_quota_a_record_says_nothing_of_it() {
    let cell = ["run", "-p", "onecopy", "-s", "64KiB", "-c", "1", "--seconds", "0.1", "--format", "json"];
    let results = results(&Program::run(&cell).good());
    assert!(results.records[0].flags.iter().all(|flag| !flag.starts_with(THROTTLED)));
}
