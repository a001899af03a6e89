//! Two hosts that share a machine and no more than that: two network namespaces joined by a veth pair, with the
//! addresses of the original experiment, and a link that can fail.
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::child::{is_root, works};
use crate::common::{eventually, skip, spec, taking};
use crate::program::{
    LASTING, LASTING_SIZES, Program, lacking, length, named, received, results, results_in, sample, secret,
    sized,
};

const HOST: &str = "10.0.0.1";

/// Two namespaces, `host` with 10.0.0.1 and `guest` with 10.0.0.2; removed on drop, also by a panic.
struct Net {
    host: String,
    guest: String,
    /// The default congestion control that both were given.
    default_control: &'static str,
}

impl Net {
    /// `None`, with the reason printed, where namespaces cannot be had.
    fn make() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !is_root() || !works("ip", &["netns", "list"]) {
            skip("network namespaces need root and iproute2");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("copycost-{}-{number}-{end}", std::process::id());
        let mut net = Self { host: name("host"), guest: name("guest"), default_control: "" };
        for namespace in [&net.host, &net.guest] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        ip(&[
            "-n", &net.host, "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns",
            &net.guest,
        ]);
        for (namespace, address) in [(&net.host, "10.0.0.1/24"), (&net.guest, "10.0.0.2/24")] {
            ip(&["-n", namespace, "address", "add", address, "dev", "veth"]);
            ip(&["-n", namespace, "link", "set", "veth", "up"]);
        }
        // A pacing default, to see that it is not inherited; where there is none, one that we would not choose.
        let set = |control: &str| {
            let line = format!("echo {control} > /proc/sys/net/ipv4/tcp_congestion_control");
            [&net.host, &net.guest]
                .iter()
                .all(|namespace| works("ip", &["netns", "exec", namespace, "sh", "-c", &line]))
        };
        net.default_control =
            ["bbr", "reno"].into_iter().find(|control| set(control)).expect("reno is always there");
        eprintln!("note: the default congestion control of the namespaces is {}", net.default_control);
        Some(net)
    }

    fn serve(&self, arguments: &[&str]) -> Program {
        let wrapper = ["ip", "netns", "exec", &self.host];
        let (server, address) = Program::serve_in(&wrapper, &[&["--bind", HOST], arguments].concat());
        assert_eq!(address.to_string(), "10.0.0.1:9000");
        server
    }

    fn guest(&self, arguments: &[&str]) -> Program {
        Program::start_in(&["ip", "netns", "exec", &self.guest], arguments)
    }

    /// Takes the host's end of the link down or up: the guest's end has no carrier then, and loses what it sends.
    fn link(&self, state: &str) {
        ip(&["-n", &self.host, "link", "set", "veth", state]);
    }

    /// Up, until the host's server can be reached: a neighbour that was looked for without a carrier may be given up a moment later,
    /// and whoever connects then hears that there is no route.
    fn link_up_for_good(&self) {
        self.link("up");
        let connect = "exec 3<>/dev/tcp/10.0.0.1/9000";
        eventually("the host is reached", || {
            works("ip", &["netns", "exec", &self.guest, "timeout", "5", "bash", "-c", connect])
        });
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.guest] {
            // The other end of the link goes with either of them; what still runs there is killed by its own guard.
            let _ = Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status();
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

#[test]
fn every_path_is_measured_across_a_link() {
    let Some(net) = Net::make() else { return };
    let folder = tempfile::tempdir().unwrap();
    let token = secret(folder.path(), "token", b"0123456789abcdef", 0o600);
    let token = token.to_str().unwrap();
    let server = net.serve(&["--token-file", token]);
    let over = ["run", "--over", "10.0.0.1:9000", "--token-file", token, "--format", "json", "--verify"];
    let paths = sample(taking(&spec(1024, false)));
    let names = named(&paths);
    let cells = ["-p", &names, "-s", "1KiB,64KiB", "-c", "1,3"];
    let results = results(&net.guest(&[&over[..], &cells, &length("0.2")].concat()).finish().good());
    assert_eq!(
        (results.records.len(), results.failures.len()),
        (4 * paths.len(), 0),
        "{:?}",
        results.failures
    );
    let host = results.conditions.host.as_deref().expect("the host's conditions");
    for end in [&results.conditions, host] {
        assert!(["cubic", "reno"].contains(&end.congestion_control.as_str()), "{end:?}");
        assert!(net.default_control != "bbr" || end.congestion_control != net.default_control);
    }
    let mut by_reference = false;
    for record in &results.records {
        assert_eq!(record.transport, "remote");
        assert!(
            record.cpu.sender_ns_per_kib.is_some() && record.cpu.receiver_ns_per_kib.is_some(),
            "{record:?}"
        );
        assert!(record.wire.is_some() && record.messages > 0);
        // A veth delivers within the machine, so that the kernel copies after all, and says so.
        // A path that may choose sends nothing by reference where that does not pay.
        if let Some(ledger) = &record.ledger {
            let told = ledger.copied + ledger.doubtful > 0;
            assert!(ledger.completed == ledger.sends && told == (ledger.sends > 0), "{ledger:?}");
            by_reference |= told;
        }
    }
    assert!(by_reference, "no path sent by reference");
    // Without the token nothing is served, and the sentence says why.
    net.guest(&["run", "--over", "10.0.0.1:9000"]).finish().refused(1, &["10.0.0.1:9000", "--token-file"]);
    server.stop().good();
}

#[test]
fn raw_messages_cross_a_link_when_that_is_allowed() {
    let Some(net) = Net::make() else { return };
    let wrapper = ["ip", "netns", "exec", &net.host];
    for arguments in [&["serve", "--bind", HOST, "--raw", "onecopy"][..], &["serve", "--bind", HOST]] {
        Program::start_in(&wrapper, arguments).finish().refused(2, &["--insecure-open"]);
    }
    let server = net.serve(&["--raw", "zerocopy", "--insecure-open"]);
    let text = net.guest(&["client", "10.0.0.1:9000", "0.3"]).finish().good();
    let (bytes, seconds) = received(&text);
    assert!(bytes > 0 && seconds >= 0.3 && !text.contains("ended"), "{text}");
    let ended = server.stop();
    assert!(ended.err.contains("warning: --insecure-open"), "{ended:?}");
    assert!(ended.good().contains("served 1 clients"));
}

#[test]
fn a_link_that_fails_ends_a_cell_and_the_next_are_measured() {
    let Some(net) = Net::make() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    let stall = sized("2", "1");
    let mut server = net.serve(&["--insecure-open", "--stall", stall]);
    let base =
        ["run", "--over", "10.0.0.1:9000", "-p", "onecopy,zerocopy", "--seconds", "0.2", "--stall", stall];
    let cells = ["-s", "1KiB,4KiB,16KiB,64KiB", "-o", file.to_str().unwrap()];
    let guest = net.guest(&[&base[..], &cells].concat());
    eventually("the first cell is on disk", || results_in(&file).is_some());
    net.link("down");
    eventually("a cell has failed", || results_in(&file).is_some_and(|results| !results.failures.is_empty()));
    let early = results_in(&file).unwrap();
    net.link("up");
    let ended = guest.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = results_in(&file).unwrap();
    eprintln!("failures: {:?}", results.failures);
    assert_eq!(results.records.len() + results.failures.len(), 8);
    assert_eq!(results.records[..early.records.len()], early.records[..], "earlier records survive");
    assert!(results.records.iter().any(|record| record.size == 65536), "it went on: {:?}", results.failures);
    assert!(server.is_running());
    server.stop().good();
}

#[test]
fn a_short_failure_of_the_link_is_ridden_out() {
    let Some(net) = Net::make() else { return };
    let server = net.serve(&["--insecure-open"]);
    let idle = server.threads();
    let base = [
        "run",
        "--over",
        "10.0.0.1:9000",
        "-p",
        "zerocopy",
        "--seconds",
        "1.9",
        "--verify",
        "--format",
        "json",
    ];
    let guest = net.guest(&[&base[..], &["-s", "64KiB"]].concat());
    // A control connection with a thread that watches it, and a client.
    eventually("it is being served", || server.threads() >= idle + 3);
    net.link("down");
    // Longer than the first repetitions of what was lost, and far shorter than anybody's patience.
    thread::sleep(Duration::from_millis(700));
    net.link("up");
    let results = results(&guest.finish().good());
    assert_eq!((results.records.len(), results.failures.len()), (1, 0));
    server.stop().good();
}

#[test]
fn a_host_that_is_killed_without_a_word_is_found_out() {
    let Some(net) = Net::make() else { return };
    let server = net.serve(&["--insecure-open"]);
    let idle = server.threads();
    let base = ["run", "--over", "10.0.0.1:9000", "-p", "onecopy", "--seconds", "3600", "--format", "json"];
    let guest = net.guest(&[&base[..], &["-s", "64KiB", "--stall", sized("2", "1")]].concat());
    eventually("it is being served", || server.threads() >= idle + 3);
    net.link("down");
    drop(server);
    let ended = guest.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(results(&ended.out).failures.len(), 1);
    // Nobody there, and no answer either: one sentence after one timeout.
    let ended = net.guest(&["run", "--over", "10.0.0.1:9000", "--stall", "1"]).finish();
    ended.refused(1, &["10.0.0.1:9000 does not answer"]);
}

#[test]
fn a_guest_that_is_killed_without_a_word_gives_its_clients_back() {
    let Some(net) = Net::make() else { return };
    let mut server = net.serve(&["--insecure-open", "--max-clients", "2", "--stall", sized("2", "1")]);
    let idle = server.threads();
    let base = ["run", "--over", "10.0.0.1:9000", "-p", "zerocopy", "-c", "2"];
    let guest = net.guest(&[&base[..], &["-s", LASTING_SIZES], &LASTING].concat());
    eventually("it is being served", || server.threads() >= idle + 4);
    net.link("down");
    drop(guest);
    // By TCP_USER_TIMEOUT, as the host has news on their way; keep-alive alone would never be tried.
    eventually("the host has found out", || server.threads() <= idle);
    net.link_up_for_good();
    net.guest(&[&base[..], &["--seconds", "0.1", "-s", "64KiB", "--verify"]].concat()).finish().good();
    assert!(server.is_running());
    server.stop().good();
}

#[test]
fn loss_and_delay_slow_a_run_down_and_do_not_break_it() {
    let Some(net) = Net::make() else { return };
    let netem =
        ["-n", &net.host, "qdisc", "add", "dev", "veth", "root", "netem", "delay", "5ms", "loss", "1%"];
    if !works("tc", &netem) {
        return lacking("this kernel has no netem");
    }
    let server = net.serve(&["--insecure-open"]);
    let paths = sample(taking(&spec(65536, false)));
    let names = named(&paths);
    let base =
        ["run", "--over", "10.0.0.1:9000", "-p", &names, "-s", "64KiB", "--verify", "--format", "json"];
    let results = results(&net.guest(&[&base[..], &["--seconds", "0.5"]].concat()).finish().good());
    assert_eq!((results.records.len(), results.failures.len()), (paths.len(), 0));
    let again: u64 = results.records.iter().filter_map(|record| record.wire.as_ref()?.retransmits).sum();
    assert!(again > 0, "what was lost was sent again, and is told");
    server.stop().good();
}
