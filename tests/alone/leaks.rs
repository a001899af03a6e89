//! Connections and rigs that come and go leave neither files nor threads behind. What is left behind is counted
//! exactly, so that the fast set needs few of them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::child::{alone, this_test};
use crate::common::{Host, LONG, available, eventually, full, impatient, receivers, spec, verified, within};
use copycost::recv::ReceivePath;
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send::SendPath;

/// Open files and threads of this process.
fn held() -> (usize, usize) {
    let count = |of| fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    (count("fd"), count("task"))
}

/// Memory that is pinned for registered buffers, in KiB.
fn pinned() -> u64 {
    crate::common::status_kib("self", "VmPin")
}

/// Waits until there are no more than before: a joined thread is listed for a moment longer.
fn assert_back_to(before: (usize, usize), what: &str) {
    let until = Instant::now() + LONG;
    while held().0 > before.0 || held().1 > before.1 {
        assert!(Instant::now() < until, "{what}: (files, threads) {:?}, before {before:?}", held());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_that_come_and_go() {
    alone(this_test!(), || {
        for path in available(&spec(4096, true)) {
            within(path.name, || {
                let before = held();
                connect_and_drop(path);
                assert_back_to(before, path.name);
            });
        }
    });
}

#[test]
fn rigs_that_come_and_go() {
    let cycles = if full() { 70 } else { 6 };
    alone(this_test!(), || {
        for path in available(&spec(4096, true)) {
            within(path.name, move || {
                let before = held();
                for cycle in 0..cycles {
                    let scenario = Scenario { verify: false, ..verified(path, spec(4096, true), 2) };
                    let mut rig =
                        Rig::build(&scenario).unwrap_or_else(|error| panic!("{}: {error}", path.name));
                    if cycle % 3 == 0 {
                        rig.run(Work::Rounds(2)).unwrap();
                    }
                }
                assert_back_to(before, path.name);
                eventually("nothing is pinned any more", || pinned() == 0);
            });
        }
    });
}

#[test]
fn receivers_that_come_and_go() {
    // By MSG_ZEROCOPY, of which most can be mapped over loopback, and by a copy, of which nothing can.
    alone(this_test!(), || {
        let paths = available(&spec(65536, true));
        let cycles = if full() { 30 } else { paths.len() };
        within("receivers", move || {
            for (turn, (receive, _)) in receivers().into_iter().enumerate() {
                let before = held();
                for cycle in 0..cycles {
                    // In the fast set each receiver takes from every other path, and its neighbour from the others.
                    if full() || (turn + cycle) % 2 == 0 {
                        let path = paths[cycle % paths.len()];
                        let spec = path.nearest(&spec(65536, true)).unwrap();
                        come_and_go(receive, Scenario { receive, ..Scenario::new(path, spec, 2) });
                    }
                }
                assert_back_to(before, receive.name);
                assert_eq!(mapped_of_sockets(), (0, 0), "{}", receive.name);
            }
        });
    });
}

fn come_and_go(receive: &ReceivePath, scenario: Scenario) {
    let mut rig = Rig::build(&scenario).unwrap();
    rig.run(Work::Rounds(20)).unwrap();
    assert_eq!(mapped_of_sockets().1, 0, "{}: nothing stays mapped between two runs", receive.name);
}

/// Mappings of sockets in this process, and the KiB of them that are there now.
fn mapped_of_sockets() -> (usize, u64) {
    let (mut count, mut resident, mut inside) = (0, 0, false);
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            let kib: u64 = rest.trim().trim_end_matches("kB").trim().parse().unwrap();
            resident += if inside { kib } else { 0 };
        } else if line.split_once(' ').is_some_and(|(range, _)| range.contains('-')) {
            inside = line.contains("socket:[");
            count += usize::from(inside);
        }
    }
    (count, resident)
}

/// One server, many clients after each other, each of which goes at another moment.
fn connect_and_drop(path: &'static SendPath) {
    let clients = if full() { 200 } else { 15 };
    let options = impatient(Duration::from_millis(500));
    let host = Host::start(path, spec(65536, true), clients, |service| {
        service.options = options;
        service.drain_timeout = Duration::from_millis(200);
    });
    let during = held();
    for client in 0..clients as u32 {
        match client % 5 {
            0 => drop(host.stranger()),
            1 => drop(host.guest(client)),
            2 => {
                let mut guest = host.guest(client);
                guest.ask(3, true);
                guest.read_messages(3);
                host.report();
            }
            3 => {
                let guest = host.guest(client);
                guest.ask(100, true);
                guest.reset();
                host.failure(client as usize);
            }
            _ => {
                let mut guest = host.guest(client);
                guest.ask(100, true);
                guest.read_bytes(100_000);
                drop(guest);
                host.failure(client as usize);
            }
        }
    }
    // Not only when the server goes: it may live long.
    assert_back_to((during.0, during.1), path.name);
}
