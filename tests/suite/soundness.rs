//! Safe code that wants to break it: what the kernel may still read can be neither written nor freed.
#![forbid(unsafe_code)]

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::common::{LONG, available, spec, waiting};
use copycost::internals::pool::MessagePool;
use copycost::message::Message;
use copycost::send::{Budget, Release, SendPath, Sender, SenderConfig, Socket, drain};

/// A sender of `path` and the peer of its connection, which reads nothing until it is asked to.
fn connected(path: &SendPath) -> (Box<dyn Sender>, TcpStream, MessagePool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    let socket = Socket::from(listener.accept().unwrap().0);
    socket.options().set_write_timeout(Some(LONG)).unwrap();
    let pool = MessagePool::new(&path.nearest(&spec(16_384, false)).unwrap(), false).unwrap();
    let sender = (path.open)(socket, pool.messages(), SenderConfig::within(Budget::unbounded())).unwrap();
    (sender, peer, pool)
}

/// Sends one message, tries by safe code to write over it, and reads what arrives.
fn attack(path: &'static SendPath) {
    let (mut sender, mut peer, pool) = connected(path);
    let mut message = Arc::new(Message::new(&path.nearest(&spec(16_384, false)).unwrap()).unwrap());
    let sent: Vec<u8> = message.slices().iter().flat_map(|field| field.to_vec()).collect();
    sender.send(&message).unwrap();
    sender.flush().unwrap();
    let written = Arc::get_mut(&mut message).map(|message| message.write(99)).is_some();
    let mut received = vec![0; sent.len()];
    peer.read_exact(&mut received).unwrap();
    assert!(received == sent, "{}: safe code changed what was sent", path.name);
    match path.release {
        Release::OnReturn | Release::OnFlush => assert!(written, "{} keeps what it has copied", path.name),
        Release::OnCompletion => {
            drain(&mut *sender, Instant::now() + LONG).unwrap();
            assert!(Arc::get_mut(&mut message).is_some(), "{} keeps what was released", path.name);
        }
        Release::Never => assert!(!written, "{} gives a message back that is never released", path.name),
    }
    drop(pool);
    drop(sender);
    if path.release == Release::Never {
        assert!(Arc::get_mut(&mut message).is_none(), "{}: writable when its sender is gone", path.name);
    }
}

#[test]
fn what_was_sent_cannot_be_written_before_it_is_released() {
    available(&spec(16_384, false)).into_iter().for_each(attack);
}

#[test]
fn a_send_that_nobody_reads_keeps_its_message() {
    let mut references = 0;
    for path in available(&spec(1 << 20, false)) {
        let (mut sender, _peer, pool) = connected(path);
        drop(pool);
        let fitting = path.nearest(&spec(1 << 20, false)).unwrap();
        let message = Arc::new(Message::new(&fitting).unwrap());
        // Two fit into the largest send buffer, and not into the receiver's: some of it stays in the write queue.
        for _ in 0..2 {
            sender.send(&message).unwrap();
        }
        sender.flush().unwrap();
        // A path may decide to copy: the ledger says whether it did.
        let by_reference = path.release == Release::OnCompletion && sender.ledger().sends > 0;
        references += usize::from(by_reference);
        let kept = by_reference || path.release == Release::Never;
        assert_eq!(Arc::strong_count(&message) > 1, kept, "{}", path.name);
        let weak = Arc::downgrade(&message);
        drop((sender, message));
        assert_eq!(
            weak.upgrade().is_some(),
            kept,
            "{}: what is in flight is neither freed nor kept in vain",
            path.name
        );
    }
    let waiting = waiting().len();
    assert!(waiting == 0 || references > 0, "none of {waiting} paths sent by reference");
}
