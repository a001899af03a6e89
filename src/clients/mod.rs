//! The clients of a measurement: each has a thread, a connection and a receiver, and all get the same
//! commands.
//!
//! - here: what clients are given and report; the running clients
//! - `state`: what the clients of a run share; `thread`: what one of them does; `portion`: how far it asks ahead
//! - `open_loop`: when messages are due in an open loop; `generator`: the loop that asks for them then;
//!   `generator_thread`: its thread; `progress`: what the generator and the clients share

mod generator;
mod generator_thread;
mod open_loop;
mod portion;
mod progress;
mod state;
mod thread;

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Reports, Sender, unbounded};

use crate::cost::meter::Spent;
use crate::latency::Latencies;
use crate::placement::STACK_BYTES;
use crate::placement::ThreadPlacement;
use crate::recv::{Mapped, Receiver, Verifier};
use crate::sys::socket::{Socket, WakeReason};
use crate::workload::Deck;

pub use generator::GeneratorReport;
use generator_thread::GeneratorThread;
pub use open_loop::{Arrivals, DueTimes, OpenLoop};
pub use state::RunState;
use thread::ClientThread;

/// The task of the clients in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Work {
    /// Each client asks once for this many messages, or for this many of its decks if the scenario has a workload. The clock
    /// runs from the first request until the first client has received all of them.
    Rounds(u64),
    /// All clients receive for this long while all servers send. Data before and after the window is not
    /// counted.
    Window(Duration),
    /// Each client asks for one message and waits for it, this many times. This measures latency.
    Single(u64),
    /// A generator asks for messages when they are due, whether or not earlier ones have arrived. This measures
    /// latency under a load that does not wait: the latency of a message counts from the moment it was due. The
    /// rig must be built from [`Scenario::for_open_loop`](crate::scenario::Scenario::for_open_loop).
    OpenLoop(OpenLoop),
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
    /// The latency of each message, for [`Work::Single`] and [`Work::OpenLoop`].
    pub latency: Latencies,
    /// For [`Work::OpenLoop`]: when the first message was due, and when the last one was complete.
    pub due_span: Option<(Instant, Instant)>,
    /// What was received without a copy, if the receive path tries to map pages.
    pub mapped: Option<Mapped>,
}

impl ClientReport {
    fn begin() -> Self {
        let (spent, latency) = Default::default();
        Self { asked: Instant::now(), messages: 0, bytes: 0, spent, latency, due_span: None, mapped: None }
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
    connections: Arc<[Socket]>,
    generator: Option<Generator>,
    threads: Vec<JoinHandle<()>>,
}

/// The generator of open loops, seen from outside its thread.
#[derive(Debug)]
struct Generator {
    commands: Sender<(Arc<RunState>, OpenLoop)>,
    reports: Reports<GeneratorReport>,
}

/// In an open loop the generator asks ahead for at most this many bytes of one client. The buffers of both sockets
/// are smaller, so the server always has requests to work on, and an overloaded run still ends soon.
const AHEAD_BYTES: u64 = 64 << 20;

/// The most and fewest messages that the generator may ask ahead for, however small or large they are. The server
/// works on the most for several time slices, and meanwhile the client reports what it has received.
const AHEAD: (u64, u64) = (8192, 8);

impl Clients {
    /// Starts a thread for each client. The result of each run goes to `outcomes`. With the place of a generator,
    /// the clients can do [`Work::OpenLoop`].
    pub fn start(
        configs: Vec<ClientConfig>,
        generator: Option<ThreadPlacement>,
        outcomes: &Sender<ClientOutcome>,
    ) -> io::Result<Self> {
        let connections: io::Result<Vec<_>> =
            configs.iter().map(|config| config.socket.try_clone()).collect();
        let connections: Arc<[Socket]> = connections?.into();
        let ahead = |config: &ClientConfig| (AHEAD_BYTES / config.sizes.mean()).clamp(AHEAD.1, AHEAD.0);
        let most_ahead = configs.iter().map(ahead).collect();
        let mut clients = Self { commands: Vec::new(), connections, generator: None, threads: Vec::new() };
        for (index, config) in configs.into_iter().enumerate() {
            let (command, commands) = unbounded();
            clients.commands.push(command);
            let outcomes = outcomes.clone();
            clients.spawn(format!("client-{index}"), move || {
                ClientThread::new(index, config, outcomes).run_commands(&commands)
            })?;
        }
        if let Some(placement) = generator {
            let ((command, commands), (reports_to, reports)) = (unbounded(), unbounded());
            clients.generator = Some(Generator { commands: command, reports });
            let (connections, outcomes) = (Arc::clone(&clients.connections), outcomes.clone());
            let thread = GeneratorThread::new(placement, connections, most_ahead, outcomes, reports_to);
            clients.spawn("generator".to_owned(), move || thread.run_commands(&commands))?;
        }
        Ok(clients)
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(Builder::new().name(name).stack_size(STACK_BYTES).spawn(work)?);
        Ok(())
    }

    /// Starts `work` on all clients.
    pub fn begin(&self, state: &Arc<RunState>, work: Work) {
        for command in &self.commands {
            // A client whose thread has ended has already sent its outcome.
            let _ = command.send((Arc::clone(state), work));
        }
        if let (Some(generator), Work::OpenLoop(load)) = (&self.generator, work) {
            let _ = generator.commands.send((Arc::clone(state), load));
        }
    }

    /// What the generator did in the run that all clients have ended; `None` if it does not report within `wait`.
    pub fn generated(&self, wait: Duration) -> Option<GeneratorReport> {
        self.generator.as_ref()?.reports.recv_timeout(wait).ok()
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
        self.generator = None;
        self.shutdown();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
