//! Peers that misbehave: each ends in an error that names the side or in a complete delivery, nothing hangs, and
//! no other client of the same server is disturbed.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Guest, Host, LONG, at_once, available, representatives, spec, within};
use copycost::internals::protocol::{Ask, Hello, Ticket};
use copycost::internals::server::Service;
use copycost::message::{Buffers, Spec};
use copycost::send::{self, Ledger, SendPath};

/// Large enough that no socket buffer holds a whole run.
const SIZE: usize = 1 << 20;

/// More messages than buffers hold.
const MANY: u64 = 64;

/// Two messages of this size in turn: for two clients they are within the 8 MiB that a user may lock.
fn large() -> Spec {
    Spec { buffers: Buffers::Ring(2), ..spec(SIZE, true) }
}

/// The paths of a test; each `turn` has others in the fast set.
fn paths(turn: usize) -> Vec<&'static SendPath> {
    representatives(available(&large()), turn)
}

/// Serves two clients on each path of `turn`; `fault` gets the first, the second must be served as if nothing happened,
/// before, during and after.
fn beside_an_honest_client(turn: usize, change: fn(&mut Service), fault: fn(&Host, Guest)) {
    at_once(paths(turn), 4 * SIZE, move |path| {
        let host = Host::start(path, large(), 2, change);
        let mut honest = host.guest(1);
        let faulty = host.guest(0);
        honest.ask(4, false);
        honest.read_messages(2);
        fault(&host, faulty);
        honest.ask(2, true);
        honest.read_messages(4);
        honest.socket.options().set_tcp_quickack(true).unwrap();
        assert_eq!(host.report().messages, 6);
        drop(host);
        honest.read_to_end().unwrap();
    });
}

/// Whatever ended, each call is accounted for once.
fn assert_settled(ledger: &Ledger) {
    assert_eq!(ledger.sends, ledger.completed + ledger.aborted + ledger.undrained, "{ledger:?}");
    assert_eq!(ledger.undrained, 0, "{ledger:?}");
}

/// A peer that is gone shows as one of these, by the moment at which the sender learns of it.
fn assert_gone(error: &io::Error) {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    assert!(matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof), "{error:?}");
}

#[test]
fn a_client_that_disconnects_in_mid_message() {
    beside_an_honest_client(
        0,
        |_| {},
        |host, mut guest| {
            guest.ask(MANY, true);
            guest.read_bytes(SIZE + SIZE / 2);
            drop(guest);
            let failure = host.failure(0);
            assert_gone(&failure.error);
            assert_settled(&failure.ledger);
        },
    );
}

#[test]
fn a_reset() {
    beside_an_honest_client(
        1,
        |_| {},
        |host, mut guest| {
            guest.ask(MANY, true);
            guest.read_bytes(SIZE / 3);
            guest.reset();
            let failure = host.failure(0);
            assert_gone(&failure.error);
            assert_settled(&failure.ledger);
        },
    );
}

#[test]
fn a_half_close_after_the_last_ask_gets_everything() {
    beside_an_honest_client(
        2,
        |_| {},
        |host, mut guest| {
            guest.ask(8, true);
            guest.socket.options().shutdown(std::net::Shutdown::Write).unwrap();
            guest.read_messages(8);
            assert_eq!(guest.read_to_end().unwrap(), 0);
            assert_eq!(host.report().messages, 8);
        },
    );
}

#[test]
fn a_half_close_in_the_middle_of_a_run() {
    beside_an_honest_client(
        3,
        |_| {},
        |host, mut guest| {
            guest.ask(3, false);
            guest.socket.options().shutdown(std::net::Shutdown::Write).unwrap();
            guest.read_messages(3);
            let failure = host.failure(0);
            assert_gone(&failure.error);
            assert_settled(&failure.ledger);
        },
    );
}

#[test]
fn a_client_that_never_reads() {
    beside_an_honest_client(
        4,
        |service| {
            service.options.stall_timeout = Duration::from_millis(500);
            service.drain_timeout = Duration::from_millis(300);
        },
        |host, guest| {
            guest.ask(MANY, true);
            let failure = host.failure(0);
            assert_eq!(failure.error.kind(), io::ErrorKind::TimedOut, "{:?}", failure.error);
            assert_settled(&failure.ledger);
            drop(guest);
        },
    );
}

#[test]
fn a_client_that_stops_for_two_seconds_gets_everything() {
    beside_an_honest_client(
        5,
        |_| {},
        |host, mut guest| {
            guest.ask(16, true);
            guest.read_bytes(SIZE + 1);
            thread::sleep(Duration::from_secs(2));
            guest.read_bytes(15 * SIZE - 1);
            guest.socket.options().set_tcp_quickack(true).unwrap();
            let report = host.report();
            assert_eq!(report.messages, 16);
            assert_settled(&report.ledger);
        },
    );
}

#[test]
fn an_ask_that_is_none() {
    let cut = Ask { messages: 1, last: true }.encode()[1..].to_vec();
    for (turn, said) in [b"GET / HTTP/1.1\r\n".to_vec(), vec![0; Ask::BYTES], cut].into_iter().enumerate() {
        for path in representatives(available(&spec(64, false)), turn) {
            let said = said.clone();
            within(path.name, move || {
                let host = Host::start(path, spec(64, false), 1, |_| {});
                let guest = host.guest(0);
                guest.say(&said);
                guest.socket.options().shutdown(std::net::Shutdown::Write).unwrap();
                assert_ne!(host.failure(0).error.to_string(), "");
                assert_eq!(guest.read_to_end().unwrap_or(0), 0);
            });
        }
    }
}

#[test]
fn strangers_are_shown_the_door_and_do_not_disturb() {
    within("strangers", || {
        let timeout = Duration::from_millis(300);
        let host =
            Host::start(&send::ALL[0], spec(64, true), 2, |service| service.options.hello_timeout = timeout);
        let mut honest = host.guest(0);
        let hello = |client, ticket| Hello::data(client, ticket).encode().to_vec();
        let changed = |at: usize| {
            let mut bytes = hello(1, host.ticket);
            bytes[at] ^= 0x40;
            bytes
        };
        let sayings = [
            vec![],               // silence: the hello timeout
            b"copycost".to_vec(), // half a hello, then silence
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            changed(0),                       // magic
            changed(8),                       // version
            changed(31),                      // ticket
            hello(1, Ticket::new().unwrap()), // another's ticket
            hello(0, host.ticket),            // a client that is here already
            hello(2, host.ticket),            // a client without a seat
            hello(u32::MAX, host.ticket),
        ];
        for said in sayings {
            let stranger = host.stranger();
            stranger.say(&said);
            let began = Instant::now();
            // Unread bytes make the kernel end with a reset, which is as good as an end.
            // Only a peer of another version is answered: with our hello, so that it learns why.
            let answer = if said == changed(8) { Hello::BYTES } else { 0 };
            assert!([0, answer].contains(&stranger.read_to_end().unwrap_or(0)), "{said:?}");
            assert!(began.elapsed() < LONG / 2, "{said:?}");
        }
        assert!(host.news.is_empty(), "strangers are no news");
        let second = host.guest(1);
        for guest in [&mut honest, &mut { second }] {
            guest.ask(5, true);
            guest.read_messages(5);
            host.report();
        }
    });
}

#[test]
fn a_server_with_waiting_silent_and_greedy_clients_stops_at_once_when_dropped() {
    at_once(paths(6), 4 * SIZE, |path| {
        let host = Host::start(path, large(), 3, |service| {
            service.drain_timeout = Duration::from_millis(500);
            // Whoever waited for one of these would wait longer than `within` does.
            service.options.stall_timeout = 4 * LONG;
            service.options.hello_timeout = 4 * LONG;
        });
        let (_silent, _waiting, mut greedy) = (host.stranger(), host.guest(0), host.guest(1));
        greedy.ask(MANY, true);
        // Its sender is in the middle of it, and soon has to wait.
        greedy.read_bytes(SIZE);
        drop(host);
    });
}
