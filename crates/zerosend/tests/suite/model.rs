//! Random payloads, peers and ends, against what must hold whatever happens.

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use zerosend::{Cursor, Limits, Options, Outcome, Payload, Policy, Receipt, Sender};

use crate::common::{LONG, content, full, pair, spawn};

/// A segment of a payload: how it is sent, and how long it is.
#[derive(Debug, Clone, Copy)]
struct Part {
    by_reference: bool,
    len: usize,
}

/// How the peer reads, and how it ends.
#[derive(Debug, Clone, Copy)]
struct Peer {
    chunk: usize,
    pause: u64,
    /// Closes with unread data after so many bytes.
    reset_after: Option<usize>,
    /// Ends its own direction first.
    half_closes: bool,
}

fn part() -> impl Strategy<Value = Part> {
    let len = prop_oneof![0..300usize, 3000..6000usize, 60_000..200_000usize, Just(1 << 20)];
    (any::<bool>(), len).prop_map(|(by_reference, len)| Part { by_reference, len })
}

fn peer() -> impl Strategy<Value = Peer> {
    let reset = prop_oneof![3 => Just(None), 1 => (0..400_000usize).prop_map(Some)];
    (1..300_000usize, 0..300u64, reset, any::<bool>())
        .prop_map(|(chunk, pause, reset_after, half_closes)| Peer { chunk, pause, reset_after, half_closes })
}

/// Reads as `peer` does: what came.
fn read(mut stream: TcpStream, peer: Peer) -> Vec<u8> {
    if peer.half_closes {
        // Not where the sender has aborted by now.
        let _ = stream.shutdown(Shutdown::Write);
    }
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; peer.chunk]);
    loop {
        thread::sleep(Duration::from_micros(peer.pause));
        if peer.reset_after.is_some_and(|after| bytes.len() >= after) {
            // So that there is something unread, if anything more comes.
            thread::sleep(Duration::from_millis(1));
            return bytes;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return bytes,
            Ok(read) => bytes.extend(&buffer[..read]),
        }
    }
}

/// Sends all payloads, as long as the connection lasts. Returns what was handed to the kernel, and the receipts.
fn send(
    sender: &mut Sender,
    payloads: &[Vec<Part>],
    owners: &mut Vec<Arc<[u8]>>,
) -> (usize, Vec<(Receipt, bool)>) {
    let (mut at, mut receipts) = (0, Vec::new());
    for parts in payloads {
        let mut payload = Payload::new();
        for part in parts {
            let owner: Arc<[u8]> = content(9, at, part.len).into();
            at += part.len;
            owners.push(Arc::clone(&owner));
            payload = if part.by_reference { payload.by_reference(owner) } else { payload.copied(owner) };
        }
        let (mut cursor, receipt) = Cursor::with_receipt(payload);
        let until = Instant::now() + LONG;
        let failed = loop {
            assert!(Instant::now() < until, "{:?}", sender.stats());
            match sender.try_send(&mut cursor) {
                Ok(_) if cursor.is_done() => break false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if sender.reap().is_err() {
                        break true;
                    }
                    thread::sleep(Duration::from_micros(50));
                }
                Err(_) => break true,
            }
        };
        receipts.push((receipt, !failed));
        if failed {
            return (at - cursor.remaining(), receipts);
        }
    }
    (at, receipts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if full() { 300 } else { 30 }, ..ProptestConfig::default() })]

    #[test]
    fn what_arrives_is_a_prefix_and_every_payload_comes_back_once(
        payloads in proptest::collection::vec(proptest::collection::vec(part(), 0..6), 1..8),
        peer in peer(),
        limits in prop_oneof![
            Just(Limits::default()),
            (1..300_000usize, 1..10usize).prop_map(|(bytes, calls)| Limits { bytes, calls }),
        ],
        policy in prop_oneof![
            Just(Policy::Always),
            Just(Policy::Never),
            Just(Policy::Auto),
            (0..100_000usize).prop_map(Policy::Above),
        ],
        end in 0..4u8,
    ) {
        let (server, client) = pair();
        let reading = spawn(move || read(client, peer));
        let mut sender = Sender::with_options(server, Options { policy, limits }).unwrap();
        let mut owners = Vec::new();
        let (handed, mut receipts) = send(&mut sender, &payloads, &mut owners);
        let stats = sender.stats();
        prop_assert_eq!(stats.bytes_by_reference + stats.bytes_copied, handed as u64);
        match end {
            // Dropped, drained first, half-closed, or aborted.
            0 => {}
            // Refused where a payload was cut off, which only a reset does here.
            2 => prop_assert!(sender.shutdown().is_ok() || peer.reset_after.is_some()),
            1 => {
                let until = Instant::now() + LONG;
                while sender.pending() > 0 && Instant::now() < until {
                    let _ = sender.reap();
                    thread::sleep(Duration::from_micros(50));
                }
                prop_assert_eq!(sender.pending(), 0);
            }
            _ => drop(sender.abort()),
        }
        drop(sender);
        let received = reading.join().unwrap();
        let whole = content(9, 0, handed);
        prop_assert!(received.len() <= handed && received == whole[..received.len()]);
        if peer.reset_after.is_none() && end < 3 {
            prop_assert_eq!(received.len(), handed, "an orderly end cuts nothing off");
        }
        prop_assert!(zerosend::wait_for_dropped(Instant::now() + LONG), "{:?}", zerosend::dropped());
        for (receipt, whole) in &mut receipts {
            match receipt.try_take() {
                Ok(Some(released)) => {
                    let aborted = released.outcome == Outcome::Aborted;
                    prop_assert!(!aborted || peer.reset_after.is_some() || end == 3);
                }
                other => prop_assert!(!*whole && other.is_err(), "{:?}", other),
            }
        }
        drop(receipts);
        prop_assert!(owners.iter().all(|owner| Arc::strong_count(owner) == 1), "something keeps memory");
    }
}
