//! Zero copy at the limits that the kernel sets: the memory lock of a user without CAP_IPC_LOCK, and the option
//! memory of a socket. Bounded, nothing is refused; unbounded, or with another process of the user holding the
//! lock, what is refused is copied; in every case the messages arrive intact.
//!
//! As root each case runs in a child with a user of its own (named by the process id) or a network namespace of
//! its own, which end with it. Anyone else can test only what a user namespace allows.

use std::io::{self, Read as _};

use crate::common::child::{Running, Wanted, is_root, role, this_test, works};
use crate::common::forgetful::turn_zero_copy_on;
use crate::common::slow::SLOW;
use crate::common::{all_pass, skip, spec, take_turn_with_locked_memory, verified};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::sys::limits;
use copycost::internals::sys::socket::Socket;
use copycost::message::{Buffers, Spec};
use copycost::recv;
use copycost::rig::{Rig, RigError, Work};
use copycost::scenario::Scenario;
use copycost::send::{self, Ledger, Release, SendPath, ZeroCopyLimits};
use socket2::SockRef;

/// Runs verified rounds of small and large messages; returns what the kernel told over all of them, and the
/// number of messages.
fn deliver(bounded: bool) -> (Ledger, u64) {
    let mut total = Ledger::default();
    let mut messages = 0;
    let fast = &recv::ALL[0];
    let mut cells =
        vec![(1024, 1, 200, fast), (1024, 3, 50, fast), (65536, 3, 20, fast), (1 << 20, 1, 6, fast)];
    if bounded {
        // It fills the sockets, so that many messages are in flight at the same time, and a bound is felt.
        cells.push((16384, 1, 300, &SLOW));
    }
    // Paths with an io_uring come last: the kernel gives the lock of a ring back some time after the ring is closed, and until
    // then what is within the bound of the next path is refused.
    let order = [false, true].into_iter().flat_map(|rings| cells.iter().map(move |cell| (rings, *cell)));
    for (rings, (size, clients, rounds, receive)) in order {
        for path in by_reference(&spec(size, true), rings) {
            // Enough in turn that the kernel's limits bite and not the ring.
            let spec = Spec { buffers: Buffers::Ring(rounds.min(32) as usize), ..spec(size, true) };
            let scenario = Scenario { bounded, receive, ..verified(path, spec, clients) };
            let mut rig = match Rig::build(&scenario) {
                // There is room for one io_uring, and not for one of each client.
                Err(RigError::Unsupported { path, reason }) => {
                    eprintln!("{path} is left out: {reason}");
                    continue;
                }
                rig => rig.unwrap(),
            };
            let sample = rig.run(Work::Rounds(rounds)).unwrap();
            assert!(sample.throughput() > 0.0, "{sample:?}");
            assert_eq!(sample.messages, rounds * clients as u64);
            assert_eq!(sample.ledger.completed, sample.ledger.sends, "{sample:?}");
            eprintln!("{size} x {clients}: {:?}", sample.ledger);
            messages += sample.messages;
            total.add(&sample.ledger);
        }
    }
    (total, messages)
}

/// The paths that go by reference and can be had within the limits: an io_uring too is charged to the memory lock, and
/// where there is no room for it, its paths say so. Those with a ring, or those without.
fn by_reference(spec: &Spec, rings: bool) -> impl Iterator<Item = &'static SendPath> {
    let there = |path: &&SendPath| match (path.probe)(spec) {
        Ok(()) => path.release == Release::OnCompletion,
        Err(why) => {
            eprintln!("{} is left out: {why}", path.name);
            false
        }
    };
    send::ALL.iter().filter(move |path| path.name.starts_with("uring") == rings).filter(there)
}

/// What a child does whatever its limits. Where they are `narrow`, the sender must feel them: what the kernel refuses, and what is
/// beyond a bound, is copied, and it is not asked again until something is released or a moment has passed.
fn deliver_within_bounds(narrow: bool) {
    let (ledger, messages) = deliver(true);
    assert!(ledger.enobufs <= ledger.completed + ledger.fallbacks, "asked again and again: {ledger:?}");
    assert!(ledger.sends > 0, "something goes by reference within any bound: {ledger:?}");
    let felt = ledger.waits + ledger.enobufs + ledger.fallbacks > 0 || ledger.sends > messages;
    assert!(felt || !narrow, "neither waits nor copies nor shorter calls: {ledger:?}");
}

/// What a child does that is refused; what is refused with nothing in flight is copied.
fn deliver_refused(bounded: bool) -> Ledger {
    let (ledger, _) = deliver(bounded);
    assert!(ledger.enobufs > 0, "{ledger:?}");
    ledger
}

/// A user whom nobody else on the machine is likely to be: the lock is counted by user.
fn user(number: u32) -> u32 {
    1_000_000 + std::process::id() % 1_000_000 * 8 + number
}

/// A child of this binary that runs `test` as `role` with so much memory lock.
fn locked(test: &str, role: &str, bytes: usize) -> Wanted {
    Wanted::new(test, role, &["prlimit", &format!("--memlock={bytes}:{bytes}")])
}

fn can_change_user() -> bool {
    let can = is_root() && works("prlimit", &["--version"]);
    if !can {
        skip("the memory lock is tested as root and with prlimit (util-linux)");
    }
    can
}

#[test]
fn a_small_memory_lock() {
    let test = this_test!();
    if let Some(bytes) = role(test) {
        let locked_pages = Some(bytes.parse::<u64>().unwrap() >> 12);
        assert!(!limits::can_lock_memory());
        assert_eq!(ZeroCopyLimits::of_process().locked_pages, locked_pages);
        // Of 8 MiB a call of 1 MiB takes less than half, and no socket holds more.
        return deliver_within_bounds(bytes != (8 << 20).to_string());
    }
    if can_change_user() {
        let child =
            |(number, bytes): (u32, usize)| locked(test, &bytes.to_string(), bytes).of_user(user(number));
        all_pass((0..).zip([64 << 10, 1 << 20, 8 << 20]).map(child).collect());
    }
}

#[test]
fn no_memory_lock_at_all() {
    let test = this_test!();
    match role(test).as_deref() {
        Some("bounded") => {
            let (ledger, messages) = deliver(true);
            assert_eq!(ledger.sends, 0, "nothing fits: {ledger:?}");
            assert!(
                ledger.fallbacks > 0 && ledger.enobufs < messages / 4,
                "asked again and again: {ledger:?}"
            );
        }
        Some(_) => assert!(deliver_refused(false).fallbacks > 0),
        None if can_change_user() => {
            locked(test, "bounded", 0).of_user(user(3)).run();
            locked(test, "unbounded", 4096).of_user(user(3)).run();
        }
        None => {}
    }
}

#[test]
fn another_process_of_the_user_fills_the_lock() {
    let test = this_test!();
    match role(test).as_deref() {
        Some("fill") => hog(&[65536, 4096, 1]),
        // Less than a call of 64 KiB is left, so that small ones are refused now and then.
        Some("fill most") => hog(&[65536]),
        Some(bounded) => assert!(deliver_refused(bounded == "bounded").fallbacks > 0),
        None if can_change_user() => {
            for fill in ["fill", "fill most"] {
                let start = || -> Running {
                    let mut hog = locked(test, fill, 1 << 20).of_user(user(4)).start();
                    hog.await_word("full\n");
                    hog
                };
                let _hog = start();
                for victim in ["bounded", "unbounded"] {
                    locked(test, victim, 1 << 20).of_user(user(4)).run();
                }
            }
        }
        None => {}
    }
}

/// Sends by reference to peers that never read until the lock is full, says so, and holds it until its standard
/// input ends.
fn hog(sizes: &[usize]) {
    let options = ConnectionOptions {
        send_buffer: 4 << 20,
        receive_buffer: 4096,
        ..ConnectionOptions::for_this_machine()
    };
    let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let bytes = vec![7; sizes[0]];
    let mut held: Vec<(Socket, Socket)> = Vec::new();
    for size in sizes {
        loop {
            let sent = held.last().map(|(_, server)| {
                let flags = libc::MSG_ZEROCOPY | libc::MSG_DONTWAIT;
                SockRef::from(&server).send_with_flags(&bytes[..*size], flags)
            });
            match sent {
                Some(Ok(_)) => {}
                Some(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => break,
                Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
                // None yet, or this one takes no more.
                _ => {
                    let client = connection::connect(listener.local_addr().unwrap(), &options).unwrap();
                    let (server, _) = listener.accept().unwrap();
                    turn_zero_copy_on(&server);
                    held.push((client, server));
                }
            }
        }
    }
    println!("full");
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn a_tiny_option_memory() {
    let test = this_test!();
    match role(test).as_deref() {
        Some("bounded") => return deliver_within_bounds(true),
        Some("retried") => return drop(deliver_refused(false)),
        Some(copied) => return assert!(deliver_refused(copied == "copied although bounded").fallbacks > 0),
        None => {}
    }
    if !is_root() || !works("unshare", &["-n", "ip", "link", "set", "lo", "up"]) {
        return skip("optmem_max is tested as root, with unshare (util-linux) and ip (iproute2)");
    }
    let namespace = |bytes: usize| {
        format!("ip link set lo up && echo {bytes} >/proc/sys/net/core/optmem_max && exec \"$@\"")
    };
    // One notification is charged 832 bytes on Linux 6.18 and the first alone 576; the bound reckons with 1,024.
    let cases = [
        (1000, "bounded"),
        (2048, "bounded"),
        (8192, "bounded"),
        (1000, "retried"),
        (64, "copied"),
        (64, "copied although bounded"),
    ];
    let child =
        |(bytes, role)| Wanted::new(test, role, &["unshare", "-n", "sh", "-c", &namespace(bytes), "sh"]);
    all_pass(cases.map(child).into());
}

#[test]
fn capabilities_of_a_user_namespace_do_not_lift_the_lock() {
    let test = this_test!();
    if role(test).is_some() {
        assert_eq!(ZeroCopyLimits::of_process().locked_pages, Some(16));
        return deliver_within_bounds(true);
    }
    let mut wanted =
        Wanted::new(test, "root within", &["prlimit", "--memlock=65536:65536", "unshare", "-Ur"]);
    let mut can = works("prlimit", &["--version"]) && works("unshare", &["-Ur", "true"]);
    if is_root() {
        // What other processes of root lock must not count: a user of its own, as in the other tests.
        let user = user(5);
        wanted = wanted.of_user(user);
        can &= works("setpriv", &[&format!("--reuid={user}"), "--clear-groups", "unshare", "-Ur", "true"]);
    }
    if !can {
        return skip(
            "this machine lets nobody make user namespaces, or has no prlimit or setpriv (util-linux)",
        );
    }
    take_turn_with_locked_memory();
    wanted.run();
}
