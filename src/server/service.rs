//! What a server sends and to whom, and the news of each client's thread.

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::Sender;

use super::lock;
use crate::cgroup::throttle::Throttled;
use crate::connection::ConnectionOptions;
use crate::cost::meter::Spent;
use crate::cost::pollution::Walk;
use crate::cost::wire::Wire;
use crate::message::Spec;
use crate::placement::ThreadPlacement;
use crate::protocol::Ticket;
use crate::send::{Ledger, SendPath, SenderConfig};

/// What a server sends, and to whom.
#[derive(Debug)]
pub struct Service {
    /// How.
    pub path: &'static SendPath,
    /// What.
    pub spec: Spec,
    /// Rewrite every byte of a ring's messages, for a receiver that checks every byte.
    pub verify: bool,
    /// One seat for each client; their number is how many are let in.
    pub placements: Vec<ThreadPlacement>,
    /// What each sender is opened with.
    pub sender_config: SenderConfig,
    /// How many of the threads have their counters read: the first ones.
    pub counted_threads: usize,
    /// A table of so many bytes that each thread chases pointers through between messages.
    pub pollution_table: Option<usize>,
    /// A fault that is known, to check the instrument with: each thread counts so far for each message.
    #[doc(hidden)]
    pub idle_steps: u64,
    /// What lets a client in.
    pub ticket: Ticket,
    /// What its connections are made with.
    pub options: ConnectionOptions,
    /// How long the kernel may take to release everything at the end of a run.
    pub drain_timeout: Duration,
}

/// News of one client's thread.
#[derive(Debug)]
pub struct WorkerUpdate {
    /// The client's number.
    pub client: usize,
    /// What happened.
    pub event: WorkerEvent,
}

/// What happened to one client's thread.
#[derive(Debug)]
pub enum WorkerEvent {
    /// It is seated and waits for an ask.
    Ready {
        /// For the layout `huge`: the share of the messages' memory, 0 to 1, that lies on huge pages. Told by
        /// client 0 alone, because looking is slow and all clients ask the same kernel.
        huge_share: Option<f64>,
        /// The pointer chase before anything was sent, if one was asked for.
        idle_walk: Walk,
        /// Where in a page the first message begins.
        message_offset: Option<u16>,
    },
    /// A run is over.
    Report(Box<SenderReport>),
    /// It ended with an error.
    Failed(SenderFailure),
}

/// What one run cost the sender.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct SenderReport {
    /// Messages sent.
    pub messages: u64,
    /// System calls made to send them and to learn of their release.
    pub calls: u64,
    /// From the first ask to the end of the drain.
    pub spent: Spent,
    /// The shape on the wire; `None` where TCP_INFO could not be read.
    pub wire: Option<Wire>,
    /// The pointer chase between messages, if one was asked for.
    pub walk: Walk,
    /// What the kernel told.
    pub ledger: Ledger,
    /// How long the drain at the end took.
    pub drain: Duration,
    /// How often control groups stopped this process meanwhile. Told by client 0 alone, because all are in one process.
    #[serde(default)]
    pub throttled: Throttled,
}

/// Why a sender ended.
#[derive(Debug)]
pub struct SenderFailure {
    /// The error.
    pub error: io::Error,
    /// What the kernel had told by then.
    pub ledger: Ledger,
}

/// A service that is open to those who show its ticket.
pub(super) struct ActiveService {
    pub(super) service: Service,
    updates: Sender<WorkerUpdate>,
    /// Clients that were let in; each number once.
    admitted: Mutex<Vec<bool>>,
    /// Senders that are in a run.
    sending: AtomicUsize,
    /// They are to end after the message at hand.
    finishing: AtomicBool,
}

impl fmt::Debug for ActiveService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("service", &self.service).finish_non_exhaustive()
    }
}

impl ActiveService {
    pub(super) fn new(service: Service, news: Sender<WorkerUpdate>) -> Self {
        let admitted = Mutex::new(vec![false; service.placements.len()]);
        Self {
            service,
            updates: news,
            admitted,
            sending: AtomicUsize::new(0),
            finishing: AtomicBool::new(false),
        }
    }

    /// Has every sender end after the message at hand.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
    }

    /// Whether senders are to end.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// Whether any sender is in a run.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::SeqCst) > 0
    }

    /// A sender is in a run until what is returned is dropped.
    pub(super) fn sends(&self) -> SendingGuard<'_> {
        self.sending.fetch_add(1, Ordering::SeqCst);
        SendingGuard(&self.sending)
    }

    /// True once for each client number that has a seat.
    pub(super) fn admit(&self, client: usize) -> bool {
        let mut admitted = lock(&self.admitted);
        admitted.get_mut(client).is_some_and(|seen| !std::mem::replace(seen, true))
    }

    pub(super) fn report(&self, client: usize, told: WorkerEvent) {
        // Nobody listens any more when the owner is being dropped.
        let _ = self.updates.send(WorkerUpdate { client, event: told });
    }
}

/// A sender that is in a run.
pub(super) struct SendingGuard<'a>(&'a AtomicUsize);

impl Drop for SendingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
