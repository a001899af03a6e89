//! What the generator and the clients share in a run with an open loop.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam::utils::CachePadded;

/// How far the generator and the clients are.
#[derive(Debug)]
pub(super) struct Progress {
    /// Clients that are ready to receive.
    ready: AtomicUsize,
    /// Due times count from here. It is set when all clients are ready and before the first request.
    start: OnceLock<Instant>,
    /// By client: the messages received.
    received: Vec<CachePadded<AtomicU64>>,
    /// By client: if the generator stops early, the number of all its messages including one that closes the run.
    /// It is set before that message is asked for.
    closed_by: Vec<AtomicU64>,
    /// The run has failed.
    abandoned: AtomicBool,
}

/// A run that does not end early.
const NOT_CLOSED: u64 = u64::MAX;

impl Progress {
    /// The state before a run of `clients` clients.
    pub(super) fn new(clients: usize) -> Self {
        Self {
            ready: AtomicUsize::new(0),
            start: OnceLock::new(),
            received: (0..clients).map(|_| CachePadded::default()).collect(),
            closed_by: (0..clients).map(|_| AtomicU64::new(NOT_CLOSED)).collect(),
            abandoned: AtomicBool::new(false),
        }
    }

    /// The number of clients.
    pub(super) fn clients(&self) -> usize {
        self.received.len()
    }

    /// Notes that one more client is ready to receive.
    pub(super) fn add_ready(&self) {
        self.ready.fetch_add(1, Ordering::Release);
    }

    /// Whether all clients are ready.
    pub(super) fn all_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) == self.clients()
    }

    /// Starts the run: due times count from the returned instant.
    pub(super) fn begin(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// When the run started; `None` before.
    pub(super) fn start(&self) -> Option<Instant> {
        self.start.get().copied()
    }

    /// The messages that a client has received.
    pub(super) fn received(&self, client: usize) -> u64 {
        self.received[client].load(Ordering::Relaxed)
    }

    /// Sets the messages that a client has received.
    pub(super) fn set_received(&self, client: usize, messages: u64) {
        self.received[client].store(messages, Ordering::Relaxed);
    }

    /// Ends the run of a client early, with this number of messages. Call it before the last one is asked for.
    pub(super) fn close(&self, client: usize, messages: u64) {
        self.closed_by[client].store(messages, Ordering::Release);
    }

    /// Whether message number `messages`, from 1, ends the run of a client early. Call it when that message has
    /// arrived.
    pub(super) fn is_closed_by(&self, client: usize, messages: u64) -> bool {
        self.closed_by[client].load(Ordering::Acquire) == messages
    }

    /// Ends the run, because it has failed.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether the run has failed.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}
