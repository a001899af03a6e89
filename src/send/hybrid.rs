//! `hybrid`: copies the small fields of a message and sends the large ones by MSG_ZEROCOPY.
//!
//! The copies: (1) `sendmsg()` copies small fields from user memory into socket buffers, with MSG_MORE if a
//! large one follows; (2) `sendmsg(MSG_ZEROCOPY)` queues references to the pages of the large ones without a
//! copy, but if the receiver is on the same machine, the kernel copies them later, as for `zerocopy`; (3) the
//! receiver's `recv()` copies once more.
//!
//! To pin a page and to send a notification costs the same for 32 bytes as for 4 KiB, so a small header is
//! cheaper to copy (Documentation/networking/msg_zerocopy.rst, "mixing"). Fields keep their order, and
//! adjacent fields of one kind share a call. A message with only small fields is sent as `onecopy` sends it
//! and is not held.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use zerosend::{Payload, Segment};

use super::{Budget, Ledger, Release, SendPath, Sender, ZeroCopy, zero_copy};
use crate::message::Message;
use crate::sys::socket::Socket;

pub(super) const PATH: SendPath = SendPath {
    name: "hybrid",
    description: "small fields copied, large ones MSG_ZEROCOPY, in order: copies as onecopy or zerocopy, field by field",
    aliases: &[],
    release: Release::OnCompletion,
    delays: false,
    probe: zero_copy::has_zero_copy,
    open: |socket, _, config| Ok(Box::new(Hybrid::new(socket, config.budget)?)),
};

/// Copies small fields and sends large ones by reference.
#[derive(Debug)]
pub struct Hybrid {
    inner: ZeroCopy,
}

impl Hybrid {
    /// A field is large from this many bytes on: see docs/tuning.md, "`hybrid`".
    pub const LARGE: usize = 16 << 10;

    /// A sender on a connected socket. Sets SO_ZEROCOPY.
    pub fn new(socket: Socket, budget: Budget) -> io::Result<Self> {
        Ok(Self { inner: ZeroCopy::new(socket, budget)? })
    }
}

/// Whether a field is sent by reference.
pub(super) fn is_large(field: &IoSlice<'_>) -> bool {
    field.len() >= Hybrid::LARGE
}

/// The payload of a message, in which adjacent fields of one kind are one segment.
fn divided(message: &Arc<Message>) -> Payload {
    let (mut payload, mut left, mut at) = (Payload::new(), message.slices(), 0);
    while let Some(first) = left.first() {
        let alike = left.iter().take_while(|field| is_large(field) == is_large(first)).count();
        let (run, after) = left.split_at(alike);
        let bytes: usize = run.iter().map(|field| field.len()).sum();
        let segment = Segment::from(zero_copy::memory(message)).range(at..at + bytes);
        if is_large(first) {
            payload.push_reference(segment);
        } else {
            payload.push_copy(segment);
        }
        (left, at) = (after, at + bytes);
    }
    payload
}

impl Sender for Hybrid {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        self.inner.send_payload(divided(message))
    }

    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        self.inner.reap(by)
    }

    fn abort(&mut self) {
        self.inner.abort();
    }

    fn ledger(&self) -> Ledger {
        self.inner.ledger()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::message::{Fields, Spec};
    use crate::send::drain;

    /// How one message is sent: the calls by reference, the copied parts and all calls.
    fn sent(fields: Fields, size: usize) -> (u64, u64, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(listener.accept().unwrap().0);
        let calls = socket.calls();
        let mut sender = Hybrid::new(socket, Budget::unbounded()).unwrap();
        let message = Arc::new(Message::new(&Spec { fields, ..Spec::new(size).unwrap() }).unwrap());
        let read = move || {
            let mut received = vec![0; size];
            client.read_exact(&mut received).unwrap();
            received
        };
        let reader = std::thread::Builder::new().spawn(read).unwrap();
        sender.send(&message).unwrap();
        let made = calls.get();
        let expected: Vec<u8> = message.slices().iter().flat_map(|field| field.to_vec()).collect();
        assert!(reader.join().unwrap() == expected);
        drain(&mut sender, Instant::now() + Duration::from_secs(20)).unwrap();
        let ledger = sender.ledger();
        assert_eq!(ledger.completed, ledger.sends);
        (ledger.sends, ledger.plain, made)
    }

    #[test]
    fn the_size_of_a_field_decides_how_it_is_sent() {
        const LARGE: usize = Hybrid::LARGE;
        assert_eq!(
            sent(Fields::Headed, 7 * 32 + LARGE),
            (1, 1, 2),
            "seven headers in one call, then the body"
        );
        assert_eq!(sent(Fields::Headed, 7 * 32 + LARGE - 1), (0, 1, 1), "all of it small");
        assert_eq!(sent(Fields::Even, 8 * LARGE), (1, 0, 1), "all of it large");
        assert_eq!(sent(Fields::Even, 8 * LARGE - 4), (1, 1, 2), "four large ones, then four small ones");
        assert_eq!(sent(Fields::Single, LARGE), (1, 0, 1));
    }
}
