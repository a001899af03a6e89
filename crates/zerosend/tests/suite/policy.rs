//! What goes by reference under each policy, and what connections learn of their route.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use zerosend::{Answer, Blocking, Memory, Options, Outcome, Payload, Policy, Segment, Sender, Stats, routes};

use crate::common::child::{Wanted, is_root, role, this_test, works};
use crate::common::{LONG, content, eventually, full, pair, pair_at, reader, skip, spawn};

const KIB: usize = 1 << 10;

fn blocking(server: TcpStream, options: impl Into<Options>) -> Blocking {
    let mut sender = Blocking::new(Sender::with_options(server, options).unwrap());
    sender.set_timeout(Some(LONG)).unwrap();
    sender
}

/// Sends one payload: what was counted, and what became of it.
fn sent(policy: Policy, payload: Payload) -> (Stats, Outcome) {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = blocking(server, policy);
    let expected = content(3, 0, payload.len());
    let mut receipt = sender.send_with_receipt(payload).unwrap();
    let outcome = sender.wait(&mut receipt).unwrap().outcome;
    sender.drain().unwrap();
    let stats = sender.stats();
    drop(sender);
    assert!(received.join().unwrap().unwrap() == expected);
    (stats, outcome)
}

/// Segments of these many bytes, by reference.
fn payload(sizes: &[usize]) -> Payload {
    let mut at = 0;
    let segment = |size: &usize| {
        at += size;
        Segment::from(content(3, at - size, *size))
    };
    sizes.iter().map(segment).collect()
}

#[test]
fn always_and_never_do_as_they_say() {
    let (stats, outcome) = sent(Policy::Always, payload(&[10, 100 * KIB]));
    assert_eq!((stats.bytes_copied, stats.bytes_by_reference), (0, 10 + 100 * KIB as u64));
    assert_eq!(outcome, Outcome::Copied, "loopback");
    let (stats, outcome) = sent(Policy::Never, payload(&[10, 100 * KIB]));
    assert_eq!((stats.calls_by_reference, stats.bytes_copied), (0, 10 + 100 * KIB as u64));
    assert_eq!((stats.decisions.never, stats.fallbacks, outcome), (1, 0, Outcome::Copied));
}

#[test]
fn pieces_below_the_bound_are_copied_and_the_others_are_not() {
    let bound = Policy::Above(8 * KIB);
    let (stats, _) = sent(bound, payload(&[8 * KIB - 1, 8 * KIB, 100, 20 * KIB]));
    assert_eq!(stats.bytes_by_reference, 28 * KIB as u64);
    assert_eq!(stats.bytes_copied, 8 * KIB as u64 - 1 + 100);
    assert_eq!((stats.decisions.by_reference, stats.fallbacks), (1, 0));
    let (stats, outcome) = sent(bound, payload(&[8 * KIB - 1; 5]));
    assert_eq!((stats.calls_by_reference, stats.decisions.small), (0, 1));
    assert_eq!(outcome, Outcome::Copied);
}

/// In parts of 1000 bytes.
struct Thousands(Vec<u8>);

#[allow(unsafe_code, reason = "the promise of a trait of this crate")]
// SAFETY: nothing changes the bytes.
unsafe impl Memory for Thousands {
    fn part(&self, index: usize) -> Option<&[u8]> {
        self.0.chunks(1000).nth(index)
    }
}

#[test]
fn small_pieces_are_joined_and_sent_by_one_call() {
    // More pieces than a call could gather.
    let many = payload(&[100; 160]);
    let parts = Arc::new(Thousands(content(3, 0, 16_000))) as Arc<dyn Memory>;
    for payload in [many, Payload::from(parts)] {
        let (stats, _) = sent(Policy::Auto, payload);
        assert_eq!((stats.calls_copying, stats.bytes_copied, stats.decisions.small), (1, 16_000, 1));
    }
    // Larger: gathered, 64 pieces a call.
    let (stats, _) = sent(Policy::Auto, payload(&[200; 100]));
    assert_eq!(stats.calls_copying, 2);
}

#[test]
fn ten_thousand_short_connections_ask_once() {
    let address = Ipv4Addr::new(127, 1, 2, 3);
    let each = if full() { 2500 } else { 200 };
    let connections = 4 * each;
    let mut sum = [0; 4];
    let threads: Vec<_> = (0..4)
        .map(|_| {
            spawn(move || {
                let mut sum = [0; 4];
                for _ in 0..each {
                    let (server, client) = pair_at(address);
                    let received = reader(client);
                    let mut sender = blocking(server, Policy::Auto);
                    sender.send(payload(&[64 * KIB])).unwrap();
                    let stats = sender.stats();
                    drop(sender);
                    assert!(received.join().unwrap().unwrap() == content(3, 0, 64 * KIB));
                    let decisions = stats.decisions;
                    assert_eq!(decisions.asking, stats.calls_by_reference);
                    let news =
                        [decisions.asking, decisions.route_unknown, decisions.route_copies, stats.fallbacks];
                    (0..4).for_each(|index| sum[index] += news[index]);
                }
                sum
            })
        })
        .collect();
    for thread in threads {
        let news = thread.join().unwrap();
        (0..4).for_each(|index| sum[index] += news[index]);
    }
    let [asking, unknown, copies, fallbacks] = sum;
    assert_eq!(asking, 1, "{sum:?}");
    assert_eq!(unknown + copies, connections - 1);
    assert!(copies > connections / 2, "{sum:?}");
    assert_eq!(fallbacks, 0);
    let is_ours = |route: &zerosend::RouteStats| route.peer == address || route.local == address;
    let known = routes().into_iter().find(is_ours).unwrap();
    assert_eq!(known.answer, Answer::Copied);
}

#[test]
fn the_rest_of_the_payload_that_asks_waits_for_the_answer() {
    let (server, client) = pair_at(Ipv4Addr::new(127, 1, 2, 4));
    let received = reader(client);
    let mut sender = blocking(server, Policy::Auto);
    // Header and body, again and again: the first body asks.
    for turn in 0..50 {
        let bytes = content(3, turn * 200_100, 200_100);
        let body = Segment::from(bytes[100..].to_vec());
        sender.send(Payload::new().copied(bytes[..100].to_vec()).by_reference(body)).unwrap();
        eventually("the report", || {
            sender.get_mut().reap().unwrap();
            sender.pending() == 0
        });
    }
    let stats = sender.stats();
    assert_eq!((stats.decisions.asking, stats.decisions.route_copies), (1, 49));
    assert_eq!(stats.released_copied, stats.calls_by_reference);
    drop(sender);
    assert!(received.join().unwrap().unwrap() == content(3, 0, 50 * 200_100));
}

#[test]
fn where_the_kernel_refuses_it_is_asked_once_as_well() {
    let test = this_test!();
    if role(test).is_some() {
        let mut refused = 0;
        for turn in 0..100 {
            let (server, client) = pair();
            let received = reader(client);
            let mut sender = blocking(server, Policy::Auto);
            sender.send(payload(&[64 * KIB])).unwrap();
            let stats = sender.stats();
            refused += stats.enobufs;
            assert_eq!(stats.decisions.route_refuses, u64::from(turn > 0), "{stats:?}");
            drop(sender);
            assert!(received.join().unwrap().unwrap() == content(3, 0, 64 * KIB));
        }
        return println!("refused {refused} times");
    }
    if !is_root() || !works("prlimit", &["--version"]) {
        return skip("a user who may lock no memory needs root and prlimit");
    }
    let user = 3_000_000 + std::process::id();
    let printed = Wanted::new(test, "no lock", &["prlimit", "--memlock=0:0"]).of_user(user).run();
    assert!(printed.contains("refused 1 times"), "{printed}");
}
