//! What a server sends and to whom, and the reports of each client's thread.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::Sender;

use super::lock;
use crate::cgroup::throttle::Throttled;
use crate::connection::ConnectionOptions;
use crate::cost::class_times::ClassTimes;
use crate::cost::meter::Spent;
use crate::cost::pollution::Walk;
use crate::cost::wire::Wire;
use crate::message::Spec;
use crate::placement::ThreadPlacement;
use crate::protocol::Ticket;
use crate::send::{Ledger, SendPath, SenderConfig};
use crate::workload::{Deck, Workload};

/// What a server sends, and to which clients.
#[derive(Debug)]
pub struct Service {
    /// The send path.
    pub path: &'static SendPath,
    /// The messages; with a workload, what they have in common.
    pub spec: Spec,
    /// The sizes of the messages, if they are not all the same.
    pub workload: Option<Arc<Workload>>,
    /// Decides the order of the workload.
    pub deck_seed: u64,
    /// Whether to rewrite every byte of a ring's messages, for a receiver that checks every byte.
    pub verify: bool,
    /// One placement for each client. Their number is the number of clients.
    pub placements: Vec<ThreadPlacement>,
    /// The settings of each sender.
    pub sender_config: SenderConfig,
    /// How many of the threads, the first ones, have perf counters.
    pub counted_threads: usize,
    /// The size in bytes of a table through which each thread chases pointers between messages.
    pub pollution_table: Option<usize>,
    /// A known slow-down to test copycost with: each thread runs this many loop steps for each message.
    #[doc(hidden)]
    pub idle_steps: u64,
    /// A client must present it.
    pub ticket: Ticket,
    /// The options of its connections.
    pub options: ConnectionOptions,
    /// How long the kernel may take to release everything at the end of a run.
    pub drain_timeout: Duration,
}

impl Service {
    /// The deck of a client; `None` if all messages are the same.
    pub(super) fn deck(&self, client: usize) -> Option<Deck> {
        let workload = self.workload.as_ref()?;
        Some(Deck::new(workload, self.deck_seed, client, self.placements.len()))
    }
}

/// A report of one client's thread.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct WorkerUpdate {
    /// The client's number.
    pub client: usize,
    /// What happened.
    #[serde(rename = "told")]
    pub event: WorkerEvent,
}

/// What happened to one client's thread.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub enum WorkerEvent {
    /// It is ready and waits for a request.
    Ready {
        /// For the layout `huge`: the share of the messages' memory, 0 to 1, that is backed by huge pages.
        /// Only client 0 reports it, because reading it is slow and all clients have the same kernel.
        huge_share: Option<f64>,
        /// The pointer chase before anything was sent, if requested.
        idle_walk: Walk,
        /// The offset in a page at which the first message starts.
        #[serde(default)]
        message_offset: Option<u16>,
    },
    /// A run is over.
    Report(Box<SenderReport>),
    /// It ended with an error.
    Failed(SenderFailure),
}

/// The cost of one run at the sender.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct SenderReport {
    /// Messages sent.
    pub messages: u64,
    /// System calls to send them and to read completions.
    pub calls: u64,
    /// The cost from the first request to the end of the drain.
    pub spent: Spent,
    /// The segments on the wire; `None` if TCP_INFO could not be read.
    pub wire: Option<Wire>,
    /// The pointer chase between messages, if requested.
    pub walk: Walk,
    /// What the kernel reported.
    pub ledger: Ledger,
    /// How long the drain at the end took.
    pub drain: Duration,
    /// How often control groups stopped this process during the run. Only client 0 reports it, because all
    /// threads are in one process.
    #[serde(default)]
    pub throttled: Throttled,
    /// With a workload: the time in the calls, by group of classes.
    #[serde(default)]
    pub classes: ClassTimes,
}

/// Why a sender ended.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct SenderFailure {
    /// The error; between hosts its sentence.
    #[serde(with = "sentence")]
    pub error: io::Error,
    /// What the kernel had reported by then.
    pub ledger: Ledger,
}

/// An error as its sentence: its number means nothing on another host.
mod sentence {
    use std::io;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(error: &io::Error, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(error)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<io::Error, D::Error> {
        String::deserialize(deserializer).map(io::Error::other)
    }
}

/// A service that accepts connections with its ticket.
pub(super) struct ActiveService {
    pub(super) service: Service,
    updates: Sender<WorkerUpdate>,
    /// By client number: whether it was admitted. Each number is admitted once.
    admitted: Mutex<Vec<bool>>,
    /// Senders that are in a run.
    sending: AtomicUsize,
    /// Senders end after the current message.
    finishing: AtomicBool,
}

impl fmt::Debug for ActiveService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("service", &self.service).finish_non_exhaustive()
    }
}

impl ActiveService {
    pub(super) fn new(service: Service, updates: Sender<WorkerUpdate>) -> Self {
        let admitted = Mutex::new(vec![false; service.placements.len()]);
        Self { service, updates, admitted, sending: AtomicUsize::new(0), finishing: AtomicBool::new(false) }
    }

    /// Makes every sender end after its current message.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::SeqCst) > 0
    }

    /// Counts a sender as running until the guard is dropped.
    pub(super) fn begin_run(&self) -> SendingGuard<'_> {
        self.sending.fetch_add(1, Ordering::SeqCst);
        SendingGuard(&self.sending)
    }

    /// True once for each valid client number.
    pub(super) fn admit(&self, client: usize) -> bool {
        let mut admitted = lock(&self.admitted);
        admitted.get_mut(client).is_some_and(|seen| !std::mem::replace(seen, true))
    }

    pub(super) fn report(&self, client: usize, event: WorkerEvent) {
        // The receiver is gone when the owner is being dropped.
        let _ = self.updates.send(WorkerUpdate { client, event });
    }
}

/// Counts a sender as running.
pub(super) struct SendingGuard<'a>(&'a AtomicUsize);

impl Drop for SendingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
