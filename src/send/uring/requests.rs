//! Fills a chain with requests: which bytes, by reference or copied, and what may follow them.

use std::io;
use std::time::Instant;

use arrayvec::ArrayVec;

use super::{ChainLink, HELD, InFlight, RequestInfo, Uring};
use crate::send::budget::pages_charged;
use crate::sys::uring::{After, Excerpt, JOINED, Operation, RequestRefused};

/// After this many bytes by reference the current packet ends with the message (MSG_EOR). The kernel links
/// the notifications of sends that share a packet and reports them together, so without breaks a queue that
/// never runs empty reports nothing (io_link_skb, io_uring/notif.c). docs/tuning.md, "The break between
/// packets", has the measurements.
const BREAK: usize = 256 << 10;

/// The first byte that is not in a request yet.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The index in the waiting messages.
    message: usize,
    byte: usize,
}

/// How the next request may send its bytes.
enum RequestRoom {
    ByReference(usize),
    /// Not now: the current chain must be sent first.
    AfterChain,
    CopyOnly,
}

impl Uring {
    /// Pushes requests for the waiting messages, as many as there is room for. With `copy` it pushes one
    /// request, which copies.
    pub(super) fn fill_chain(&mut self, copy: bool) -> io::Result<()> {
        self.chain.clear();
        self.held_before = self.in_flight.bytes;
        let mut from = Position { message: 0, byte: self.sent };
        while !self.chain.is_full() && self.ring.room() > 0 {
            let left = self.left_for_one(from, copy);
            if left == 0 {
                break;
            }
            let (operation, bytes) = match self.room_for(left, copy)? {
                RequestRoom::AfterChain => break,
                RequestRoom::CopyOnly => (Operation::SendMsg, left),
                RequestRoom::ByReference(bytes) => self.cut(from, bytes),
            };
            from = self.push(operation, from, bytes)?;
            // A single request, so that no other refusal can end it.
            if copy {
                break;
            }
        }
        Ok(())
    }

    /// How many bytes one request could take from `from` on: the rest of the message and, with SENDMSG_ZC,
    /// the next messages, if they end within [`BREAK`].
    fn left_for_one(&self, from: Position, copy: bool) -> usize {
        let joins = self.operation == Operation::SendMsgZc && !copy;
        let mut left = 0;
        for message in self.waiting.iter().skip(from.message).take(if joins { JOINED } else { 1 }) {
            let more = if left == 0 { message.size() - from.byte } else { message.size() };
            if left > 0 && left + more > BREAK {
                break;
            }
            left += more;
        }
        left
    }

    /// The operation for the bytes from `from` on, and how many of `bytes` it can take.
    fn cut(&self, from: Position, bytes: usize) -> (Operation, usize) {
        let adjacent = || self.waiting[from.message].adjacent(from.byte);
        match self.operation {
            Operation::Send => (Operation::Send, bytes.min(adjacent())),
            // The message does not have the expected layout.
            Operation::SendZc if adjacent() < bytes => (Operation::SendMsgZc, bytes),
            operation => (operation, bytes),
        }
    }

    /// Pushes one request and returns the position after its bytes.
    fn push(&mut self, operation: Operation, from: Position, bytes: usize) -> io::Result<Position> {
        let by_reference = matches!(operation, Operation::SendMsgZc | Operation::SendZc);
        let timed = by_reference && self.timed.is_none();
        // The casts keep the values: a message is at most 1 GiB, messages that share a request are shorter,
        // and a chain has few places.
        let part = RequestInfo { bytes: bytes as u32, place: self.chain.len() as u16, by_reference, timed };
        let mut excerpts = ArrayVec::<_, JOINED>::new();
        let (mut at, mut left) = (from, bytes);
        while left > 0 {
            let of = &self.waiting[at.message];
            let end = of.size().min(at.byte + left);
            excerpts.push(Excerpt { of, range: at.byte..end });
            left -= end - at.byte;
            at = if end == of.size() {
                Position { message: at.message + 1, byte: 0 }
            } else {
                Position { byte: end, ..at }
            };
        }
        let unbroken = if by_reference { self.unbroken + bytes } else { 0 };
        let after = match operation {
            // MSG_MORE joins fields that are sent one by one, because otherwise each would be a segment.
            Operation::Send if at.byte > 0 => After::More,
            _ if at.byte == 0 && unbroken >= BREAK => After::Break,
            _ => After::Anything,
        };
        self.unbroken = if after == After::Break { 0 } else { unbroken };
        self.ring.push(operation, &excerpts, after, part).map_err(|refused| match refused {
            RequestRefused::Full => io::Error::other("the ring refuses a request although it has room"),
            RequestRefused::Broken => io::Error::other("the ring has failed before and sends nothing more"),
            RequestRefused::Scattered => io::Error::other("the bytes of a request are not contiguous"),
        })?;
        if timed {
            self.timed = Some(Instant::now());
        }
        self.chain.push(ChainLink { bytes, result: None });
        self.in_flight.requests += 1;
        self.in_flight.bytes += bytes;
        self.in_flight.pages += part.pages();
        if by_reference {
            let peak = &mut self.ledger.peak_in_flight_bytes;
            *peak = (*peak).max(self.in_flight.bytes as u64);
        } else if self.by_reference() {
            self.ledger.fallbacks += 1;
        }
        Ok(at)
    }

    /// How a request for `left` bytes may send them.
    fn room_for(&mut self, left: usize, copy: bool) -> io::Result<RequestRoom> {
        if !self.by_reference() {
            return Ok(RequestRoom::ByReference(left));
        }
        let Some(longest) = self.budget.longest_call().filter(|_| !copy) else {
            return Ok(RequestRoom::CopyOnly);
        };
        let bytes = left.min(longest);
        while !self.fits(bytes) {
            if !self.chain.is_empty() {
                return Ok(RequestRoom::AfterChain);
            }
            if self.read_completions()? > 0 {
                self.held_before = self.in_flight.bytes;
            } else {
                self.ledger.waits += 1;
                if !self.released_soon()? {
                    return Ok(RequestRoom::CopyOnly);
                }
                self.held_before = self.in_flight.bytes;
            }
        }
        Ok(RequestRoom::ByReference(bytes))
    }

    /// Whether a request by reference fits the budget. A sender with nothing in flight may always send,
    /// because a message larger than the budget would wait forever. The byte limit is for what was in flight
    /// before the chain, which ends only when the socket has taken it. io_uring needs no option memory.
    fn fits(&self, bytes: usize) -> bool {
        let InFlight { requests, pages, .. } = self.in_flight;
        requests == 0
            || (self.held_before <= self.budget.bytes
                && requests < HELD
                && self.budget.pages.is_none_or(|most| pages + pages_charged(bytes) <= most))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{CHAIN, sendzc};
    use super::*;
    use crate::message::{Message, Spec};
    use crate::send::{Budget, Ledger, Sender as _, SenderConfig, drain};
    use crate::sys::socket::Socket;
    use crate::test_rules::{skip, take_turn_with_locked_memory};

    /// A connection, if io_uring can send by reference.
    fn connected() -> Option<(Socket, TcpStream)> {
        take_turn_with_locked_memory();
        if let Err(why) = (sendzc::PATH.probe)(&Spec::new(1024).unwrap()) {
            skip(&format!("{}: {why}", sendzc::PATH.name));
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Some((Socket::from(listener.accept().unwrap().0), client))
    }

    /// Sends messages of these sizes within `budget` and returns the ledger, if all bytes arrived in order.
    fn sent(sizes: &[usize], budget: Budget) -> Option<Ledger> {
        let (socket, mut client) = connected()?;
        let messages: Vec<_> = (1..).zip(sizes).map(|(fill, size)| vec![fill; *size]).collect();
        let mut received = vec![0; sizes.iter().sum()];
        let read = move || client.read_exact(&mut received).map(|()| received).unwrap();
        let reader = std::thread::Builder::new().spawn(read).unwrap();
        let config = SenderConfig::within(budget);
        let mut sender = Uring::open(socket, Operation::SendMsgZc, config).unwrap();
        for message in &messages {
            sender.send(&Arc::new(Message::from_bytes(message.clone()))).unwrap();
        }
        drain(&mut sender, Instant::now() + Duration::from_secs(10)).unwrap();
        assert_eq!(reader.join().unwrap(), messages.concat());
        Some(sender.ledger())
    }

    #[test]
    fn messages_share_a_request_up_to_the_break() {
        let requests = |sizes: &[usize]| sent(sizes, Budget::unbounded()).map(|ledger| ledger.sends);
        let Some(one) = requests(&[1000; CHAIN]) else { return };
        assert_eq!(one, 1);
        assert_eq!(requests(&[BREAK / 4; 2 * CHAIN]), Some(2));
        assert_eq!(requests(&[BREAK / 2, BREAK / 2, 1, BREAK]), Some(3));
        assert_eq!(requests(&[0, 5000, 0, 7, 3 * BREAK, 0]), Some(2));
    }

    #[test]
    fn a_request_ends_where_the_budget_does() {
        let sizes = [40_000, 1, 40_000, 40_000, 70_000];
        let Some(unbounded) = sent(&sizes, Budget::unbounded()) else { return };
        assert_eq!(unbounded.sends, 2);
        // 160 KiB, of which the rings take some.
        let bounded = sent(&sizes, Budget { pages: Some(40), ..Budget::unbounded() }).unwrap();
        assert!(bounded.sends + bounded.fallbacks > 2, "{bounded:?}");
    }

    #[test]
    fn a_chain_that_is_cut_continues_with_the_rest() {
        // The second message fills the socket, and none shares its request. Those of two operations fit in
        // the 8 MiB that a user may lock, because the kernel releases the memory of the one before only after
        // a while.
        const SIZES: [usize; CHAIN] = [BREAK, 2 << 20, BREAK, BREAK];
        for operation in [Operation::SendMsgZc, Operation::SendZc, Operation::SendMsg, Operation::Send] {
            let Some((socket, mut client)) = connected() else { return };
            socket.options().set_send_buffer_size(BREAK).unwrap();
            let mut sender =
                Uring::open(socket, operation, SenderConfig::within(Budget::unbounded())).unwrap();
            let messages: Vec<_> = (1..).zip(SIZES).map(|(fill, size)| vec![fill; size]).collect();
            let wrap = |message: &Vec<u8>| Arc::new(Message::from_bytes(message.clone()));
            sender.waiting.extend(messages.iter().map(wrap));
            sender.stall = Duration::from_millis(50);
            sender.fill_chain(false).unwrap();
            assert!(sender.run_chain().unwrap(), "nobody reads: it is cancelled");
            assert!(!sender.settle(true).unwrap());
            assert_eq!(sender.waiting.len(), CHAIN - 1);
            sender.stall = Duration::from_secs(10);
            let mut received = vec![0; SIZES.iter().sum()];
            let read = move || client.read_exact(&mut received).map(|()| received).unwrap();
            let reader = std::thread::Builder::new().spawn(read).unwrap();
            sender.flush().unwrap();
            drain(&mut sender, Instant::now() + Duration::from_secs(10)).unwrap();
            assert!(reader.join().unwrap() == messages.concat(), "{operation:?}: garbled");
            let Ledger { sends, completed, undrained: 0, .. } = sender.ledger() else {
                panic!("all is drained")
            };
            assert_eq!((sends, completed), if sender.by_reference() { (5, 5) } else { (0, 0) });
        }
    }
}
