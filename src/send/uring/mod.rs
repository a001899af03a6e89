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

mod outcome;
mod release;
mod requests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use super::budget::pages_charged;
use super::{Budget, Ledger, Sender, SenderConfig, Unsupported, ZeroCopyLimits};
use crate::message::{FIELDS, Message};
use crate::sys::socket::Socket;
use crate::sys::uring::{self, Operation, Operations, SendRing};

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

/// How long an aborted sender waits for packets that the network card has.
const LINGER: Duration = Duration::from_millis(100);

/// The wait on a socket without SO_SNDTIMEO.
const ENDLESS: Duration = Duration::from_secs(1 << 32);

/// Sends messages by chains of requests to the kernel.
#[derive(Debug)]
pub struct Uring {
    sends: SendRing<RequestInfo>,
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
    chain: ArrayVec<ChainLink, REQUESTS>,
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
struct RequestInfo {
    bytes: u32,
    /// Its place in the chain.
    place: u16,
    by_reference: bool,
    timed: bool,
}

impl RequestInfo {
    /// Charged to the user's locked memory.
    fn pages(self) -> u64 {
        if self.by_reference { pages_charged(self.bytes as usize) } else { 0 }
    }
}

/// A request of the chain in flight.
#[derive(Debug, Clone, Copy)]
struct ChainLink {
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

impl Uring {
    fn open(socket: Socket, operation: Operation, terms: SenderConfig) -> io::Result<Self> {
        let stall = socket.options().write_timeout()?.unwrap_or(ENDLESS);
        let locked = ZeroCopyLimits::of_process().locked_pages;
        let unread = if locked.is_some() { UNREAD_WHERE_LOCKED } else { UNREAD };
        let sends = SendRing::open(socket, REQUESTS as u16, (HELD + REQUESTS) as u16, unread)?;
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
            return Err(io::Error::other("a cancelled request is still in progress"));
        }
        let mut copy = false;
        while !self.waiting.is_empty() {
            self.fill_chain(copy)?;
            let timed_out = self.run_chain()?;
            copy = self.settle(timed_out)?;
        }
        Ok(())
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
    match ZeroCopyLimits::of_process().locked_pages {
        Some(limit) if limit < pages + LEAST_PAGES => {
            let (needs, has) = (4 * (pages + LEAST_PAGES), 4 * limit);
            Err(Unsupported(format!(
                "it needs at least {needs} KiB of locked memory, but the memory-lock limit is {has} KiB: run \
                 `prlimit --pid $$ --memlock=unlimited` as root"
            )))
        }
        _ => Ok(()),
    }
}
