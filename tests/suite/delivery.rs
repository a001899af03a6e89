//! Delivery before speed: whatever the path, the size, the layout or the placement, the message arrives
//! complete, in order and intact. Every byte is compared, by the library's verifier and here by hand.

use std::net::Ipv6Addr;
use std::thread;
use std::time::Duration;

use crate::common::{Host, available, spec, taking, verified, within};
use copycost::internals::sys::sched;
use copycost::message::{Buffers, Fields, Footprint, Layout, Spec};
use copycost::rig::{Rig, Sample, Work};
use copycost::scenario::Options;
use copycost::scenario::Placement;
use copycost::scenario::Scenario;
use copycost::send::{Budget, Release};

const SIZES: [usize; 5] = [8, 1024, 4097, 65536, 1 << 20];

/// Enough messages to fill the socket buffers of small ones and to come round in a ring.
fn rounds(size: usize) -> u64 {
    (2 << 20 >> size.ilog2()).clamp(6, 200)
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
    for size in SIZES {
        for path in available(&spec(size, true)) {
            for clients in [1, 3] {
                for placement in Placement::ALL {
                    let scenario = verified(path, spec(size, true), clients);
                    deliver(&Scenario { placement: *placement, ..scenario }, rounds(size));
                }
                deliver(&verified(path, spec(size, false), clients), rounds(size));
            }
        }
    }
}

#[test]
fn every_byte_compared_by_hand() {
    for size in SIZES {
        for ring in [false, true] {
            for path in available(&spec(size, ring)) {
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
    for size in [8, 4097, 70_001] {
        for layout in Layout::ALL {
            for fields in Fields::ALL {
                let spec = Spec { layout: *layout, fields: *fields, ..spec(size, true) };
                for path in taking(&spec) {
                    deliver(&verified(path, spec, 1), 24);
                }
            }
        }
    }
    for buffers in [Buffers::Constant, Buffers::Ring(3)] {
        let spec = Spec { footprint: Footprint::L2, buffers, ..spec(65536, true) };
        for path in available(&spec) {
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
                let window = rig.run(Work::Window(Duration::from_millis(30))).unwrap();
                assert!(window.bytes > 0 && window.messages * SIZE as u64 >= window.bytes, "{window:?}");
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
    let options =
        Options { send_buffer: 4096, receive_buffer: 16384, nodelay: true, ..Options::for_this_machine() };
    for fields in [Fields::Even, Fields::Single] {
        let spec = Spec { fields, ..spec(1 << 20, true) };
        for path in available(&spec) {
            deliver(&Scenario { options, ..verified(path, spec, 1) }, 3);
        }
    }
}

#[test]
fn short_counts_where_the_send_timeout_ends_a_call() {
    const STALL: Duration = Duration::from_secs(2);
    // So few at a time that the last is read before the next call's timeout is over too.
    for paths in available(&spec(8 << 20, true)).chunks(3) {
        let paths = paths.to_vec();
        within("short counts", move || {
            let start =
                |path| Host::start(path, spec(8 << 20, true), 1, |service| service.options.stall = STALL);
            let hosts: Vec<Host> = paths.into_iter().map(start).collect();
            let mut guests: Vec<_> = hosts.iter().map(|host| host.guest(0)).collect();
            guests.iter().for_each(|guest| guest.ask(2, true));
            // The first call returns what it could queue, in the middle of a field; the next one must go on there.
            thread::sleep(STALL + STALL / 2);
            for (host, guest) in hosts.iter().zip(&mut guests) {
                guest.read_messages(2);
                guest.socket.options().set_tcp_quickack(true).unwrap();
                let report = host.report();
                // sendfile() waits once more by itself (splice_to_socket, fs/splice.c).
                let twice = host.path.release == Release::Never;
                assert!(twice || report.calls > 2, "{}: {report:?}", host.path.name);
            }
        });
    }
}

#[test]
fn calls_cut_to_the_budget_continue_in_the_middle_of_a_field() {
    for pages in 0..9 {
        let budget = Budget { bytes: 32 << 10, notifications: 3, pages: Some(pages) };
        for fields in Fields::ALL {
            let spec = Spec { fields: *fields, ..spec(70_001, true) };
            for path in available(&spec) {
                within(path.name, move || {
                    let host = Host::start(path, spec, 1, |service| service.terms.budget = budget);
                    let mut guest = host.guest(0);
                    guest.ask(6, true);
                    guest.read_messages(6);
                    guest.socket.options().set_tcp_quickack(true).unwrap();
                    let ledger = host.report().ledger;
                    assert_eq!((ledger.completed, ledger.enobufs), (ledger.sends, 0), "{ledger:?}");
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
        for placement in Placement::ALL {
            for path in available(&spec(4097, true)) {
                let mut rig =
                    Rig::build(&Scenario { placement: *placement, ..verified(path, spec(4097, true), 3) })
                        .unwrap();
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
