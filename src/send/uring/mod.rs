//! The common part of the io_uring paths. Each path has its own file, which lists its copies.
//!
//! Order on the byte stream: [`CHAIN`] messages are sent by one request or by several linked ones
//! (IOSQE_IO_LINK). The kernel starts a linked request when the one before has sent all of its bytes, and
//! MSG_WAITALL makes it continue after a partial send. If a request still falls short (a timeout, a signal, a
//! refusal), the kernel ends those after it with ECANCELED, and the next chain starts with the rest.
//!
//! One io_uring_enter(2) submits a chain and waits for its end, as a blocking sendmsg(2) would. So when a
//! call returns, a copying path has nothing in flight, and the others only what the kernel holds by
//! reference. Messages wait in the sender until a chain is full or [`Sender::flush`] is called, which delays
//! them.

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

/// The number of messages in a chain: one system call sends four messages.
pub const CHAIN: usize = 4;

/// The most requests in a chain, because a path may need one for each field.
const REQUESTS: usize = CHAIN * FIELDS;

/// Requests whose memory the kernel may hold, in addition to the current chain: a send buffer of messages of
/// 1 KiB. docs/tuning.md, "Requests held", has the reason.
const HELD: usize = 1024;

/// Completions that fit into the queue. A send buffer of small messages has more, but a larger queue would
/// fill a cache. A call fetches the rest.
const UNREAD: u32 = 1024;

/// As [`UNREAD`], if the ring is charged to the user's locked memory (since Linux 6.14): as many as fit on
/// one page.
const UNREAD_WHERE_LOCKED: u32 = 128;

/// Pages that the user must be able to lock: for rings, including those that are being closed, and for pinned
/// messages.
const LEAST_PAGES: u64 = 256;

/// How long an aborted sender waits for packets that the network card holds.
const LINGER: Duration = Duration::from_millis(100);

/// The timeout on a socket without SO_SNDTIMEO.
const NO_TIMEOUT: Duration = Duration::from_secs(1 << 32);

/// Sends messages by chains of requests to the kernel.
#[derive(Debug)]
pub struct Uring {
    ring: SendRing<RequestInfo>,
    operation: Operation,
    budget: Budget,
    /// SO_SNDTIMEO: the timeout of every wait for the peer.
    stall: Duration,
    /// Messages that are not sent yet. The first `sent` bytes of the first one are.
    waiting: VecDeque<Arc<Message>>,
    sent: usize,
    /// How many messages make a chain.
    batch_size: usize,
    /// The requests of the chain in flight, in order.
    chain: ArrayVec<ChainLink, REQUESTS>,
    in_flight: InFlight,
    /// The bytes in flight when the chain was started.
    held_before: usize,
    /// Bytes sent by reference since the last break.
    unbroken: usize,
    /// When the request was pushed whose notification is being timed, as in `zerocopy`.
    timed: Option<Instant>,
    /// The last wait for a release was in vain.
    starved: bool,
    /// The connection was aborted, so the peer never read what is completed now.
    aborting: bool,
    ledger: Ledger,
}

/// What is stored with a request in flight.
#[derive(Debug, Clone, Copy)]
struct RequestInfo {
    bytes: u32,
    /// Its place in the chain.
    place: u16,
    by_reference: bool,
    timed: bool,
}

impl RequestInfo {
    /// Pages charged to the user's locked memory.
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
    fn open(socket: Socket, operation: Operation, config: SenderConfig) -> io::Result<Self> {
        let stall = socket.options().write_timeout()?.unwrap_or(NO_TIMEOUT);
        let locked = ZeroCopyLimits::of_process().locked_pages;
        let unread = if locked.is_some() { UNREAD_WHERE_LOCKED } else { UNREAD };
        let ring = SendRing::open(socket, REQUESTS as u16, (HELD + REQUESTS) as u16, unread)?;
        // Twice, because the ring of an earlier sender may still be open.
        let pages = config.budget.pages.map(|pages| pages.saturating_sub(2 * ring.locked_pages()));
        Ok(Self {
            ring,
            operation,
            budget: Budget { pages, ..config.budget },
            stall,
            waiting: VecDeque::with_capacity(CHAIN),
            sent: 0,
            batch_size: if config.urgent { 1 } else { CHAIN },
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

    /// Sends all waiting messages.
    fn send_waiting(&mut self) -> io::Result<()> {
        if self.ring.going() > 0 {
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
        if self.waiting.len() < self.batch_size { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_waiting().inspect_err(|_| {
            // Part of a message may have been sent, so nothing may follow it. From now on `send` reports
            // errors at once.
            self.waiting.clear();
            self.sent = 0;
            self.batch_size = 1;
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
        self.batch_size = 1;
        // Completions that are ready now do not count as aborted.
        let _ = self.read_completions();
        self.aborting = true;
        if self.ring.socket().disconnect().is_ok() {
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
    /// Does not wait: memory that the kernel has not released is leaked. Drain first, and abort if that
    /// fails.
    fn drop(&mut self) {
        let _ = self.read_completions();
        self.give_up();
    }
}

/// What this kernel's io_uring supports, or why it cannot be used.
fn operations() -> Result<Operations, Unsupported> {
    uring::operations().map_err(Unsupported)
}

/// Checks that the user may lock `pages` and the memory of a ring.
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
