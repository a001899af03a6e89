//! The io_uring paths: what they share. Each has a file of its own, with its copies.
//!
//! Order on the byte stream: [`CHAIN`] messages go in one request or in several, which are linked (IOSQE_IO_LINK), so that the kernel
//! begins one when the one before has sent all of its bytes; MSG_WAITALL makes the kernel itself go on after a partial
//! send; and a chain is submitted only when each request of the last one is over. Where a request falls short all the
//! same (a timeout, a signal, a refusal) the kernel ends those behind it with ECANCELED, and the next chain begins with
//! the remainder.
//!
//! One io_uring_enter(2) submits a chain and waits for its end, as a blocking sendmsg(2) would; so nothing of a
//! copying path is in flight when a call returns, and of the others only what the kernel holds by reference. Messages
//! wait in the sender until a chain is full or [`Sender::flush`] is called: that is the delay of these paths.

pub(super) mod fixed;
pub(super) mod send;
pub(super) mod sendmsg;
pub(super) mod sendzc;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use super::budget::pages_charged;
use super::{Budget, Ledger, Limits, Sender, Terms, Unsupported, stalled};
use crate::message::{FIELDS, Message};
use crate::sys::socket::Socket;
use crate::sys::uring::{self, After, Excerpt, JOINED, Operation, Operations, Refused, Seen, Sends};

/// Messages in flight at once: with four a system call is made for four messages.
pub const CHAIN: usize = 4;

/// The most requests in a chain: a path may need one for each field.
const REQUESTS: usize = CHAIN * FIELDS;

/// Requests whose memory the kernel may hold, beside those of the chain at hand: a send buffer of messages of 1 KiB.
/// With 128 of them everything in flight is less than two segments over loopback, whose acknowledgement the receiver
/// then delays by 40 ms.
const HELD: usize = 1024;

/// Completions that fit into the queue: a send buffer of small messages has more, but would crowd a cache. What does not
/// fit is fetched by a call.
const UNREAD: u32 = 1024;

/// Where the ring is charged to the user's locked memory (since Linux 6.14): so many that they lie on one page.
const UNREAD_WHERE_LOCKED: u32 = 128;

/// Pages that the user must be able to lock: rings are charged, those that are going away too, and pinned messages.
const LEAST_PAGES: u64 = 256;

/// After so many bytes by reference a packet ends with a message (MSG_EOR). Sends that share a packet have their
/// notifications linked, and linked ones are told together, when the last has been released (io_link_skb,
/// io_uring/notif.c): a send queue that never runs empty would tell nothing for ever. With 1 MiB in flight in messages
/// of 256 KiB (heap) the sender met its bound, and moved 2.2 GB/s instead of 4.5. The tail of a segment before a break is
/// a packet of its own, so that breaks cost: at 64 KiB (huge) 128, 256 and 512 KiB came to 0.61, 0.63 and 0.64 of
/// `onecopy`. MSG_ZEROCOPY has the same bound within the kernel, at 512 KiB (msg_zerocopy_realloc, net/core/skbuff.c).
const BREAK: usize = 256 << 10;

/// A sender at its bound waits this long for a release before it copies instead; see `zerocopy`.
const MOMENT: Duration = Duration::from_millis(1);

/// How long an aborted sender waits for packets that the network card has.
const LINGER: Duration = Duration::from_millis(100);

/// The wait on a socket without SO_SNDTIMEO.
const ENDLESS: Duration = Duration::from_secs(1 << 32);

/// A chain that is cancelled so often and does not end is given up.
const CANCELS: usize = 20;

/// Sends messages by chains of requests to the kernel.
#[derive(Debug)]
pub struct Uring {
    sends: Sends<Message, Part>,
    operation: Operation,
    budget: Budget,
    /// SO_SNDTIMEO: the end of every wait for the peer.
    stall: Duration,
    /// Messages that are not sent yet, and how much of the first one is.
    waiting: VecDeque<Arc<Message>>,
    sent: usize,
    /// So many messages are waited for.
    hold: usize,
    /// The requests of the chain in flight, in order.
    chain: ArrayVec<Link, REQUESTS>,
    in_flight: InFlight,
    /// What was in flight when the chain was begun.
    held_before: usize,
    /// Bytes sent by reference since the last break.
    unbroken: usize,
    /// When the one request was pushed whose notification is being timed: see `zerocopy`.
    timed: Option<Instant>,
    /// The last wait for a release was in vain.
    starved: bool,
    /// The connection was ended: what is completed now was never read by the peer.
    aborting: bool,
    ledger: Ledger,
}

/// What is known of a request while it is in flight.
#[derive(Debug, Clone, Copy)]
struct Part {
    bytes: u32,
    /// Its place in the chain.
    place: u16,
    by_reference: bool,
    timed: bool,
}

impl Part {
    /// Charged to the user's locked memory.
    fn pages(self) -> u64 {
        if self.by_reference { pages_charged(self.bytes as usize) } else { 0 }
    }
}

/// The first byte that is not yet in a request.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Of what waits.
    message: usize,
    byte: usize,
}

/// A request of the chain in flight.
#[derive(Debug, Clone, Copy)]
struct Link {
    bytes: usize,
    result: Option<Result<usize, i32>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct InFlight {
    requests: usize,
    bytes: usize,
    pages: u64,
    /// Requests that the ledger counts as sends.
    counted: u64,
}

/// How the next request may be made.
enum Room {
    ByReference(usize),
    /// Not now: what is in the chain goes first.
    AfterChain,
    CopyOnly,
}

impl Uring {
    fn open(socket: Socket, operation: Operation, terms: Terms) -> io::Result<Self> {
        let stall = socket.options().write_timeout()?.unwrap_or(ENDLESS);
        let locked = Limits::of_process().locked_pages;
        let unread = if locked.is_some() { UNREAD_WHERE_LOCKED } else { UNREAD };
        let sends = Sends::open(socket, REQUESTS as u16, (HELD + REQUESTS) as u16, unread)?;
        // Twice: the ring of the sender before may not be gone yet.
        let pages = terms.budget.pages.map(|pages| pages.saturating_sub(2 * sends.locked_pages()));
        Ok(Self {
            sends,
            operation,
            budget: Budget { pages, ..terms.budget },
            stall,
            waiting: VecDeque::with_capacity(CHAIN),
            sent: 0,
            hold: if terms.urgent { 1 } else { CHAIN },
            chain: ArrayVec::new(),
            in_flight: InFlight::default(),
            held_before: 0,
            unbroken: 0,
            timed: None,
            starved: false,
            aborting: false,
            ledger: Ledger::default(),
        })
    }

    fn by_reference(&self) -> bool {
        matches!(self.operation, Operation::SendMsgZc | Operation::SendZc)
    }

    /// Sends all that waits.
    fn send_waiting(&mut self) -> io::Result<()> {
        if self.sends.going() > 0 {
            return Err(io::Error::other("a request that was cancelled is still going"));
        }
        let mut copy = false;
        while !self.waiting.is_empty() {
            self.fill_chain(copy)?;
            let timed_out = self.run_chain()?;
            copy = self.settle(timed_out)?;
        }
        Ok(())
    }

    /// Pushes requests for what waits, from the front, as many as there is room for. With `copy` the first one alone, and it copies.
    fn fill_chain(&mut self, copy: bool) -> io::Result<()> {
        self.chain.clear();
        self.held_before = self.in_flight.bytes;
        let mut from = Position { message: 0, byte: self.sent };
        while !self.chain.is_full() && self.sends.room() > 0 {
            let left = self.left_for_one(from, copy);
            if left == 0 {
                break;
            }
            let (operation, bytes) = match self.room_for(left, copy)? {
                Room::AfterChain => break,
                Room::CopyOnly => (Operation::SendMsg, left),
                Room::ByReference(bytes) => self.cut(from, bytes),
            };
            from = self.push(operation, from, bytes)?;
            // Alone, so that no other refusal can end it.
            if copy {
                break;
            }
        }
        Ok(())
    }

    /// How many bytes from there on one request could take: those of a message, and by SENDMSG_ZC those of its successors
    /// too, as far as they end within [`BREAK`].
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

    /// The operation for the bytes from there on, and how many of `bytes` it can take.
    fn cut(&self, from: Position, bytes: usize) -> (Operation, usize) {
        let adjacent = self.waiting[from.message].adjacent(from.byte);
        match self.operation {
            Operation::Send => (Operation::Send, bytes.min(adjacent)),
            // A message of another layout than the one that was asked for.
            Operation::SendZc if adjacent < bytes => (Operation::SendMsgZc, bytes),
            operation => (operation, bytes),
        }
    }

    /// Pushes one request, and returns what follows its bytes.
    fn push(&mut self, operation: Operation, from: Position, bytes: usize) -> io::Result<Position> {
        let by_reference = matches!(operation, Operation::SendMsgZc | Operation::SendZc);
        let timed = by_reference && self.timed.is_none();
        // A request is 4 GiB at most, and a chain has few places.
        let part = Part { bytes: bytes as u32, place: self.chain.len() as u16, by_reference, timed };
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
            // Fields that go one by one are joined, or each would be a segment of its own.
            Operation::Send if at.byte > 0 => After::More,
            _ if at.byte == 0 && unbroken >= BREAK => After::Break,
            _ => After::Anything,
        };
        self.unbroken = if after == After::Break { 0 } else { unbroken };
        self.sends.push(operation, &excerpts, after, part).map_err(|refused| match refused {
            Refused::Full => io::Error::other("the ring is full although it has room"),
            Refused::Scattered => io::Error::other("the bytes of a request do not lie in one piece"),
        })?;
        if timed {
            self.timed = Some(Instant::now());
        }
        self.chain.push(Link { bytes, result: None });
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

    /// How a request for `left` bytes may be made.
    fn room_for(&mut self, left: usize, copy: bool) -> io::Result<Room> {
        if !self.by_reference() {
            return Ok(Room::ByReference(left));
        }
        let Some(longest) = self.budget.longest_call().filter(|_| !copy) else { return Ok(Room::CopyOnly) };
        let bytes = left.min(longest);
        while !self.fits(bytes) {
            if !self.chain.is_empty() {
                return Ok(Room::AfterChain);
            }
            if self.see()? > 0 {
                self.held_before = self.in_flight.bytes;
            } else {
                self.ledger.waits += 1;
                if !self.released_soon()? {
                    return Ok(Room::CopyOnly);
                }
                self.held_before = self.in_flight.bytes;
            }
        }
        Ok(Room::ByReference(bytes))
    }

    /// A sender with nothing in flight may always send: a message larger than the bound would wait for ever. The bytes
    /// bound what was in flight before the chain and not the chain, which ends only when the socket has taken it. Of
    /// the option memory io_uring needs nothing.
    fn fits(&self, bytes: usize) -> bool {
        let InFlight { requests, pages, .. } = self.in_flight;
        requests == 0
            || (self.held_before <= self.budget.bytes
                && requests < HELD
                && self.budget.pages.is_none_or(|most| pages + pages_charged(bytes) <= most))
    }

    /// Waits a moment for the kernel to release something. False: copying is the faster way on.
    fn released_soon(&mut self) -> io::Result<bool> {
        // Once it has waited in vain it copies without waiting, until something is released.
        let moment = if self.starved { Duration::ZERO } else { MOMENT };
        let released = match self.await_release(Instant::now() + moment) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => false,
            result => result?,
        };
        self.starved = !released;
        Ok(released)
    }

    /// Submits the chain, waits until each request is over, and cancels them when the peer takes too long. Whether it
    /// did.
    fn run_chain(&mut self) -> io::Result<bool> {
        let by = Instant::now().checked_add(self.stall);
        self.sends.submit(self.stall)?;
        self.see()?;
        while self.sends.going() > 0 {
            let left = by.map_or(self.stall, |by| by.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return self.cancel_chain().map(|()| true);
            }
            self.sends.wait(self.sends.going(), left)?;
            self.see()?;
        }
        Ok(false)
    }

    fn cancel_chain(&mut self) -> io::Result<()> {
        for _ in 0..CANCELS {
            self.sends.cancel()?;
            self.see()?;
            if self.sends.going() == 0 {
                return Ok(());
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the kernel does not give up a request that was cancelled",
        ))
    }

    /// Takes what the chain has sent off the front of what waits. True when the kernel refused the next request by
    /// reference, and copying it is the faster way on.
    fn settle(&mut self, timed_out: bool) -> io::Result<bool> {
        let mut progress = 0;
        let mut ended = None;
        let chain = std::mem::take(&mut self.chain);
        // A request that the kernel refuses before the chain begins ends those in front of it, too.
        let cause = chain.iter().find_map(|link| match link.result {
            Some(Err(errno)) if errno != libc::ECANCELED => Some(errno),
            _ => None,
        });
        for link in chain {
            let result = link.result.unwrap_or(Err(libc::ECANCELED));
            match (result, ended) {
                (Ok(bytes), None) => {
                    progress += bytes;
                    ended = (bytes < link.bytes).then_some(libc::ECANCELED);
                }
                (Err(_), None) => ended = Some(cause.unwrap_or(libc::ECANCELED)),
                (Ok(bytes @ 1..), Some(_)) => {
                    let told = format!("{bytes} bytes were sent behind a request that had fallen short");
                    return Err(io::Error::other(told));
                }
                (_, Some(_)) => {}
            }
        }
        self.advance(progress);
        match ended {
            None => Ok(false),
            Some(libc::ENOMEM | libc::ENOBUFS) if self.by_reference() => {
                self.ledger.enobufs += 1;
                Ok(!self.released_soon()?)
            }
            Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) if progress > 0 => Ok(false),
            Some(libc::EINTR) => Ok(false),
            Some(libc::ECANCELED) if timed_out => Err(stalled(io::Error::from_raw_os_error(libc::EAGAIN))),
            Some(errno) => Err(stalled(io::Error::from_raw_os_error(errno))),
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(left) = self.waiting.front().map(|message| message.size() - self.sent) {
            if bytes < left {
                break;
            }
            bytes -= left;
            self.sent = 0;
            self.waiting.pop_front();
        }
        self.sent += bytes;
    }

    /// Takes every completion that is there; returns how many requests released their memory.
    fn see(&mut self) -> io::Result<usize> {
        let before = self.in_flight.requests;
        loop {
            while let Some(seen) = self.sends.next_seen() {
                self.take(seen);
            }
            if !self.sends.fetch_overflow()? {
                return Ok(before - self.in_flight.requests);
            }
        }
    }

    fn take(&mut self, seen: Seen<Part>) {
        let part = match seen {
            Seen::Over { note, result, keeps } => {
                if let Some(link) = self.chain.get_mut(usize::from(note.place)) {
                    link.result = Some(result);
                }
                // An error can be followed by a release, too, but nothing was sent then.
                let counted = keeps && result.is_ok_and(|bytes| bytes > 0);
                if counted {
                    self.ledger.sends += 1;
                    self.in_flight.counted += 1;
                }
                if keeps {
                    return;
                }
                note
            }
            Seen::Released { note, sent, copied } => {
                if sent {
                    self.count_release(copied);
                }
                note
            }
        };
        self.in_flight.requests -= 1;
        self.in_flight.bytes -= part.bytes as usize;
        self.in_flight.pages -= part.pages();
        if part.timed
            && let Some(since) = self.timed.take()
            && !self.aborting
        {
            self.ledger.notification.record(since.elapsed());
        }
    }

    fn count_release(&mut self, copied: bool) {
        self.in_flight.counted -= 1;
        if self.aborting {
            self.ledger.aborted += 1;
        } else {
            self.ledger.completed += 1;
            self.ledger.doubtful += u64::from(copied);
        }
    }

    /// Waits until the kernel has released something. False: it holds nothing.
    fn await_release(&mut self, by: Instant) -> io::Result<bool> {
        loop {
            if self.in_flight.requests == 0 {
                return Ok(false);
            }
            if self.see()? > 0 {
                return Ok(true);
            }
            let left = by.saturating_duration_since(Instant::now());
            // Once more even if it is too late: completions are made when the kernel is entered.
            self.sends.wait(1, left)?;
            if self.see()? > 0 {
                return Ok(true);
            }
            if left.is_zero() {
                let held = self.in_flight.requests;
                let told = format!("the kernel still holds {held} sends: the peer did not read");
                return Err(io::Error::new(io::ErrorKind::TimedOut, told));
            }
        }
    }

    /// What the kernel still holds is leaked: freed or written again, it could still be sent.
    fn give_up(&mut self) {
        self.sends.give_up();
        self.ledger.undrained += self.in_flight.counted;
        self.in_flight = InFlight::default();
    }
}

impl Sender for Uring {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        self.waiting.push_back(Arc::clone(message));
        if self.waiting.len() < self.hold { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_waiting().inspect_err(|_| {
            // Part of a message may have been sent: nothing may follow it, and errors are told at once from now on.
            self.waiting.clear();
            self.sent = 0;
            self.hold = 1;
        })
    }

    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        if !self.waiting.is_empty() {
            self.flush()?;
            return Ok(true);
        }
        self.await_release(by)
    }

    fn abort(&mut self) {
        self.waiting.clear();
        self.hold = 1;
        // What is ready was completed in the ordinary way; only what the disconnect brings is aborted.
        let _ = self.see();
        self.aborting = true;
        if self.sends.socket().disconnect().is_ok() {
            let by = Instant::now() + LINGER;
            while matches!(self.await_release(by), Ok(true)) {}
        }
        self.give_up();
    }

    fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }
}

impl Drop for Uring {
    /// Does not wait: what the kernel has not released by now is leaked. Drain first, and abort if that fails.
    fn drop(&mut self) {
        let _ = self.see();
        self.give_up();
    }
}

/// What this kernel's io_uring knows, or why it cannot be had.
fn operations() -> Result<Operations, Unsupported> {
    uring::operations().map_err(Unsupported)
}

/// Whether the user may lock `pages` of memory and what a ring needs besides.
fn can_lock(pages: u64) -> Result<(), Unsupported> {
    match Limits::of_process().locked_pages {
        Some(limit) if limit < pages + LEAST_PAGES => {
            let (needs, has) = (4 * (pages + LEAST_PAGES), 4 * limit);
            Err(Unsupported(format!(
                "it needs {needs} KiB of locked memory at least, and the user may lock {has}: raise it by \
                 `prlimit --pid $$ --memlock=unlimited`, as root"
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::send::{Experience, drain};

    /// Messages of these sizes, sent within `budget`; the ledger, if all bytes came in order.
    fn sent(sizes: &[usize], budget: Budget) -> Option<Ledger> {
        if let Err(why) = (sendzc::PATH.probe)(&crate::message::Spec::new(1024).unwrap()) {
            eprintln!("skipped: {why}");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(listener.accept().unwrap().0);
        let messages: Vec<_> = (1..).zip(sizes).map(|(fill, size)| vec![fill; *size]).collect();
        let mut received = vec![0; sizes.iter().sum()];
        let reader = std::thread::spawn(move || client.read_exact(&mut received).map(|()| received).unwrap());
        let terms = Terms { urgent: false, budget, experience: Experience::new() };
        let mut sender = Uring::open(socket, Operation::SendMsgZc, terms).unwrap();
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
        // 160 KiB of which the rings take some.
        let bounded = sent(&sizes, Budget { pages: Some(40), ..Budget::unbounded() }).unwrap();
        assert!(bounded.sends + bounded.fallbacks > 2, "{bounded:?}");
    }
}
