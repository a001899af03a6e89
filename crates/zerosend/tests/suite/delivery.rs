//! Every kind of memory, every size around a border, every byte.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zerosend::{Blocking, Cursor, Limits, Payload, Segment, Sender};

use crate::common::{LONG, always, always_within, content, eventually, pair, reader, spawn};

fn kinds(bytes: &[u8]) -> Vec<(&'static str, Segment)> {
    #[allow(unused_mut, reason = "with features there are more")]
    let mut kinds: Vec<(&'static str, Segment)> = vec![
        ("Vec", bytes.to_vec().into()),
        ("Box", bytes.to_vec().into_boxed_slice().into()),
        ("Arc", Arc::<[u8]>::from(bytes).into()),
        ("static", Segment::from(&*bytes.to_vec().leak())),
    ];
    #[cfg(feature = "bytes")]
    kinds.push(("Bytes", bytes::Bytes::copy_from_slice(bytes).into()));
    kinds
}

#[test]
fn every_kind_of_memory_arrives_by_reference_copied_and_in_part() {
    for size in [0, 1, 4095, 4096, 4097, 100_000, 1 << 20, 3 << 20] {
        let whole = content(size as u64, 0, size);
        for (name, segment) in kinds(&whole) {
            let (server, client) = pair();
            let received = reader(client);
            let mut sender = Blocking::new(always(server));
            sender.set_timeout(Some(LONG)).unwrap();
            let part = segment.clone().range(size / 3..size - size / 4);
            let expected = [&whole[..], &whole, &whole[size / 3..size - size / 4]].concat();
            sender
                .send(Payload::new().copied(segment.clone()).by_reference(segment).by_reference(part))
                .unwrap();
            sender.drain().unwrap();
            let stats = sender.stats();
            assert_eq!((stats.in_flight, stats.released), (0, stats.calls_by_reference), "{name}, {size}");
            assert_eq!(stats.bytes_by_reference + stats.bytes_copied, expected.len() as u64);
            assert_eq!(stats.calls_by_reference > 0, size > 0, "{name}, {size}: {stats:?}");
            assert_eq!(stats.released_copied, stats.released, "loopback copies after all: {stats:?}");
            drop(sender);
            assert!(received.join().unwrap().unwrap() == expected, "{name}, {size}");
        }
    }
}

#[test]
fn text_and_many_segments_arrive_in_their_order() {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = Blocking::new(always(server));
    let (mut payload, mut expected) = (Payload::new(), Vec::new());
    // More than one call takes, small and large, by both ways, empty ones among them.
    for index in 0..200 {
        let bytes = content(index, 0, [0, 1, 17, 5000][index as usize % 4]);
        expected.extend(&bytes);
        payload = if index % 3 == 0 { payload.copied(bytes) } else { payload.by_reference(bytes) };
    }
    expected.extend(b"and text");
    sender.send(payload.by_reference(String::from("and text"))).unwrap();
    drop(sender);
    assert!(received.join().unwrap().unwrap() == expected);
}

#[test]
fn a_cursor_keeps_its_place_where_the_peer_does_not_read() {
    const SIZE: usize = 16 << 20;
    let (server, mut client) = pair();
    let mut sender = always(server);
    let mut cursor = Cursor::new(content(1, 0, SIZE));
    let mut steps = 0;
    let blocked = loop {
        match sender.try_send(&mut cursor) {
            Ok(sent) => {
                assert!(sent > 0 && !cursor.is_done());
                steps += sent;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
    assert!(steps == cursor.sent() && steps > 0 && cursor.remaining() == SIZE - steps);
    // Another payload would stand in the middle of this one.
    let mut other = Cursor::new(vec![1]);
    assert_eq!(sender.try_send(&mut other).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(other.into_payload().unwrap().len(), 1);
    // So would this one on another connection.
    let (second, _peer) = pair();
    let mut second = always(second);
    assert_eq!(second.try_send(&mut cursor).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let received = thread::Builder::new().spawn(move || {
        let mut bytes = vec![0; SIZE];
        client.read_exact(&mut bytes).map(|()| bytes)
    });
    let until = Instant::now() + LONG;
    while !cursor.is_done() {
        match sender.try_send(&mut cursor) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sender.reap().unwrap();
                thread::sleep(Duration::from_micros(200));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < until);
    }
    assert_eq!(sender.try_send(&mut cursor).unwrap(), 0, "it is done");
    assert!(received.unwrap().join().unwrap().unwrap() == content(1, 0, SIZE));
    eventually("everything is released", || {
        sender.reap().unwrap();
        sender.pending() == 0
    });
    assert_eq!(sender.stats().in_flight_bytes, 0);
}

#[test]
fn a_deadline_ends_a_send_and_the_next_one_finishes_it() {
    const SIZE: usize = 12 << 20;
    for nonblocking in [false, true] {
        let (server, client) = pair();
        server.set_nonblocking(nonblocking).unwrap();
        let mut sender = Blocking::new(always(server));
        sender.set_timeout(Some(Duration::from_millis(50))).unwrap();
        let (cursor, receipt) = (content(2, 0, SIZE), "the first is sent in part: the rest stays");
        let error = sender.send_with_receipt(cursor).unwrap_err();
        assert_eq!(error.error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(error.payload.is_none() && error.receipt.is_some(), "{receipt}");
        // Of the second nothing is sent: it comes back.
        let error = sender.send(content(7, 0, 1000)).unwrap_err();
        assert_eq!((error.error.kind(), error.payload.unwrap().len()), (io::ErrorKind::TimedOut, 1000));
        assert_eq!(sender.finish().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(sender.shutdown().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(sender.drain().unwrap_err().kind(), io::ErrorKind::TimedOut);
        let received = reader(client);
        sender.set_timeout(Some(LONG)).unwrap();
        sender.send(content(2, SIZE, 1000)).unwrap();
        drop(sender);
        assert!(
            received.join().unwrap().unwrap() == content(2, 0, SIZE + 1000),
            "nonblocking: {nonblocking}"
        );
    }
}

#[test]
fn a_healthy_reader_of_a_nonblocking_socket_gets_large_payloads() {
    let (server, client) = pair();
    server.set_nonblocking(true).unwrap();
    let received = reader(client);
    let mut sender = Blocking::new(always(server));
    for index in 0..20 {
        sender.send(content(3, index * (4 << 20), 4 << 20)).unwrap();
    }
    drop(sender);
    assert!(received.join().unwrap().unwrap() == content(3, 0, 80 << 20));
}

#[test]
fn both_directions_work_at_once_and_a_half_close_ends_one() {
    let (server, mut client) = pair();
    let mut sender = always(server);
    let mut half = sender.read_half();
    client.write_all(b"a question").unwrap();
    let mut asked = [0; 10];
    half.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"a question");
    sender.try_send(&mut Cursor::new(b"an answer")).unwrap();
    sender.shutdown().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "an answer");
    assert_eq!(sender.try_send(&mut Cursor::new(vec![1])).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    client.write_all(b"more").unwrap();
    drop(client);
    let mut more = Vec::new();
    sender.read_to_end(&mut more).unwrap();
    assert_eq!(more, b"more");
}

#[test]
fn the_socket_comes_back_when_nothing_is_in_flight() {
    let (server, mut client) = pair();
    let address = server.local_addr().unwrap();
    let mut sender = always(OwnedFd::from(server));
    sender.try_send(&mut Cursor::new(vec![1; 100])).unwrap();
    client.read_exact(&mut [0; 100]).unwrap();
    eventually("it is released", || {
        sender.reap().unwrap();
        sender.pending() == 0
    });
    let half = sender.read_half();
    let sender = sender.into_inner::<OwnedFd>().unwrap_err();
    drop(half);
    let stream: std::net::TcpStream = sender.into_inner().unwrap();
    assert_eq!(stream.local_addr().unwrap(), address);
    (&stream).write_all(b"still there").unwrap();
    client.read_exact(&mut [0; 11]).unwrap();
    // The kernel goes on counting where it was.
    let refused = Sender::new(stream).unwrap_err();
    assert_eq!(refused.error.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn a_peer_that_drips_does_not_keep_a_send_for_long() {
    let (server, mut client) = pair();
    let mut sender = Blocking::new(always(server));
    sender.set_timeout(Some(Duration::from_millis(200))).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let dripping = spawn(move || {
        let mut bytes = vec![0; 16 << 10];
        while stopped
            .recv_timeout(Duration::from_millis(20))
            .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            client.read_exact(&mut bytes).unwrap();
        }
    });
    // 16 KiB every 20 ms would be a minute.
    let error = sender.send(vec![1; 48 << 20]).unwrap_err();
    assert_eq!(error.error.kind(), io::ErrorKind::TimedOut);
    assert!(error.payload.is_none());
    drop(stop);
    dripping.join().unwrap();
}

#[test]
fn a_fast_reader_does_not_keep_an_event_loop() {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = always(server);
    let mut cursor = Cursor::new(content(8, 0, 40 << 20));
    while !cursor.is_done() {
        match sender.try_send(&mut cursor) {
            Ok(sent) => assert!(sent <= 8 << 20),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                thread::yield_now();
            }
        }
    }
    drop(sender);
    assert!(received.join().unwrap().unwrap() == content(8, 0, 40 << 20));
}

#[test]
fn without_room_by_reference_everything_is_copied() {
    for limits in
        [Limits { bytes: 0, calls: 10 }, Limits { bytes: 10, calls: 0 }, Limits { bytes: 0, calls: 0 }]
    {
        let (server, client) = pair();
        let received = reader(client);
        let mut sender = Blocking::new(always_within(server, limits));
        sender.send(content(5, 0, 100_000)).unwrap();
        assert_eq!(sender.stats().calls_by_reference, 0, "{limits:?}");
        drop(sender);
        assert!(received.join().unwrap().unwrap() == content(5, 0, 100_000));
    }
}

#[test]
fn an_end_in_the_middle_of_a_payload_is_refused() {
    let (server, _client) = pair();
    let mut sender = always(server);
    let mut cursor = Cursor::new(vec![1; 32 << 20]);
    sender.try_send(&mut cursor).unwrap();
    assert_eq!(sender.shutdown().unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

/// Reading the next request is when a server that answers one after the other learns that the last answer arrived.
#[test]
fn who_reads_gets_the_payloads_of_before_back() {
    let (server, mut client) = pair();
    let mut sender = always(server);
    let shared: Arc<[u8]> = vec![1; 100_000].into();
    sender.try_send(&mut Cursor::new(Arc::clone(&shared))).unwrap();
    client.read_exact(&mut vec![0; 100_000]).unwrap();
    eventually("it is back", || {
        client.write_all(&[1]).unwrap();
        sender.read_exact(&mut [0]).unwrap();
        Arc::strong_count(&shared) == 1
    });
}

#[test]
fn small_limits_copy_and_lose_nothing() {
    let (server, mut client) = pair();
    let limits = Limits { bytes: 10_000, calls: 2 };
    let mut sender = always_within(server, limits);
    let mut expected = Vec::new();
    for index in 0..50 {
        let bytes = content(4, index * 3000, 3000);
        expected.extend(&bytes);
        let mut cursor = Cursor::new(bytes);
        sender.try_send(&mut cursor).unwrap();
        assert!(cursor.is_done());
        assert!(sender.stats().in_flight <= 2 && sender.stats().in_flight_bytes <= 10_000);
    }
    assert!(sender.stats().fallbacks > 0, "{:?}", sender.stats());
    let mut received = vec![0; expected.len()];
    client.read_exact(&mut received).unwrap();
    assert!(received == expected);
}
