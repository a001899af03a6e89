//! Connections and rigs that come and go leave neither files nor threads behind. One test alone in its process,
//! so that what is counted is its own.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{Host, available, impatient, receivers, spec, verified, within};
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send;

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
    let until = Instant::now() + Duration::from_secs(10);
    while held().0 > before.0 || held().1 > before.1 {
        assert!(Instant::now() < until, "{what}: (files, threads) {:?}, before {before:?}", held());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn two_hundred_times_come_and_gone() {
    for path in available(&spec(4096, true)) {
        within(path.name, || {
            let before = held();
            connect_and_drop(path);
            assert_back_to(before, path.name);
        });
        within(path.name, || {
            let before = held();
            for cycle in 0..70 {
                let scenario = Scenario { verify: false, ..verified(path, spec(4096, true), 2) };
                let mut rig = Rig::build(&scenario).unwrap_or_else(|error| panic!("{}: {error}", path.name));
                if cycle % 3 == 0 {
                    rig.run(Work::Rounds(2)).unwrap();
                }
            }
            assert_back_to(before, path.name);
            crate::common::eventually("nothing is pinned any more", || pinned() == 0);
        });
    }
    within("receivers", || {
        let before = held();
        for (receive, _) in receivers() {
            for cycle in 0..30 {
                // By MSG_ZEROCOPY, of which most can be mapped over loopback, and by a copy, of which nothing can.
                let path = &send::ALL[cycle % send::ALL.len()];
                let Ok(spec) = path.nearest(&spec(65536, true)) else { continue };
                let mut rig = Rig::build(&Scenario { receive, ..Scenario::new(path, spec, 2) }).unwrap();
                rig.run(Work::Rounds(20)).unwrap();
                assert_eq!(
                    mapped_of_sockets().1,
                    0,
                    "{}: nothing stays mapped between two runs",
                    receive.name
                );
            }
            assert_back_to(before, receive.name);
            assert_eq!(mapped_of_sockets(), (0, 0), "{}", receive.name);
        }
    });
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

/// One server, 200 clients after each other, each of which goes at another moment.
fn connect_and_drop(path: &'static copycost::send::SendPath) {
    let options = impatient(Duration::from_millis(500));
    let host = Host::start(path, spec(65536, true), 200, |service| {
        service.options = options;
        service.drain_timeout = Duration::from_millis(200);
    });
    let during = held();
    for client in 0..200 {
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
