//! Many hosts under a real mpirun: on one machine, and across network namespaces that are hosts to each other.

#[path = "../../../../tests/common/mod.rs"]
mod common;
mod job;
mod namespaces;
#[path = "../common/program.rs"]
mod program;

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::common::child::{works, write_executable};
use crate::common::skip;
use crate::program::{Program, results_in};
use copycost::send;
use job::{copycost, start, start_alone, sums_are_the_hosts_own};

/// False, with the reason printed, where there is no mpirun.
fn has_mpirun() -> bool {
    let there = works("mpirun", &["--version"]);
    if !there {
        skip("no mpirun (openmpi-bin)");
    }
    there
}

const OVER: [&str; 5] = ["run", "--over", "mpi", "--format", "json"];

/// Two set-ups in each cell: nothing here asks for a ratio.
const BRIEF: [&str; 4] = ["--seconds", "0.3", "--setups", "2"];

#[test]
fn every_path_is_measured_and_the_sums_are_the_hosts_own() {
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    let flags = ["-p", "all", "-s", "1KiB,64KiB", "-c", "2", "--verify", "--latency"];
    let ended = start(&[&["-n", "4", &program][..], &OVER, &flags, &BRIEF].concat()).finish();
    let results = ended.good();
    let paths = send::ALL.iter().filter(|path| {
        let spec = copycost::message::Spec::new(1024).unwrap();
        (path.probe)(&spec).is_ok()
    });
    assert_eq!(
        (results.records.len(), results.failures.len()),
        (2 * paths.count(), 0),
        "{:?}",
        results.failures
    );
    sums_are_the_hosts_own(&results, &ended);
    for record in &results.records {
        assert_eq!((record.transport.as_str(), record.client_hosts), ("mpi", 3));
        assert!(
            record.cpu.sender_ns_per_kib.is_some() && record.cpu.process_ns_per_kib.is_some(),
            "{record:?}"
        );
        assert!(!record.limiter.is_empty());
        let latency = record.latency_ns.unwrap();
        let hosts = &record.hosts.as_ref().unwrap().each;
        let each: Vec<_> = hosts.iter().map(|host| host.latency_ns.unwrap()).collect();
        assert_eq!(latency.messages, each.iter().map(|latency| latency.messages).sum::<u64>());
        assert_eq!(
            latency.max,
            each.iter().map(|latency| latency.max).max().unwrap(),
            "merged, not averaged"
        );
        if let Some(ledger) = &record.ledger {
            assert!(ledger.sends + ledger.plain > 0 && ledger.completed == ledger.sends, "{ledger:?}");
        }
    }
    assert!(!results.comparisons.is_empty() && results.comparisons.iter().all(|c| c.client_hosts == 3));
    let ranks = &results.conditions.ranks;
    assert_eq!(ranks.iter().map(|rank| rank.rank).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(ranks.iter().all(|rank| rank.conditions.kernel == results.conditions.kernel));
    assert!(results.conditions.flags.iter().any(|flag| flag.contains("run on one machine")));
}

#[test]
fn numbers_of_hosts_and_clients_are_cells_of_one_run() {
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scale.json");
    let file = file.to_str().unwrap();
    let flags = ["-p", "onecopy,zerocopy", "-s", "16KiB", "-c", "1,8", "--client-hosts", "1,7"];
    let rest = ["--verify", "-o", file];
    let ended = start(&[&["-n", "8", &program][..], &OVER, &flags, &rest, &BRIEF].concat()).finish();
    let results = ended.good();
    sums_are_the_hosts_own(&results, &ended);
    let cell =
        |record: &copycost_cli::record::Record| (record.path.clone(), record.clients, record.client_hosts);
    let mut cells: Vec<_> = results.records.iter().map(cell).collect();
    cells.sort();
    let all = ["onecopy", "zerocopy"].map(|path| {
        [(1, 1), (1, 7), (8, 1), (8, 7)].map(|(clients, hosts)| (path.to_owned(), clients, hosts))
    });
    assert_eq!(cells, all.concat());
    assert_eq!(results.failures, []);
    let page = folder.path().join("scale.html");
    Program::run(&["report", file, "-o", page.to_str().unwrap()]).good();
    let page = fs::read_to_string(page).unwrap();
    let section = page.split("id=\"hosts\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(section.matches("<svg").count(), 4, "throughput and demand for 1 and 8 clients");
}

#[test]
fn two_servers_share_the_hosts() {
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    let flags = ["-p", "onecopy", "-s", "64KiB", "--servers", "2", "--seconds", "0.2", "--verify"];
    let ended = start(&[&["-n", "5", &program][..], &OVER, &flags].concat()).finish();
    let results = ended.good();
    sums_are_the_hosts_own(&results, &ended);
    let roles: Vec<_> = results.conditions.ranks.iter().map(|rank| rank.role.as_str()).collect();
    assert_eq!(roles, ["server", "server", "client host", "client host", "client host"]);
    let record = &results.records[0];
    assert_eq!(record.client_hosts, 3);
    // Both servers' processes; the machine of one is not the whole system.
    assert!(record.cpu.process_ns_per_kib.is_some() && record.cpu.system_ns_per_kib.is_none());
}

#[test]
fn without_a_launcher_or_others_a_sentence_shows_the_command_line() {
    let says = ["mpirun -n 4", "copycost run --over mpi"];
    Program::run(&["run", "--over", "mpi"]).refused(2, &says);
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    for flags in [&[][..], &["--servers", "2"]] {
        let ranks = if flags.is_empty() { "1" } else { "2" };
        let ended = start(&[&["-n", ranks, &program][..], &OVER, flags].concat()).finish();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        says.iter().for_each(|part| assert!(ended.err.contains(part), "{ended:?}"));
        assert_eq!(ended.err.matches("error: --over mpi").count(), 1, "once for all ranks: {ended:?}");
    }
    let wrong = |flags: &[&str], says: &str| {
        let ended = start(&[&["-n", "2", &program][..], &OVER, flags].concat()).finish();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(says), "{ended:?}");
    };
    wrong(&["--client-hosts", "2"], "this job has 1 client hosts");
    wrong(&["--token-file", "x"], "--over mpi makes its own token");
    let ended =
        start(&[&["-n", "2", &program][..], &OVER, &["--network", "203.0.113.0/24"]].concat()).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("no address in 203.0.113.0/24"), "{ended:?}");
}

/// A cell at a time for a long time, with the first on disk soon. A rank that has to wait for a CPU is silent for a second
/// now and then, and must not be taken for one that hangs.
const LONG_RUN: [&str; 10] =
    ["-p", "onecopy", "-s", "1KiB,4KiB,16KiB,64KiB", "-c", "2", "--seconds", "2", "--stall", "5"];

#[test]
fn a_host_that_hangs_is_named_within_a_timeout_and_finished_cells_are_kept() {
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    let output = ["-o", file.to_str().unwrap()];
    let mut job = start_alone(&[&["-n", "4", &program][..], &OVER, &LONG_RUN, &output].concat());
    job.measures_into(&file);
    signal("STOP", job.pid_of(2));
    let ended = job.finish();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("error: client host ") && ended.err.contains("(rank 2) sent nothing for"),
        "{ended:?}"
    );
    assert!(!ended.err.contains("(rank 1) sent nothing"), "{ended:?}");
    assert!(ended.took < Duration::from_secs(120), "{:?}", ended.took);
    let kept = results_in(&file).unwrap();
    assert!(!kept.records.is_empty() && kept.records.len() < 4, "{}", kept.records.len());
}

#[test]
fn a_host_that_is_killed_ends_the_run_and_finished_cells_are_kept() {
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    // As mpirun is, and where it leaves the others alone: then rank 0 finds out by itself.
    for recovery in [&[][..], &["--enable-recovery"]] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.json");
        let output = ["-o", file.to_str().unwrap()];
        let mut job = start_alone(&[recovery, &["-n", "4", &program], &OVER, &LONG_RUN, &output].concat());
        job.measures_into(&file);
        signal("KILL", job.pid_of(2));
        let ended = job.finish();
        assert!(ended.took < Duration::from_secs(120), "{:?}", ended.took);
        if recovery.is_empty() {
            assert_ne!(ended.code, Some(0), "{ended:?}");
        }
        // mpirun's own sentence, or ours.
        let named = ended.err.contains("rank 2 with PID") || ended.err.contains("(rank 2) sent nothing for");
        assert!(named, "{ended:?}");
        let kept = results_in(&file).unwrap();
        assert!(!kept.records.is_empty() && kept.records.len() < 4, "{}", kept.records.len());
    }
}

#[test]
fn other_builds_take_part_and_are_told() {
    if !has_mpirun() {
        return;
    }
    // Another build with the same words: this one, with another commit in it. Both have as many letters.
    let Some(commit) = copycost_cli::record::Conditions::here().commit else {
        return skip("this build knows no commit to be changed");
    };
    let folder = tempfile::tempdir().unwrap();
    let (program, other) = (copycost(), folder.path().join("copycost"));
    let mut bytes = fs::read(&program).unwrap();
    let changed = commit.replacen(&commit[..4], "beef", 1);
    assert_ne!(changed, commit);
    let places: Vec<_> = bytes
        .windows(commit.len())
        .enumerate()
        .filter(|(_, at)| *at == commit.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the commit is in the program");
    for at in places {
        bytes[at..at + changed.len()].copy_from_slice(changed.as_bytes());
    }
    write_executable(&other, &bytes);
    let flags = ["-p", "onecopy", "-s", "4KiB", "--seconds", "0.1"];
    let ours = [&["-n", "2", &program][..], &OVER, &flags].concat();
    let theirs = [&[":", "-n", "1", other.to_str().unwrap()][..], &OVER, &flags].concat();
    let ended = start(&[ours, theirs].concat()).finish();
    let results = ended.good();
    let told = |text: &String| {
        text.contains("differ in their version") && text.contains(&changed) && text.contains("(rank 2)")
    };
    assert!(results.conditions.flags.iter().any(told), "{:?}", results.conditions.flags);
    assert!(ended.err.contains("differ in their version"), "{ended:?}");
    assert_eq!(results.conditions.ranks[2].conditions.commit.as_deref(), Some(changed.as_str()));
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_load_that_does_not_wait_comes_from_every_client_host() {
    if !has_mpirun() {
        return;
    }
    let program = copycost();
    let flags =
        ["--rate", "200,400", "-s", "4KiB", "-c", "2", "-p", "onecopy,zerocopy", "--client-hosts", "1,2"];
    let results = start(&[&["-n", "3", &program][..], &OVER, &flags, &BRIEF].concat()).finish().good();
    assert_eq!(results.failures, []);
    let hosts: Vec<_> = results.load_curves.iter().map(|curve| curve.client_hosts).collect();
    assert_eq!(hosts, [1, 2]);
    for curve in &results.load_curves {
        assert_eq!(curve.points.len(), 4);
        for (point, rate) in curve.points.iter().zip([200.0, 200.0, 400.0, 400.0]) {
            // Of each client of each host.
            assert_eq!(point.offered_per_second, rate * (2 * curve.client_hosts) as f64, "{point:?}");
            assert!(point.due > 0 && point.received <= point.due, "{point:?}");
        }
    }
}
