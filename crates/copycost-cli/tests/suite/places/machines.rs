//! Two network namespaces of one machine: one machine, whatever the addresses say.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use copycost::internals::sys::sched::allowed_cpus;

use super::namespace::pair;
use crate::common::{eventually, skip};
use crate::program::{Program, results};

const OVER: [&str; 3] = ["run", "--over", "10.0.0.1:9000"];

fn host(namespace: &super::namespace::Namespace) -> Program {
    let (server, _) = Program::serve_in(&namespace.wrapper(), &["--bind", "10.0.0.1", "--insecure-open"]);
    server
}

#[test]
fn a_server_in_a_namespace_of_this_machine_is_recorded_as_such() {
    let Some((there, here)) = pair("10.0.0.1/24", "10.0.0.2/24") else { return };
    let server = host(&there);
    let cell = ["-p", "onecopy", "-s", "64KiB", "--seconds", "0.3", "--format", "json"];
    let results = results(&here.run(&[&OVER[..], &cell].concat()).good());
    let conditions = results.conditions.host.as_deref().expect("the host's conditions");
    assert!(conditions.same_machine, "{conditions:?}");
    let link = conditions.link.as_ref().expect("the host's interface");
    assert_eq!((link.interface.as_str(), link.mtu, link.ip_version), ("veth", 1500, 4));
    assert_eq!(results.conditions.link.as_ref().map(|link| link.interface.as_str()), Some("veth"));
    assert_ne!(results.records[0].limiter, "network", "both ends share a CPU, which is the limit");
    server.stop().good();
}

#[test]
fn both_ends_of_one_machine_are_placed_as_one_plan() {
    if allowed_cpus().unwrap().len() < 2 {
        return skip("halves need two CPUs");
    }
    let Some((there, here)) = pair("10.0.0.1/24", "10.0.0.2/24") else { return };
    let server = host(&there);
    let cell = ["-p", "onecopy", "-s", "64KiB", "--placement", "split", "--seconds", "20"];
    let guest = here.start(&[&OVER[..], &cell].concat());
    let both = || {
        let ends = [(server.pid(), "serve-"), (guest.pid(), "client-")].map(|(pid, name)| cpus(pid, name));
        ends.iter().all(|cpus| !cpus.is_empty()).then_some(ends)
    };
    eventually("both ends are placed", || both().is_some());
    // A thread is placed a moment after it has its name.
    thread::sleep(Duration::from_millis(200));
    eventually("each end has half of the CPUs", || {
        both().is_some_and(|[servers, clients]| servers.is_disjoint(&clients))
    });
    drop(guest);
    server.stop().good();
}

/// The lists of CPUs of a process' threads whose names begin so.
fn cpus(pid: u32, name: &str) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| {
        let named = fs::read_to_string(task.path().join("comm")).ok()?.starts_with(name);
        let status = fs::read_to_string(task.path().join("status")).ok().filter(|_| named)?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .map(|list| list.trim().to_owned())
    };
    tasks.filter_map(of).collect()
}
