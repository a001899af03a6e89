//! `hybrid`: of one message the small fields are copied and the large ones go by MSG_ZEROCOPY.
//!
//! The copies: (1) `sendmsg()` copies small fields from user memory into socket buffers, with MSG_MORE where a large one
//! follows; (2) `sendmsg(MSG_ZEROCOPY)` queues references to the pages of the large ones, without a copy; where the
//! packets are received on the same machine the kernel copies those after all, as it does for `zerocopy`; (3) the
//! receiver's `recv()` copies once more.
//!
//! To pin a page and to be notified costs the same for 32 bytes as for 4 KiB, so a header does better copied, even where
//! its body does not (Documentation/networking/msg_zerocopy.rst, "mixing"). Fields are sent in their order, neighbours
//! of one kind by one call. A message whose fields are all small is sent as `onecopy` sends it, and not held.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use zerosend::{Payload, Segment};

use super::{Budget, Ledger, Release, SendPath, Sender, ZeroCopy, zero_copy};
use crate::message::Message;
use crate::sys::socket::Socket;

pub(super) const PATH: SendPath = SendPath {
    name: "hybrid",
    about: "small fields copied, large ones MSG_ZEROCOPY, in order: copies as onecopy or zerocopy, field by field",
    also: &[],
    release: Release::OnCompletion,
    delays: false,
    probe: zero_copy::has_zero_copy,
    open: |socket, _, terms| Ok(Box::new(Hybrid::new(socket, terms.budget)?)),
};

/// Copies small fields and sends large ones by reference.
#[derive(Debug)]
pub struct Hybrid {
    inner: ZeroCopy,
}

impl Hybrid {
    /// A field is large from so many bytes on. Where nothing is copied after all (`copycost run --over lab -p
    /// onecopy,zerocopy --fields single --layout arena`) a field of 8 KiB by reference costs the sender 1.24 of what the copy
    /// costs hot and 0.82 cold, one of 16 KiB 0.98 and 0.68, one of 32 KiB 0.80 and 0.58.
    pub const LARGE: usize = 16 << 10;

    /// A sender on a connected socket; sets SO_ZEROCOPY.
    pub fn new(socket: Socket, budget: Budget) -> io::Result<Self> {
        Ok(Self { inner: ZeroCopy::new(socket, budget)? })
    }
}

/// Whether a field goes by reference.
pub(super) fn is_large(field: &IoSlice<'_>) -> bool {
    field.len() >= Hybrid::LARGE
}

/// A message as a payload in which each field goes the way of its size; neighbours of one kind are one segment.
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

    /// What becomes of one message: by reference, by copy, and in how many calls.
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
    fn each_field_goes_the_way_of_its_size() {
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
