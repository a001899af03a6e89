//! The clients of a measurement: each has a thread, a connection and a receiver, and all get the same
//! commands.
//!
//! - here: what clients are given and report; the running clients
//! - `state`: what the clients of a run share; `thread`: what one of them does; `portion`: how far it asks ahead

mod portion;
mod state;
mod thread;

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, unbounded};

use crate::cost::meter::Spent;
use crate::latency::Latencies;
use crate::placement::STACK_BYTES;
use crate::placement::ThreadPlacement;
use crate::recv::{Mapped, Receiver, Verifier};
use crate::sys::socket::{Socket, WakeReason};
use crate::workload::Deck;

pub use state::RunState;
use thread::ClientThread;

/// The task of the clients in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Work {
    /// Each client asks once for this many messages. The clock runs from the first request until the first
    /// client has received all of its messages.
    Rounds(u64),
    /// All clients receive for this long while all servers send. Data before and after the window is not
    /// counted.
    Window(Duration),
    /// Each client asks for one message and waits for it, this many times. This measures latency.
    Single(u64),
}

/// The result of one client in one run.
#[derive(Debug)]
pub struct ClientOutcome {
    /// The client's number.
    pub client: usize,
    /// What the client received, or the error that stopped it.
    pub result: io::Result<ClientReport>,
}

/// What one client received in one run.
#[derive(Debug, Clone)]
pub struct ClientReport {
    /// When it sent its first request.
    pub asked: Instant,
    /// The messages asked for, which are received when the run is over.
    pub messages: u64,
    /// The bytes received.
    pub bytes: u64,
    /// The cost from the first request to the last byte.
    pub spent: Spent,
    /// The latency of each message, for [`Work::Single`].
    pub latency: Latencies,
    /// What was received without a copy, if the receive path tries to map pages.
    pub mapped: Option<Mapped>,
}

impl ClientReport {
    fn begin() -> Self {
        let (spent, latency) = Default::default();
        Self { asked: Instant::now(), messages: 0, bytes: 0, spent, latency, mapped: None }
    }
}

/// What a client's thread needs to start.
#[derive(Debug)]
pub struct ClientConfig {
    /// Where its thread runs.
    pub placement: ThreadPlacement,
    /// Its connection, on which the hello was sent.
    pub socket: Socket,
    /// Its receive path, on the same connection.
    pub receiver: Box<dyn Receiver>,
    /// Checks the received bytes, if present.
    pub verifier: Option<Verifier>,
    /// The sizes of the messages.
    pub sizes: Sizes,
    /// Whether its thread opens perf counters.
    pub counted: bool,
}

/// The sizes of the messages of a connection, in order, from the next one on.
#[derive(Debug)]
pub enum Sizes {
    /// All have this many bytes.
    Same(u64),
    /// They are those of a deck, again and again.
    Deck(Box<Deck>),
}

impl Sizes {
    /// The bytes of the next `messages` messages; `None` beyond 2^64.
    fn next_bytes(&mut self, messages: u64) -> Option<u64> {
        match self {
            Self::Same(size) => messages.checked_mul(*size),
            Self::Deck(deck) => Some(deck.next_bytes(messages)).filter(|bytes| *bytes < u64::MAX),
        }
    }

    /// The mean size in bytes, at least 1.
    fn mean(&self) -> u64 {
        match self {
            Self::Same(size) => *size,
            Self::Deck(deck) => (deck.bytes() / deck.messages()).max(1),
        }
    }

    /// The messages of a round.
    fn messages_of_round(&self) -> u64 {
        match self {
            Self::Same(_) => 1,
            Self::Deck(deck) => deck.messages(),
        }
    }
}

/// The running clients.
#[derive(Debug)]
pub struct Clients {
    commands: Vec<Sender<(Arc<RunState>, Work)>>,
    connections: Vec<Socket>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts a thread for each client. The result of each run goes to `outcomes`.
    pub fn start(configs: Vec<ClientConfig>, outcomes: &Sender<ClientOutcome>) -> io::Result<Self> {
        let mut clients = Self { commands: Vec::new(), connections: Vec::new(), threads: Vec::new() };
        for (index, config) in configs.into_iter().enumerate() {
            let (command, commands) = unbounded();
            clients.commands.push(command);
            clients.connections.push(config.socket.try_clone()?);
            let outcomes = outcomes.clone();
            let thread = Builder::new()
                .name(format!("client-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || ClientThread::new(index, config, outcomes).run_commands(&commands))?;
            clients.threads.push(thread);
        }
        Ok(clients)
    }

    /// Starts `work` on all clients.
    pub fn begin(&self, state: &Arc<RunState>, work: Work) {
        for command in &self.commands {
            // A client whose thread has ended has already sent its outcome.
            let _ = command.send((Arc::clone(state), work));
        }
    }

    /// The first client whose connection the server has closed. Call it between runs: then a socket is
    /// readable only at end of file.
    pub fn ended(&self) -> Option<usize> {
        let now = Instant::now();
        let over = |socket: &Socket| !matches!(socket.readable_by(now), Ok(WakeReason::Late));
        self.connections.iter().position(over)
    }

    /// Shuts every connection down, so that a thread that waits on one wakes up with an error.
    pub fn shutdown(&self) {
        self.connections.iter().for_each(Socket::shutdown);
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.commands.clear();
        self.shutdown();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
