//! Four hosts that share a machine and no more than that: network namespaces joined by a bridge, each with a host name of
//! its own, which mpirun enters by a script where it would use ssh.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::common::child::{is_root, works, write_executable};
use crate::common::skip;
use crate::job::{copycost, start_in, sums_are_the_hosts_own};
use crate::{BRIEF, OVER, has_mpirun};
use copycost::send;

const HOSTS: usize = 4;

/// Namespaces `…-1` to `…-4` with 10.99.0.1 to .4 on a bridge in a fifth; removed on drop, also by a panic.
struct Net {
    prefix: String,
    folder: tempfile::TempDir,
}

impl Net {
    /// `None`, with the reason printed, where namespaces cannot be had.
    fn make() -> Option<Self> {
        if !is_root() || !works("ip", &["netns", "list"]) || !works("unshare", &["--uts", "true"]) {
            skip("network namespaces need root, iproute2 and util-linux");
            return None;
        }
        let net =
            Self { prefix: format!("ccmpi{}", std::process::id()), folder: tempfile::tempdir().unwrap() };
        let switch = net.name(0);
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "bridge", "up"]);
        for host in 1..=HOSTS {
            let (name, port) = (net.name(host), format!("port{host}"));
            ip(&["netns", "add", &name]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "veth", "netns", &name,
            ]);
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"]);
            ip(&["-n", &name, "address", "add", &format!("10.99.0.{host}/24"), "dev", "veth"]);
            ip(&["-n", &name, "link", "set", "veth", "up"]);
        }
        Some(net)
    }

    fn name(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// What mpirun starts its daemon with on a host, in place of ssh: HOST COMMAND. mpirun itself is on the first.
    fn agent(&self) -> PathBuf {
        let path = self.folder.path().join("enter");
        let text = format!(
            "#!/bin/sh\nhost=$1\nshift\nexec ip netns exec \"{prefix}-${{host#node}}\" unshare --uts sh -c \
             'hostname \"$0\"; exec sh -c \"$*\"' \"$host\" \"$@\"\n",
            prefix = self.prefix
        );
        write_executable(&path, text.as_bytes());
        path
    }

    fn hosts(&self) -> PathBuf {
        let path = self.folder.path().join("hosts");
        let text: String = (1..=HOSTS).map(|host| format!("node{host} slots=1\n")).collect();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in 0..=HOSTS {
            let _ =
                Command::new("ip").args(["netns", "del", &self.name(host)]).stderr(Stdio::null()).status();
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

#[test]
fn every_path_is_measured_across_a_bridge() {
    if !has_mpirun() {
        return;
    }
    let Some(net) = Net::make() else { return };
    let (agent, hosts, program) = (net.agent(), net.hosts(), copycost());
    let launch = [
        "--hostfile",
        hosts.to_str().unwrap(),
        "--map-by",
        "node",
        "-n",
        "4",
        "--mca",
        "plm_rsh_agent",
        agent.to_str().unwrap(),
        "--mca",
        "plm_rsh_no_tree_spawn",
        "1",
        "--mca",
        "oob_tcp_if_include",
        "veth",
        "--mca",
        "btl_tcp_if_include",
        "veth",
        "--mca",
        "btl",
        "tcp,self",
    ];
    let flags = ["--network", "10.99.0.0/24", "-p", "all", "-s", "1KiB,64KiB", "-c", "2", "--verify"];
    let ended = start_in(
        &[agent.to_str().unwrap(), "node1", "exec", "mpirun"],
        &[&launch[..], &[&program], &OVER, &flags, &BRIEF].concat(),
    )
    .finish();
    let results = ended.good();
    let spec = copycost::message::Spec::new(1024).unwrap();
    let paths = send::ALL.iter().filter(|path| (path.probe)(&spec).is_ok()).count();
    assert_eq!((results.records.len(), results.failures.len()), (2 * paths, 0), "{:?}", results.failures);
    sums_are_the_hosts_own(&results, &ended);
    let names: Vec<_> = results.conditions.ranks.iter().map(|rank| rank.host.as_str()).collect();
    assert_eq!(names, ["node1", "node2", "node3", "node4"]);
    for record in &results.records {
        let hosts = record.hosts.as_ref().unwrap();
        assert_eq!(
            hosts.each.iter().map(|host| host.host.as_str()).collect::<Vec<_>>(),
            ["node2", "node3", "node4"]
        );
        assert!(record.wire.is_some() && record.messages > 0);
    }
}
