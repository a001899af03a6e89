//! What is refused, what is skipped, and what happens where another handle does what nobody may.
#![allow(unsafe_code, reason = "fork, and options that std does not have")]

use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;

use zerosend::{Blocking, Cursor, Refused, Sender};

use crate::common::{LONG, always, content, eventually, lacking, pair, reader, spawn};

#[test]
fn only_a_connected_tcp_socket_is_taken_and_every_other_comes_back() {
    let kind = |refused: Refused<OwnedFd>, fd: i32| {
        assert_eq!(refused.socket.as_raw_fd(), fd, "the same socket");
        refused.error.kind()
    };
    let others: [OwnedFd; 4] = [
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        UnixStream::pair().unwrap().0.into(),
        std::fs::File::open("/dev/null").unwrap().into(),
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
    ];
    let expected = [
        io::ErrorKind::InvalidInput,
        io::ErrorKind::InvalidInput,
        // ENOTSOCK has no kind of its own.
        io::Error::from_raw_os_error(libc::ENOTSOCK).kind(),
        io::ErrorKind::NotConnected,
    ];
    for (other, expected) in others.into_iter().zip(expected) {
        let fd = other.as_raw_fd();
        assert_eq!(kind(Sender::new(other).unwrap_err(), fd), expected);
    }
    // One that has ended its direction can send nothing.
    let (server, _client) = pair();
    server.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(Sender::new(server).unwrap_err().error.kind(), io::ErrorKind::NotConnected);
    // MPTCP numbers its sends otherwise.
    // SAFETY: socket takes no pointer, and what it returns is nobody else's.
    let mptcp = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 262) };
    if mptcp >= 0 {
        // SAFETY: likewise.
        let mptcp = unsafe { OwnedFd::from_raw_fd(mptcp) };
        assert_eq!(Sender::new(mptcp).unwrap_err().error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn of_two_senders_on_one_socket_one_is_refused_also_at_the_same_time() {
    for _ in 0..50 {
        let (server, _client) = pair();
        let clone = server.try_clone().unwrap();
        let start = Arc::new(Barrier::new(2));
        let make = |stream: TcpStream| {
            let start = Arc::clone(&start);
            spawn(move || {
                start.wait();
                Sender::new(stream).map_err(|refused| refused.error.kind())
            })
        };
        let made = [make(server), make(clone)].map(|thread| thread.join().unwrap());
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
        let refused = made.into_iter().find_map(Result::err);
        assert_eq!(refused, Some(io::ErrorKind::AlreadyExists));
    }
    // Nor one after the other.
    let (server, _client) = pair();
    let clone = server.try_clone().unwrap();
    drop(always(server));
    assert_eq!(Sender::new(clone).unwrap_err().error.kind(), io::ErrorKind::AlreadyExists);
}

/// Sends by reference on a descriptor without its sender's knowledge.
fn send_behind_its_back(fd: i32, bytes: &'static [u8]) {
    // SAFETY: the bytes are static.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_ZEROCOPY) };
    assert_eq!(sent, bytes.len() as isize);
}

#[test]
fn reports_of_sends_that_were_not_made_freeze_the_sender_and_free_nothing() {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = always(server);
    send_behind_its_back(sender.as_raw_fd(), b"not ours");
    let frozen = || io::ErrorKind::InvalidData;
    eventually("the report came", || sender.reap().is_err_and(|error| error.kind() == frozen()));
    let shared: Arc<[u8]> = content(1, 0, 50_000).into();
    // It still sends, and copies.
    let mut cursor = Cursor::new(Arc::clone(&shared));
    sender.try_send(&mut cursor).unwrap();
    assert!(cursor.is_done() && !sender.is_able());
    assert_eq!(Arc::strong_count(&shared), 1, "it was copied");
    assert_eq!(sender.stats().calls_by_reference, 0);
    drop(sender);
    assert_eq!(received.join().unwrap().unwrap().len(), 8 + 50_000);
}

#[test]
fn entries_that_are_no_reports_are_skipped_and_the_connection_goes_on() {
    let (server, client) = pair();
    let received = reader(client);
    // Software timestamps of what is sent and acknowledged come by the error queue too.
    let flags: libc::c_int = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 9;
    // SAFETY: the value is a live int of the size given.
    let set = unsafe {
        let size = size_of_val(&flags) as libc::socklen_t;
        libc::setsockopt(
            server.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            (&raw const flags).cast(),
            size,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    let mut sender = Blocking::new(always(server));
    sender.set_timeout(Some(LONG)).unwrap();
    for index in 0..20 {
        sender.send(content(2, index * 100_000, 100_000)).unwrap();
    }
    sender.drain().unwrap();
    assert!(sender.stats().foreign > 0, "{:?}", sender.stats());
    assert_eq!(sender.stats().released, sender.stats().calls_by_reference);
    drop(sender);
    assert!(received.join().unwrap().unwrap() == content(2, 0, 2_000_000));
}

#[test]
fn a_fork_in_between_changes_nothing() {
    let (server, mut client) = pair();
    let mut sender = Blocking::new(always(server));
    sender.set_timeout(Some(LONG)).unwrap();
    let mut cursor = Cursor::new(content(3, 0, 8 << 20));
    // Some of it is in flight, in pages that the child then shares.
    sender.get_mut().try_send(&mut cursor).unwrap();
    assert!(sender.pending() > 0);
    assert!(Command::new("true").status().unwrap().success());
    // SAFETY: the child uses no lock that another thread may have had, but the allocator's, which glibc keeps for it, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // What a forked server does: its copy of the sender is dropped, and its memory used for something else. It can make senders of
        // its own.
        drop(sender);
        let (server, peer) = pair();
        let mut own = always(server);
        let _ = own.try_send(&mut Cursor::new(vec![1; 100_000]));
        drop(own);
        let mut peer = peer;
        let read = peer.read_to_end(&mut Vec::new());
        let done = zerosend::wait_for_dropped(std::time::Instant::now() + LONG);
        if !matches!(read, Ok(100_000)) || !done {
            // SAFETY: as below.
            unsafe { libc::_exit(1) };
        }
        // SAFETY: _exit takes no pointer, and runs nothing of this process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the status is a live int.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    let received = spawn(move || {
        let mut bytes = vec![0; 8 << 20];
        client.read_exact(&mut bytes).map(|()| (bytes, client))
    });
    while !cursor.is_done() {
        match sender.get_mut().try_send(&mut cursor) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            sent => drop(sent.unwrap()),
        }
    }
    let (bytes, _client) = received.join().unwrap().unwrap();
    assert!(bytes == content(3, 0, 8 << 20));
    sender.drain().unwrap();
}

#[test]
fn a_broken_connection_is_an_error_of_both_halves_and_of_reap() {
    let (server, client) = pair();
    let mut sender = always(server);
    let mut half = sender.read_half();
    sender.try_send(&mut Cursor::new(vec![1; 100_000])).unwrap();
    // A close with unread data is a reset.
    eventually("it has arrived", || client.peek(&mut [0; 1]).is_ok());
    drop(client);
    let mut cursor = Cursor::new(vec![1; 1 << 20]);
    let mut error = None;
    eventually("the send fails", || {
        error = sender.try_send(&mut cursor).err().filter(|error| error.kind() != io::ErrorKind::WouldBlock);
        error.is_some()
    });
    let error = half.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "not the end of the stream");
    assert!(sender.try_send(&mut Cursor::new(vec![1])).is_err());
    // The half has taken the error, and the descriptor stays ready.
    let mut error = None;
    eventually("there is nothing more to be released", || {
        error = sender.reap().err();
        error.is_some()
    });
    assert_eq!(error.unwrap().kind(), io::ErrorKind::ConnectionReset);
    sender.abort().unwrap();
    assert_eq!(sender.try_send(&mut cursor).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// The option takes a name, or the bytes of a struct.
fn set_option(socket: &TcpStream, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    // SAFETY: the value is live and has the length given.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket that encrypts in the kernel takes SO_ZEROCOPY, and refuses the flag.
#[test]
fn a_ktls_socket_copies() {
    const TCP_ULP: i32 = 31;
    const SOL_TLS: i32 = 282;
    const TLS_TX: i32 = 1;
    let (server, mut client) = pair();
    if let Err(error) = set_option(&server, libc::IPPROTO_TCP, TCP_ULP, b"tls") {
        return lacking(&format!("this kernel has no kTLS: {error}"));
    }
    // struct tls12_crypto_info_aes_gcm_128: version 1.2, cipher 51, and an IV, a key, a salt and a sequence of zeroes.
    let mut info = [0; 40];
    info[..2].copy_from_slice(&0x0303u16.to_ne_bytes());
    info[2..4].copy_from_slice(&51u16.to_ne_bytes());
    set_option(&server, SOL_TLS, TLS_TX, &info).unwrap();
    let mut sender = always(server);
    let (mut cursor, mut receipt) = Cursor::with_receipt(content(6, 0, 10_000));
    sender.try_send(&mut cursor).unwrap();
    assert!(cursor.is_done() && !sender.is_able());
    assert_eq!((sender.stats().calls_by_reference, sender.stats().fallbacks), (0, 1));
    assert_eq!(receipt.try_take().unwrap().unwrap().outcome, zerosend::Outcome::Copied);
    drop(sender);
    let mut records = Vec::new();
    client.read_to_end(&mut records).unwrap();
    // Records of application data, version 1.2.
    assert_eq!(records[..3], [0x17, 3, 3]);
    assert!(records.len() > 10_000 && !records.windows(64).any(|run| run == &content(6, 0, 64)[..]));
}
