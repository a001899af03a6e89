//! Memory that an ordinary user may lock, and the option memory of a socket.

use std::io::Read as _;
use std::thread;

use zerosend::{Blocking, Cursor, Limits};

use crate::common::child::{Wanted, is_root, role, this_test, works};
use crate::common::{LONG, always_within, content, pair, reader, skip};

/// No bound but the kernel's own.
const UNBOUNDED: Limits = Limits { bytes: usize::MAX, calls: usize::MAX };

/// Large and small payloads to a reader: everything arrives, whatever the kernel refuses. Returns how often it did.
fn deliver() -> u64 {
    let mut refused = 0;
    for (size, count) in [(1 << 20, 20), (64 << 10, 200), (1000, 2000)] {
        let (server, client) = pair();
        let received = reader(client);
        let mut sender = Blocking::new(always_within(server, UNBOUNDED));
        sender.set_timeout(Some(LONG)).unwrap();
        for index in 0..count {
            sender.send(content(1, index * size, size)).unwrap();
        }
        sender.drain().unwrap();
        let stats = sender.stats();
        assert_eq!(stats.released, stats.calls_by_reference);
        assert_eq!(stats.bytes_by_reference + stats.bytes_copied, (size * count) as u64);
        refused += stats.enobufs;
        drop(sender);
        assert!(received.join().unwrap().unwrap() == content(1, 0, size * count));
    }
    refused
}

#[test]
fn a_user_who_may_lock_little_memory_loses_nothing() {
    let test = this_test!();
    if role(test).is_some() {
        println!("refused {} times", deliver());
        return;
    }
    if !is_root() || !works("prlimit", &["--version"]) {
        return skip("a user with a memory lock of 64 KiB needs root and prlimit");
    }
    let user = 1_000_000 + std::process::id();
    for lock in ["--memlock=0:0", "--memlock=8192:8192", "--memlock=65536:65536"] {
        let printed = Wanted::new(test, "small lock", &["prlimit", lock]).of_user(user).run();
        assert!(!printed.contains("refused 0 times"), "{lock}: {printed}");
    }
}

#[test]
fn a_lock_that_another_process_fills_is_found_out_and_asked_for_again() {
    let test = this_test!();
    match role(test).as_deref() {
        // Holds all that the user may lock, in sends that nobody reads, until its standard input ends.
        Some("holder") => {
            let (server, _client) = pair();
            let mut sender = always_within(server, UNBOUNDED);
            while sender.stats().enobufs == 0 {
                let mut cursor = Cursor::new(vec![1; 3000]);
                sender.try_send(&mut cursor).unwrap();
            }
            println!("HOLDS");
            let _ = std::io::stdin().read(&mut [0]);
            return;
        }
        Some("sender") => return println!("refused {} times", deliver()),
        Some(_) => unreachable!(),
        None => {}
    }
    if !is_root() || !works("prlimit", &["--version"]) {
        return skip("a user with a memory lock of 64 KiB needs root and prlimit");
    }
    let user = 2_000_000 + std::process::id();
    let wrapper = ["prlimit", "--memlock=65536:65536"];
    let mut holder = Wanted::new(test, "holder", &wrapper).of_user(user).start();
    holder.await_word("HOLDS");
    let printed = Wanted::new(test, "sender", &wrapper).of_user(user).run();
    assert!(!printed.contains("refused 0 times"), "{printed}");
    drop(holder);
}

#[test]
fn unread_reports_that_fill_the_option_memory_are_read_and_nothing_waits() {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = always_within(server, UNBOUNDED);
    let mut expected = 0;
    for index in 0..3000 {
        let mut cursor = Cursor::new(content(2, index * 100, 100));
        while !cursor.is_done() {
            if sender.try_send(&mut cursor).is_err() {
                thread::yield_now();
            }
        }
        expected += 100;
    }
    drop(sender);
    assert!(received.join().unwrap().unwrap() == content(2, 0, expected));
}
