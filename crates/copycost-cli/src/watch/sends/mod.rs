//! How processes send: the tracepoint `sock:sock_send_length`, recorded in short bursts.
//!
//! The event fires at the end of every send on a socket, by whatever call, with the bytes that the socket accepted
//! (Linux 6.3 and later). Its call chain names the call. Recording an event costs the process some microseconds, so events
//! are recorded in bursts at random times: fixed ones could fall in step with the server's own timers.
//!
//! - [`tracefs`]: the number and the fields of an event
//! - [`rings`]: events of all threads, in a ring for each CPU; new threads and children inherit them
//! - [`kind`]: the call, from its chain
//! - [`tally`]: what was seen of each call
//! - [`bursts`]: when to record
//! - here: the recording

pub mod bursts;
pub mod kind;
pub mod rings;
pub mod tally;
pub mod tracefs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::bursts::Bursts;
use self::kind::SendKind;
use self::rings::{Rings, SendEvent};
use self::tally::Tally;
use self::tracefs::{EventFormat, Tracefs};
use super::processes::Processes;
use crate::profile::symbols::Symbols;
use copycost::cost::Missing;

/// Why sends cannot be seen: a sentence that says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// There is no list of tracepoints.
    #[error("tracefs is not mounted: mount -t tracefs nodev /sys/kernel/tracing")]
    NoTracefs,
    /// The list cannot be read.
    #[error("{} cannot be read ({error}): run as root, or let a group read it (mount -o remount,gid=…,mode=750)", path.display())]
    Unreadable {
        /// Where tracefs is mounted.
        path: PathBuf,
        /// The system's message.
        error: String,
    },
    /// The kernel is too old.
    #[error("this kernel has no tracepoint {name}: Linux 6.3 and later have it")]
    NoTracepoint {
        /// Its name.
        name: &'static str,
    },
    /// Perf events are refused.
    #[error("{0}")]
    Refused(Missing),
}

/// The tracepoint.
const EVENT: &str = "sock/sock_send_length";

/// The most sends that a trace holds.
const LONGEST_TRACE: usize = 1_000_000;

/// The most connections that are told apart.
const MOST_CONNECTIONS: usize = 65_536;

/// One send of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedSend {
    /// The bytes that the socket accepted.
    pub bytes: u32,
    /// The connection, numbered by its first send.
    pub connection: u32,
    /// Since the first send, in ns.
    pub at: u64,
    /// The call.
    pub kind: SendKind,
}

/// What was seen of the sends.
#[derive(Debug, Default)]
pub struct SeenSends {
    /// By call.
    pub kinds: BTreeMap<SendKind, Tally>,
    /// The length of each burst.
    pub bursts: Vec<Duration>,
    /// Events that were lost for want of room in a ring.
    pub lost: u64,
    /// Connections that sent, as far as they are told apart.
    pub connections: usize,
    /// Threads whose events could not be opened: too many open files.
    pub left_out: usize,
    /// The sends in order; empty unless they were asked for.
    pub trace: Vec<TracedSend>,
    /// Whether the trace ended because it was full.
    pub trace_full: bool,
}

impl SeenSends {
    /// How long sends were recorded.
    pub fn recorded(&self) -> Duration {
        self.bursts.iter().sum()
    }

    /// The sends of all calls.
    pub fn sends(&self) -> u64 {
        self.kinds.values().map(|tally| tally.calls).sum()
    }
}

/// Records the sends of threads.
pub struct SendRecorder {
    rings: Rings,
    format: EventFormat,
    bursts: Bursts,
    seen: SeenSends,
    connections: BTreeMap<u64, u32>,
    /// Names of the kernel functions in call chains, each looked up once.
    kinds: BTreeMap<Vec<u64>, SendKind>,
    first: Option<u64>,
    traces: bool,
    /// In a full recording: until when it was read.
    enabled_since: Option<Instant>,
}

impl SendRecorder {
    /// A recorder without threads. With `traces` it keeps the sends in order; with `full` it records all the time.
    ///
    /// # Errors
    /// What is missing, and what to set.
    pub fn open(seed: u64, traces: bool, full: bool) -> Result<Self, Unseen> {
        let format = Tracefs::find()?.event(EVENT)?;
        let rings = Rings::open(&format)?;
        Ok(Self {
            rings,
            format,
            bursts: Bursts::new(seed, full),
            seen: SeenSends::default(),
            connections: BTreeMap::new(),
            kinds: BTreeMap::new(),
            first: None,
            traces,
            enabled_since: None,
        })
    }

    /// Takes in threads that do not inherit the events of others.
    ///
    /// # Errors
    /// The first thread cannot be recorded: what is missing, and what to set.
    pub fn attach(&mut self, processes: &mut Processes) -> Result<(), Unseen> {
        self.seen.left_out = self.rings.attach(processes)?;
        Ok(())
    }

    /// Waits for `time` and records in it, as the bursts say.
    pub fn record(&mut self, time: Duration, symbols: &Symbols) {
        let until = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now >= until {
                return;
            }
            let (pause, burst) = self.bursts.draw();
            if now + pause >= until {
                std::thread::sleep(until - now);
                return;
            }
            std::thread::sleep(pause);
            self.burst(burst, symbols);
        }
    }

    fn burst(&mut self, length: Duration, symbols: &Symbols) {
        self.rings.enable();
        let began = self.enabled_since.take().unwrap_or_else(Instant::now);
        std::thread::sleep(length);
        if self.bursts.is_full() {
            // The events stay enabled while they are read, so that none is missed.
            self.enabled_since = Some(Instant::now());
        } else {
            self.rings.disable();
        }
        let length = self.enabled_since.unwrap_or_else(Instant::now) - began;
        let mut events: Vec<SendEvent> = Vec::new();
        self.seen.lost += self.rings.take(&self.format, &mut |event| events.push(event));
        // Each ring is in order, but a thread may move from CPU to CPU.
        events.sort_by_key(|event| event.at);
        self.bursts.saw(events.len(), length);
        self.seen.bursts.push(length);
        let number = self.seen.bursts.len() - 1;
        for event in events {
            self.count(&event, number, symbols);
        }
    }

    fn count(&mut self, event: &SendEvent, burst: usize, symbols: &Symbols) {
        let kind = *self
            .kinds
            .entry(event.chain.clone())
            .or_insert_with(|| SendKind::of(event.chain.iter().map(|at| symbols.name(*at).unwrap_or("?"))));
        if self.kinds.len() > MOST_CHAINS {
            self.kinds.clear();
        }
        let tally = self.seen.kinds.entry(kind).or_default();
        let Ok(bytes) = u32::try_from(event.result) else {
            tally.refuse(event.result);
            return;
        };
        tally.add(bytes, burst);
        let next = self.connections.len() as u32;
        let connection = match self.connections.len() < MOST_CONNECTIONS {
            true => *self.connections.entry(event.socket).or_insert(next),
            false => self.connections.get(&event.socket).copied().unwrap_or(next),
        };
        self.seen.connections = self.connections.len();
        if self.traces && self.seen.trace.len() < LONGEST_TRACE {
            let at = event.at - *self.first.get_or_insert(event.at);
            self.seen.trace.push(TracedSend { bytes, connection, at, kind });
        } else if self.traces {
            self.seen.trace_full = true;
        }
    }

    /// What was seen.
    pub fn finish(mut self, symbols: &Symbols) -> SeenSends {
        if self.enabled_since.is_some() {
            // What a full recording has not read yet.
            self.burst(Duration::ZERO, symbols);
        }
        self.seen
    }
}

/// Different call chains whose kinds are remembered. A process has some dozens.
const MOST_CHAINS: usize = 4096;

impl std::fmt::Debug for SendRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendRecorder").field("seen", &self.seen).finish_non_exhaustive()
    }
}
