//! Delivery before speed: whatever the path, the size, the layout or the placement, the message arrives
//! complete, in order and intact. Every byte is compared, by the library's verifier and here by hand.

use std::io;
use std::net::Ipv6Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Host, LONG, at_once, available, eventually, fitting, full, one_or_all, paths, representatives, spec,
    verified, window_with_bytes, within,
};
use copycost::internals::connection;
use copycost::internals::pool::MessagePool;
use copycost::internals::sys::sched;
use copycost::internals::sys::socket::WakeReason;
use copycost::message::{Buffers, Fields, Footprint, Layout, Spec, content};
use copycost::rig::{Rig, Sample, Work};
use copycost::scenario::{ConnectionOptions, Placement, Scenario};
use copycost::send::{Budget, Copies, Release, SendPath, SenderConfig, Socket, drain};

const SIZES: [usize; 5] = [8, 1024, 4097, 65536, 1 << 20];

/// Enough messages to fill the socket buffers of small ones and to come round in a ring.
fn rounds(size: usize) -> u64 {
    (2 << 20 >> size.ilog2()).clamp(6, 200)
}

/// The paths that take messages of `size`; in the fast set those of a megabyte, which take long to fill and to compare,
/// are sent by a path of each way of release.
fn of_size(size: usize, turn: usize) -> Vec<&'static SendPath> {
    let paths = available(&spec(size, true));
    if size < 1 << 20 { paths } else { representatives(paths, turn) }
}

/// Runs verified rounds and checks that the counts add up.
fn deliver(scenario: &Scenario, rounds: u64) -> Sample {
    let scenario = scenario.clone();
    within(&scenario.id(), move || {
        let of = || format!("{} {:?}", scenario.spec, scenario);
        let mut rig = Rig::build(&scenario).unwrap_or_else(|error| panic!("{error}: {}", of()));
        let sample = rig.run(Work::Rounds(rounds)).unwrap_or_else(|error| panic!("{error}: {}", of()));
        assert_eq!(sample.messages, rounds * scenario.clients as u64, "{}", of());
        let most = rounds * scenario.round_bytes();
        assert!((rounds * scenario.spec.size as u64..=most).contains(&sample.bytes), "{}: {sample:?}", of());
        let ledger = &sample.ledger;
        assert_eq!(ledger.completed, ledger.sends, "{}: {ledger:?}", of());
        assert_eq!((ledger.undrained, ledger.aborted), (0, 0), "{}", of());
        sample
    })
}

#[test]
fn every_path_size_number_of_clients_and_placement() {
    for (s, size) in SIZES.into_iter().enumerate() {
        for (p, path) in of_size(size, 0).into_iter().enumerate() {
            for clients in one_or_all(&[1, 3], s + p) {
                let constant = !full() && (s + p) % 4 == 3;
                for placement in one_or_all(Placement::ALL, s + p) {
                    let scenario = verified(path, spec(size, !constant), clients);
                    deliver(&Scenario { placement, ..scenario }, rounds(size));
                }
                if full() {
                    deliver(&verified(path, spec(size, false), clients), rounds(size));
                }
            }
        }
    }
}

#[test]
fn every_byte_compared_by_hand() {
    for (s, size) in SIZES.into_iter().enumerate() {
        for (p, path) in of_size(size, 1).into_iter().enumerate() {
            for ring in one_or_all(&[false, true], s + p) {
                let what = format!("{} of {size} bytes", path.name);
                within(&what, move || {
                    let host = Host::start(path, spec(size, ring), 3, |_| {});
                    let mut guests = [0, 1, 2].map(|client| host.guest(client));
                    for guest in &guests {
                        guest.ask(rounds(size) - 1, false);
                        guest.ask(1, true);
                    }
                    for guest in &mut guests {
                        guest.read_messages(rounds(size) as usize);
                        guest.socket.options().set_tcp_quickack(true).unwrap();
                    }
                    for _ in &guests {
                        assert_eq!(host.report().messages, rounds(size));
                    }
                });
            }
        }
    }
}

#[test]
fn every_layout_division_and_footprint() {
    for (l, layout) in Layout::ALL.iter().enumerate() {
        for (p, path) in paths().into_iter().enumerate() {
            for fields in one_or_all(Fields::ALL, l + p) {
                for size in one_or_all(&[8, 4097, 70_001], l + p / Fields::ALL.len()) {
                    let spec = Spec { layout: *layout, fields, ..spec(size, true) };
                    if (path.probe)(&spec).is_ok() {
                        deliver(&verified(path, spec, 1), 24);
                    }
                }
            }
        }
    }
    for (p, path) in representatives(available(&spec(65536, true)), 2).into_iter().enumerate() {
        for buffers in one_or_all(&[Buffers::Constant, Buffers::Ring(3)], p) {
            let spec = Spec { footprint: Footprint::L2, buffers, ..spec(65536, true) };
            deliver(&verified(path, spec, 2), 64);
        }
    }
}

#[test]
fn a_ring_of_one_waits_for_every_message() {
    let spec = Spec { buffers: Buffers::Ring(1), ..spec(4097, true) };
    for path in available(&spec) {
        deliver(&verified(path, spec, 1), 12);
    }
}

#[test]
fn every_kind_of_work_on_one_rig() {
    // Large messages: a ring of few small ones is released by a delayed acknowledgement, 40 ms later, and a
    // window of 30 ms may see nothing.
    const SIZE: usize = 65536;
    for path in available(&spec(SIZE, true)) {
        within(path.name, move || {
            let mut rig = Rig::build(&verified(path, spec(SIZE, true), 3)).unwrap();
            for _ in 0..2 {
                let window = window_with_bytes(&mut rig);
                assert!(window.messages * SIZE as u64 >= window.bytes, "{window:?}");
                let single = rig.run(Work::Single(5)).unwrap();
                assert_eq!((single.messages, single.latency.len()), (15, 15));
                assert_eq!(rig.run(Work::Rounds(7)).unwrap().messages, 21);
                for nothing in [Work::Rounds(0), Work::Single(0)] {
                    let sample = rig.run(nothing).unwrap();
                    assert_eq!((sample.messages, sample.bytes), (0, 0), "{nothing:?}");
                }
            }
        });
    }
}

#[test]
fn through_a_send_buffer_far_smaller_than_the_message() {
    // With Nagle on or a larger window every buffer full of bytes waits 40 ms for an acknowledgement.
    let options = ConnectionOptions {
        send_buffer: 4096,
        receive_buffer: 16384,
        nodelay: true,
        ..ConnectionOptions::for_this_machine()
    };
    for (p, path) in available(&spec(1 << 20, true)).into_iter().enumerate() {
        for fields in one_or_all(&[Fields::Even, Fields::Single], p) {
            let spec = Spec { fields, ..spec(1 << 20, true) };
            deliver(&Scenario { options, ..verified(path, spec, 1) }, 3);
        }
    }
}

/// The client and the server of a connection whose buffers hold less than a MiB together, and how long each waits.
fn narrow_pair(server_stall: Duration, client_stall: Duration) -> [Socket; 2] {
    let (send_buffer, receive_buffer) = (64 << 10, 64 << 10);
    let options = ConnectionOptions {
        stall_timeout: server_stall,
        send_buffer,
        receive_buffer,
        ..ConnectionOptions::for_this_machine()
    };
    let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let client = ConnectionOptions { stall_timeout: client_stall, ..options };
    let client = connection::connect(listener.local_addr().unwrap(), &client).unwrap();
    let (server, _) = listener.accept().unwrap();
    connection::set_timeouts(&server, &options).unwrap();
    [client, server]
}

#[test]
fn short_counts_where_the_send_timeout_ends_a_call() {
    // The second call must not end likewise before this machine, however busy, has begun to read.
    const STALL: Duration = Duration::from_secs(2);
    const SIZE: usize = 1 << 20;
    let paths = available(&spec(SIZE, false));
    // All at the same time: what has to be waited for is the timeout.
    at_once(paths, SIZE, |path| {
        let [client, socket] = narrow_pair(STALL, STALL);
        let spec = fitting(path, spec(SIZE, false));
        let (calls, pool) = (socket.calls(), MessagePool::new(&spec, false).unwrap());
        let sending = thread::Builder::new().spawn(move || {
            let mut sender =
                (path.open)(socket, pool.messages(), SenderConfig::within(Budget::unbounded())).unwrap();
            sender.send(&pool.messages()[0]).unwrap();
            drain(&mut *sender, Instant::now() + LONG).unwrap();
            sender.ledger()
        });
        // Nobody reads, so the first call that waits returns what it could queue, in the middle of a field. A call is counted
        // when it begins: the one after it continues there. Calls that do not wait come before it (of vmsplice(), of
        // fields that fit), and sendfile() and splice() return after twice the time (splice_to_socket, fs/splice.c).
        eventually(path.name, || client.readable_by(Instant::now()).unwrap() == WakeReason::Ready);
        thread::sleep(STALL / 4);
        match calls.get() {
            // Counted when the message is sent.
            0 => thread::sleep(STALL),
            before => eventually(path.name, || calls.get() > before),
        }
        let mut received = vec![0; SIZE];
        assert!(client.recv_exact(&mut received, Instant::now() + LONG).unwrap(), "{}", path.name);
        client.options().set_tcp_quickack(true).unwrap();
        let mut expected = vec![0; SIZE];
        content(0, 0, &mut expected);
        assert!(received == expected, "{}", path.name);
        let ledger = sending.unwrap().join().unwrap();
        assert_eq!(ledger.completed, ledger.sends, "{}", path.name);
    });
}

#[test]
fn nothing_is_sent_behind_what_failed() {
    const STALL: Duration = Duration::from_millis(500);
    const SIZE: usize = 1 << 20;
    let paths = available(&spec(SIZE, false));
    at_once(paths, SIZE, |path| {
        let [client, socket] = narrow_pair(STALL, LONG);
        let spec = fitting(path, spec(SIZE, false));
        let sending = thread::Builder::new().spawn(move || {
            let pool = MessagePool::new(&spec, false).unwrap();
            let mut sender =
                (path.open)(socket, pool.messages(), SenderConfig::within(Budget::unbounded())).unwrap();
            sender.send(&pool.messages()[0]).and_then(|()| sender.flush())
        });
        // One call returns a short count and the next one an error, each after the timeout. Whoever goes on with another
        // field after that finds room now. Where the machine is late, all arrives or less, and both are right.
        thread::sleep(3 * STALL);
        let (mut received, mut buffer) = (Vec::new(), vec![0; SIZE]);
        loop {
            match client.recv(&mut buffer) {
                Ok(0) => break,
                Ok(n) => received.extend_from_slice(&buffer[..n]),
                // Of a sender that does not let a part look like the whole.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        let mut expected = vec![0; SIZE];
        content(0, 0, &mut expected);
        assert!(expected.starts_with(&received), "{}: {} bytes", path.name, received.len());
        let sent = sending.unwrap().join().unwrap();
        assert_eq!(sent.is_ok(), received.len() == SIZE, "{}: {sent:?}", path.name);
    });
}

#[test]
fn calls_cut_to_the_budget_continue_in_the_middle_of_a_field() {
    for pages in 0..9 {
        let budget = Budget { bytes: 32 << 10, notifications: 3, pages: Some(pages) };
        for (p, path) in available(&spec(70_001, true)).into_iter().enumerate() {
            for fields in one_or_all(Fields::ALL, pages as usize + p) {
                let spec = Spec { fields, ..spec(70_001, true) };
                within(path.name, move || {
                    let host = Host::start(path, spec, 1, |service| service.sender_config.budget = budget);
                    let mut guest = host.guest(0);
                    guest.ask(6, true);
                    guest.read_messages(6);
                    guest.socket.options().set_tcp_quickack(true).unwrap();
                    let ledger = host.report().ledger;
                    assert_eq!((ledger.completed, ledger.enobufs), (ledger.sends, 0), "{ledger:?}");
                    // Nothing by reference: all was copied, and is called so.
                    if path.release == Release::OnCompletion && ledger.sends == 0 {
                        assert_eq!(ledger.copies(), Copies::Copied, "{}: {ledger:?}", path.name);
                    }
                });
            }
        }
    }
}

#[test]
fn one_cpu_alone() {
    within("one CPU", || {
        let cpus = sched::allowed_cpus().unwrap();
        sched::pin(&cpus[cpus.len() - 1..]).unwrap();
        for (p, path) in available(&spec(4097, true)).into_iter().enumerate() {
            for placement in one_or_all(Placement::ALL, p) {
                let scenario = Scenario { placement, ..verified(path, spec(4097, true), 3) };
                let mut rig = Rig::build(&scenario).unwrap();
                assert_eq!(rig.run(Work::Rounds(50)).unwrap().messages, 150);
            }
        }
    });
}

#[test]
fn over_ipv6_and_by_an_ipv4_address_of_an_ipv6_listener() {
    for path in available(&spec(65536, true)) {
        for mapped in [false, true] {
            within(path.name, move || {
                let host =
                    Host::start_at((Ipv6Addr::UNSPECIFIED, 0).into(), path, spec(65536, true), 1, |_| {});
                let port = host.server.address().port();
                let address =
                    if mapped { ([127, 0, 0, 1], port).into() } else { (Ipv6Addr::LOCALHOST, port).into() };
                let mut guest = host.stranger_at(address);
                guest.hello(0, host.ticket);
                host.await_ready(0);
                guest.ask(40, true);
                guest.read_messages(40);
                guest.socket.options().set_tcp_quickack(true).unwrap();
                let ledger = host.report().ledger;
                assert_eq!(ledger.completed, ledger.sends);
            });
        }
    }
}
