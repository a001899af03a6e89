//! Rings of real connections: overflow, cancellation, memory in flight.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::sys::memory::Block;
use crate::sys::socket::SendFlags;
use crate::test_rules::{skip, take_turn_with_locked_memory};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A ring on a new connection with room for `unread` completions, and its peer. `None` without
/// SENDMSG_ZC.
fn connected(unread: u32) -> Option<(SendRing<usize>, TcpStream)> {
    take_turn_with_locked_memory();
    if !super::super::probe().is_ok_and(|operations| operations.sendmsg_zc && operations.reports_usage) {
        skip("this machine has no SENDMSG_ZC of io_uring that reports copies (Linux 6.2 or later)");
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    Some((SendRing::open(client.into(), 2, 64, unread).unwrap(), listener.accept().unwrap().0))
}

fn message(fill: u8) -> Arc<Message> {
    let mut message = Message::adjacent_fields(Block::pages(3000).unwrap(), 0, &[1000, 2000]);
    message.slices_mut().for_each(|field| field.fill(fill));
    Arc::new(message)
}

#[test]
fn completions_that_overflow_the_queue_are_not_lost() {
    const CHAINS: usize = 12;
    let Some((mut ring, mut peer)) = connected(2) else { return };
    let messages: Vec<_> = (0..2 * CHAINS).map(|n| message(n as u8)).collect();
    for (n, pair) in messages.chunks(2).enumerate() {
        for (m, message) in pair.iter().enumerate() {
            let pushed = ring.push(
                Operation::SendMsgZc,
                &[Excerpt { of: message, range: 0..3000 }],
                After::Break,
                2 * n + m,
            );
            assert_eq!(pushed, Ok(()));
        }
        // Nothing is read from the queue of two.
        ring.submit(Duration::from_millis(5)).unwrap();
    }
    let mut bytes = vec![0; 2 * CHAINS * 3000];
    peer.read_exact(&mut bytes).unwrap();
    assert!(bytes.chunks(3000).zip(0..).all(|(chunk, n): (_, u8)| chunk.iter().all(|byte| *byte == n)));
    assert!(ring.ring.has_overflown(), "else this tests nothing");
    let (mut over, mut released) = (Vec::new(), Vec::new());
    let until = std::time::Instant::now() + TIMEOUT;
    while released.len() < 2 * CHAINS {
        match ring.next_seen() {
            Some(CompletionInfo::Over { note, result, keeps }) => {
                assert_eq!((result, keeps), (Ok(3000), true));
                over.push(note);
            }
            Some(CompletionInfo::Released { note, sent, .. }) => {
                assert!(sent);
                assert_eq!(Arc::strong_count(&messages[note]), 1, "its memory is released at once");
                released.push(note);
            }
            None if ring.fetch_overflow().unwrap() => {}
            None => ring.wait(1, Duration::from_millis(50)).unwrap(),
        }
        assert!(std::time::Instant::now() < until, "{over:?} {released:?}");
    }
    released.sort_unstable();
    assert!(over.iter().copied().eq(0..2 * CHAINS) && released.into_iter().eq(0..2 * CHAINS));
    assert_eq!(ring.going(), 0);
}

#[test]
fn memory_in_flight_is_leaked() {
    let Some((mut ring, _peer)) = connected(64) else { return };
    let message = message(1);
    ring.push(Operation::SendMsgZc, &[Excerpt { of: &message, range: 0..3000 }], After::Anything, 0).unwrap();
    ring.submit(TIMEOUT).unwrap();
    assert_eq!(Arc::strong_count(&message), 2);
    drop(ring);
    assert_eq!(Arc::strong_count(&message), 2, "the peer has not read it: it could be sent again");
}

/// Fills the connection of `socket`, whose peer does not read, until nothing more fits and nothing is in
/// flight.
fn fill(socket: &Socket) {
    let until = std::time::Instant::now() + TIMEOUT;
    loop {
        let settled = unacknowledged(socket) == 0;
        let error =
            std::iter::repeat_with(|| socket.send(&[0; 4096], SendFlags::DONTWAIT)).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
        if settled && unacknowledged(socket) == 0 {
            return;
        }
        assert!(std::time::Instant::now() < until, "what was sent is not acknowledged");
        std::thread::yield_now();
    }
}

/// Sent segments that the peer's kernel has not acknowledged.
fn unacknowledged(socket: &Socket) -> u32 {
    // SAFETY: all fields are integers, for which zeroes are valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(socket));
    // SAFETY: `info` is writable for `length` bytes, and the kernel writes no more.
    let result = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &mut length)
    };
    assert_eq!(result, 0);
    info.tcpi_unacked
}

/// Reads all completions, including those of the next 50 ms.
fn read_all(ring: &mut SendRing<usize>) -> Vec<CompletionInfo<usize>> {
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.extend(std::iter::from_fn(|| ring.next_seen()));
        ring.wait(1, Duration::from_millis(5)).unwrap();
    }
    seen
}

#[test]
fn a_request_cancelled_before_it_started_does_not_release_the_next_one() {
    // More than fits into the socket, but within the 8 MiB that a user may lock.
    const LARGE: usize = 4 << 20;
    let Some((mut ring, mut peer)) = connected(64) else { return };
    let socket = ring.socket.try_clone().unwrap();
    socket.options().set_send_buffer_size(64 << 10).unwrap();
    let large = Arc::new(Message::adjacent_fields(Block::pages(LARGE).unwrap(), 0, &[LARGE]));
    let small = [message(1), message(2)];
    let push = |ring: &mut SendRing<usize>, of: &Arc<Message>, bytes, note| {
        let excerpt = [Excerpt { of, range: 0..bytes }];
        assert_eq!(ring.push(Operation::SendMsgZc, &excerpt, After::Anything, note), Ok(()));
    };
    push(&mut ring, &large, LARGE, 0);
    push(&mut ring, &small[0], 3000, 1);
    // The peer does not read, so only the first request starts.
    ring.submit(Duration::from_millis(20)).unwrap();
    while ring.going() > 0 {
        ring.cancel().unwrap();
        while ring.next_seen().is_some() {}
    }
    if ring.slots[1].held.is_some() {
        // A kernel that announces the second completion.
        read_all(&mut ring);
    }
    assert_eq!(Arc::strong_count(&small[0]), 1);
    // It uses the slot that was freed last. The socket is full, so nothing can be over.
    fill(&socket);
    // The peer must see the end of the stream when the ring is dropped.
    drop(socket);
    push(&mut ring, &small[1], 3000, 2);
    ring.submit(Duration::ZERO).unwrap();
    assert_eq!(read_all(&mut ring), []);
    assert_eq!((ring.going(), Arc::strong_count(&small[1])), (1, 2));
    let reader = std::thread::Builder::new().spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
    let until = std::time::Instant::now() + TIMEOUT;
    let mut seen = Vec::new();
    while !seen.iter().any(|seen| matches!(seen, CompletionInfo::Released { note: 2, .. })) {
        assert!(std::time::Instant::now() < until, "{seen:?}");
        seen.extend(read_all(&mut ring));
    }
    assert!(seen.contains(&CompletionInfo::Over { note: 2, result: Ok(3000), keeps: true }), "{seen:?}");
    assert_eq!(Arc::strong_count(&small[1]), 1);
    drop(ring);
    reader.unwrap().join().unwrap().unwrap();
}

/// Lets a test move a ring to another thread, which the type forbids.
struct Forced<T>(T);

// SAFETY: the test's threads use it one after the other.
unsafe impl<T> Send for Forced<T> {}

#[test]
fn requests_that_another_thread_could_not_submit_are_never_sent() {
    let Some((mut ring, mut peer)) = connected(64) else { return };
    let push = |ring: &mut SendRing<usize>, of: &Arc<Message>| {
        ring.push(Operation::SendMsg, &[Excerpt { of, range: 0..3000 }], After::Anything, 0)
    };
    let (first, second) = (message(1), message(2));
    push(&mut ring, &first).unwrap();
    ring.submit(TIMEOUT).unwrap();
    while ring.next_seen().is_some() {}
    let forced = Forced(&mut ring);
    let refused = std::thread::scope(|scope| {
        let elsewhere = move || {
            let Forced(ring) = { forced };
            push(ring, &second).unwrap();
            ring.submit(Duration::ZERO).unwrap_err().raw_os_error()
        };
        scope.spawn(elsewhere).join().unwrap()
    });
    if refused != Some(libc::EEXIST) {
        // Without IORING_SETUP_DEFER_TASKRUN (before Linux 6.1) any thread may submit.
        return;
    }
    assert_eq!(push(&mut ring, &first), Err(RequestRefused::Broken));
    assert!(ring.wait(0, Duration::ZERO).is_err());
    drop(ring);
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert!(received == vec![1; 3000], "{} bytes arrived", received.len());
}

#[test]
fn bytes_that_no_request_can_hold_are_refused_and_not_dropped() {
    let Some((mut ring, _peer)) = connected(64) else { return };
    let fields = (0..40).map(|_| vec![0; 10].into_boxed_slice());
    let many = Arc::new(Message::allocated(fields));
    let mut push = |range| ring.push(Operation::SendMsg, &[Excerpt { of: &many, range }], After::Anything, 0);
    assert_eq!(push(0..399), Err(RequestRefused::Scattered), "40 pieces");
    assert_eq!(push(390..401), Err(RequestRefused::Scattered), "a byte beyond the message");
    assert_eq!(push(0..320), Ok(()));
}

#[test]
fn invalid_requests_are_refused() {
    let Some((mut ring, _peer)) = connected(64) else { return };
    let far = Arc::new(Message::mapped([10, 20].map(|length| Block::pages(length).unwrap()).into(), 0));
    let excerpt = |range| Excerpt { of: &far, range };
    let mut push = |excerpts: &[Excerpt<'_>]| ring.push(Operation::Send, excerpts, After::Anything, 0);
    assert_eq!(push(&[]), Err(RequestRefused::Scattered));
    assert_eq!(push(&[excerpt(5..15)]), Err(RequestRefused::Scattered));
    assert_eq!(push(&[excerpt(5..7), excerpt(7..10)]), Err(RequestRefused::Scattered));
    assert_eq!(push(&[excerpt(5..10)]), Ok(()));
    assert_eq!(push(&[excerpt(10..30)]), Ok(()));
    assert_eq!(push(&[excerpt(0..1)]), Err(RequestRefused::Full));
}
