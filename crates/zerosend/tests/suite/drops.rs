//! A sender that is dropped: nothing is cut off, and nothing stays.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zerosend::{Blocking, Cursor, Limits, Payload, Sender};

use crate::common::{LONG, always, always_within, content, eventually, pair, reader, spawn};

/// Tests that look at the counts of the process take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads slowly to the end: all that came.
fn read_slowly(mut stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
    loop {
        thread::sleep(Duration::from_millis(2));
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes.extend(&buffer[..read]),
        }
    }
}

#[test]
fn every_byte_arrives_at_a_slow_reader_though_the_sender_is_dropped_at_once() {
    let _turn = turn();
    const SIZE: usize = 8 << 20;
    // By reference alone, mixed with copies, and copied altogether; with what the peer has sent left unread, whose close would
    // reset a connection.
    let payload = |way, bytes: Vec<u8>| match way {
        0 => Payload::from(bytes),
        1 => Payload::new().copied(bytes[..SIZE / 2].to_vec()).by_reference(bytes[SIZE / 2..].to_vec()),
        _ => Payload::new().copied(bytes),
    };
    for (way, unread) in (0..3).flat_map(|way| [(way, false), (way, true)]) {
        let (server, mut client) = pair();
        if unread {
            client.write_all(&[7; 10_000]).unwrap();
        }
        let received = spawn(move || read_slowly(client));
        let mut sender = Blocking::new(always(server));
        sender.send(payload(way, content(1, 0, SIZE))).unwrap();
        drop(sender);
        let received = received.join().unwrap().unwrap();
        assert!(received == content(1, 0, SIZE), "way {way}, unread: {unread}, {} bytes", received.len());
    }
    assert!(zerosend::wait_for_dropped(Instant::now() + LONG));
}

/// The close of a socket with unread data resets the connection, and the peer loses what it has not read.
#[test]
fn what_the_peer_has_sent_and_nobody_has_read_does_not_cost_it_the_answer() {
    let _turn = turn();
    for size in [1000, 100_000] {
        let (server, mut client) = pair();
        client.write_all(&[7; 10]).unwrap();
        let mut sender = Blocking::new(always(server));
        sender.send(content(5, 0, size)).unwrap();
        // Acknowledged, and not read.
        sender.set_timeout(Some(LONG)).unwrap();
        sender.drain().unwrap();
        drop(sender);
        thread::sleep(Duration::from_millis(100));
        let _ = client.write_all(&[7; 10]);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert!(bytes == content(5, 0, size), "{} of {size} bytes", bytes.len());
    }
    assert!(zerosend::wait_for_dropped(Instant::now() + LONG));
}

#[test]
fn a_large_payload_and_a_part_of_a_larger_one_reach_a_slow_reader() {
    let _turn = turn();
    // More than the bound on bytes.
    let (server, client) = pair();
    let received = spawn(move || read_slowly(client));
    let mut sender = Blocking::new(always(server));
    sender.send(vec![3; 70 << 20]).unwrap();
    drop(sender);
    assert_eq!(received.join().unwrap().unwrap().len(), 70 << 20);
    // Shared memory is there anyhow.
    let shared: Arc<[u8]> = vec![1; 100 << 20].into();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (server, client) = pair();
            let received = spawn(move || read_slowly(client));
            let mut sender = Blocking::new(always(server));
            sender.send(zerosend::Segment::from(Arc::clone(&shared)).range(..2 << 20)).unwrap();
            drop(sender);
            received
        })
        .collect();
    for received in readers {
        assert_eq!(received.join().unwrap().unwrap().len(), 2 << 20);
    }
    assert!(zerosend::wait_for_dropped(Instant::now() + LONG));
}

#[test]
fn memory_is_freed_when_the_peer_has_read_it_though_the_sender_is_gone() {
    let _turn = turn();
    let (server, mut client) = pair();
    let shared: Arc<[u8]> = content(2, 0, 3 << 20).into();
    let mut sender = always(server);
    let (mut cursor, mut receipt) = Cursor::with_receipt(Arc::clone(&shared));
    let sent = sender.try_send(&mut cursor).unwrap();
    if !cursor.is_done() {
        // The peer takes the rest: the payload is finished, and some of it is in flight.
        client.read_exact(&mut vec![0; sent / 2]).unwrap();
        let until = Instant::now() + LONG;
        let mut left = vec![0; (3 << 20) - sent / 2 - (256 << 10)];
        let reading = spawn(move || client.read_exact(&mut left).map(|()| client));
        while !cursor.is_done() {
            let _ = sender.try_send(&mut cursor);
            assert!(Instant::now() < until);
        }
        client = reading.join().unwrap().unwrap();
    }
    drop(sender);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    eventually("the receipt is resolved in the background", || receipt.is_resolved());
    assert!(receipt.try_take().is_ok());
    eventually("nothing keeps it", || Arc::strong_count(&shared) == 1);
}

#[test]
fn what_was_cut_off_in_a_message_ends_in_a_reset() {
    let _turn = turn();
    let (server, mut client) = pair();
    let mut sender = always(server);
    let mut cursor = Cursor::new(vec![1; 32 << 20]);
    sender.try_send(&mut cursor).unwrap();
    assert!(!cursor.is_done() && cursor.sent() > 0);
    drop((cursor, sender));
    let mut bytes = Vec::new();
    let error = client.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "an orderly end would look like all of it");
    assert!(zerosend::wait_for_dropped(Instant::now() + LONG));
}

#[test]
fn a_read_half_goes_on_when_the_sender_is_gone() {
    let _turn = turn();
    let (server, mut client) = pair();
    let mut sender = always(server);
    let mut half = sender.read_half();
    sender.try_send(&mut Cursor::new(content(3, 0, 100_000))).unwrap();
    drop(sender);
    let mut asked = Vec::new();
    client.read_to_end(&mut asked).unwrap();
    assert!(asked == content(3, 0, 100_000), "the end of the stream came with the drop");
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(30));
        client.write_all(&[5; 1000]).unwrap();
    }
    drop(client);
    let mut answer = Vec::new();
    half.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [5; 5000], "nobody has thrown it away");
}

#[test]
fn an_owner_that_panics_and_one_that_drops_a_sender_stop_nobody() {
    let _turn = turn();
    struct Bad {
        bytes: Vec<u8>,
        sender: Option<Sender>,
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            let one_that_holds_a_sender = self.sender.take().is_some();
            assert!(one_that_holds_a_sender, "an owner's panic");
        }
    }
    #[allow(unsafe_code, reason = "the trait is unsafe to implement")]
    // SAFETY: nothing changes the bytes.
    unsafe impl zerosend::Memory for Bad {
        fn part(&self, index: usize) -> Option<&[u8]> {
            (index == 0).then_some(&self.bytes)
        }
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut peers = Vec::new();
    for with_sender in [true, false, true] {
        let (other, peer) = pair();
        peers.push(peer);
        let mut other = always(other);
        other.try_send(&mut Cursor::new(vec![1; 200_000])).unwrap();
        let bad = Bad { bytes: vec![2; 200_000], sender: with_sender.then_some(other) };
        let (server, peer) = pair();
        peers.push(peer);
        let mut sender = always(server);
        sender.try_send(&mut Cursor::new(Arc::new(bad) as Arc<dyn zerosend::Memory>)).unwrap();
        drop(sender);
    }
    // At the same time: the end of one comes when another has read.
    for reading in peers.into_iter().map(reader).collect::<Vec<_>>() {
        assert_eq!(reading.join().unwrap().unwrap().len(), 200_000);
    }
    let done = zerosend::wait_for_dropped(Instant::now() + LONG);
    std::panic::set_hook(hook);
    assert!(done);
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    for _ in 0..300 {
        let mut client = TcpStream::connect(address).unwrap();
        let mut sender = always_within(listener.accept().unwrap().0, Limits::default());
        for index in 0..10 {
            sender.try_send(&mut Cursor::new(content(4, index * 1000, 1000))).unwrap();
        }
        drop(sender);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 10_000);
    }
    assert!(zerosend::wait_for_dropped(Instant::now() + LONG));
    // Other tests open some at the same time.
    eventually("no descriptor is left", || files() <= before + 40);
}
