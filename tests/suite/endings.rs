//! However a connection ends, the ledger accounts for every call once.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{at_once, fitting, spec, waiting};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::internals::sys::socket::Socket;
use copycost::message::{Fields, Message, Spec};
use copycost::send::{Budget, Ledger, SendPath, Sender, SenderConfig, drain};

/// A sender on a new connection, whose waits are short, and its peer.
fn connected(path: &SendPath) -> (Box<dyn Sender>, Socket, Arc<Message>) {
    let options = ConnectionOptions {
        stall_timeout: Duration::from_millis(200),
        ..ConnectionOptions::for_this_machine()
    };
    let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let client = connection::connect(listener.local_addr().unwrap(), &options).unwrap();
    let (socket, _) = listener.accept().unwrap();
    connection::set_timeouts(&socket, &options).unwrap();
    // One field: large for every path.
    let spec = fitting(path, Spec { fields: Fields::Single, ..spec(65536, true) });
    let pool = MessagePool::new(&spec, false).unwrap();
    let sender = (path.open)(socket, pool.messages(), SenderConfig::within(Budget::unbounded())).unwrap();
    // One that the path may have registered.
    (sender, client, Arc::clone(&pool.messages()[0]))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

/// A path that decides for each message may have found that it does better to copy, and holds nothing then.
fn decides(ledger: &Ledger) -> bool {
    ledger.decisions.total() > 0
}

/// Whether the kernel refers to nothing.
fn lends_nothing(ledger: &Ledger) -> bool {
    ledger.sends == ledger.completed + ledger.aborted
}

fn assert_identity(ledger: &Ledger) {
    assert!(ledger.sends > 0 || decides(ledger), "{ledger:?}");
    assert_eq!(ledger.sends, ledger.completed + ledger.aborted + ledger.undrained, "{ledger:?}");
    assert!(ledger.copied <= ledger.completed, "{ledger:?}");
}

#[test]
fn a_peer_that_reads_everything() {
    at_once(waiting(), 1 << 20, |path| {
        let (mut sender, client, message) = connected(path);
        let reader = thread::Builder::new().spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            let mut read = 0;
            while read < 50 * 65536 {
                read += client.recv(&mut buffer).unwrap();
            }
            // Nobody may have to wait for a delayed acknowledgement longer than the deadline below.
            client.options().set_tcp_quickack(true).unwrap();
            client
        });
        (0..50).for_each(|_| sender.send(&message).unwrap());
        sender.flush().unwrap();
        let _client = reader.unwrap().join().unwrap();
        drain(&mut *sender, Instant::now() + Duration::from_secs(20)).unwrap();
        let ledger = sender.ledger();
        assert_identity(&ledger);
        assert_eq!((ledger.completed, ledger.aborted, ledger.undrained), (ledger.sends, 0, 0));
        assert_eq!(Arc::strong_count(&message), 1);
        assert!(!sender.reap(soon()).unwrap(), "nothing is held");
    });
}

#[test]
fn a_peer_that_never_reads() {
    at_once(waiting(), 1 << 20, |path| {
        let (mut sender, client, message) = connected(path);
        let error = (0..1000).find_map(|_| sender.send(&message).err()).expect("buffers are not endless");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        if decides(&sender.ledger()) && lends_nothing(&sender.ledger()) {
            assert!(sender.ledger().plain > 0);
            drop(sender);
            assert_eq!(
                Arc::strong_count(&message),
                1,
                "only the sender held it, for the rest that was not sent"
            );
            return;
        }
        assert_eq!(drain(&mut *sender, soon()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(Arc::strong_count(&message) > 1, "the kernel holds it, and so does the sender");
        let before = sender.ledger();
        sender.abort();
        let ledger = sender.ledger();
        assert_identity(&ledger);
        assert!(ledger.aborted > 0, "{ledger:?}");
        // Calls that the peer had acknowledged and that shared a report with others come too; no others do.
        let more = ledger.completed - before.completed;
        assert_eq!(ledger.undrained, 0, "{ledger:?}");
        assert!(
            more < ledger.aborted && ledger.copied - before.copied <= more,
            "{ledger:?}, before: {before:?}"
        );
        assert_eq!(Arc::strong_count(&message), 1, "disconnecting gave it back");
        sender.abort();
        assert!(!sender.reap(soon()).unwrap(), "nothing is held");
        drop(client);
    });
}

#[test]
fn a_peer_that_is_killed() {
    at_once(waiting(), 1 << 20, |path| {
        let (mut sender, client, message) = connected(path);
        (0..8).for_each(|_| sender.send(&message).unwrap());
        drop(client);
        let _ = (0..1000).find_map(|_| sender.send(&message).err());
        if drain(&mut *sender, soon()).is_err() {
            sender.abort();
        }
        assert_identity(&sender.ledger());
        assert_eq!(sender.ledger().undrained, 0);
        assert_eq!(Arc::strong_count(&message), 1);
    });
}

#[test]
fn what_is_dropped_without_a_drain_is_leaked_and_not_freed() {
    at_once(waiting(), 1 << 20, |path| {
        let (mut sender, _client, message) = connected(path);
        let _ = (0..1000).find_map(|_| sender.send(&message).err());
        let copies = decides(&sender.ledger()) && lends_nothing(&sender.ledger());
        assert!(copies || Arc::strong_count(&message) > 1);
        drop(sender);
        if copies {
            assert_eq!(Arc::strong_count(&message), 1);
            return;
        }
        assert!(Arc::strong_count(&message) > 1, "the kernel may still send it");
    });
}
