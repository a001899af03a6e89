//! The clients of a measurement: each has a thread, a connection and a receiver, and all get the same
//! commands.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Commands, Sender, unbounded};
use crossbeam::utils::CachePadded;

use crate::cost::meter::{Meter, Spent};
use crate::latency::Latencies;
use crate::placement::STACK_BYTES;
use crate::placement::ThreadPlacement;
use crate::protocol::Ask;
use crate::recv::{Mapped, Receiver, Verifier};
use crate::sys::socket::{SendFlags, Socket, WakeReason};
use crate::workload::Deck;

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

/// The state of a run that all clients share.
#[derive(Debug)]
pub struct RunState {
    /// Bytes received so far, by client.
    received: Vec<CachePadded<AtomicU64>>,
    /// The window is over, so clients ask for no more data.
    window_closed: AtomicBool,
    /// When the first client had all its data, and the bytes that all clients had received by then.
    first_finish: OnceLock<(Instant, u64)>,
    /// Clients that have not yet received a first byte in this window.
    without_data: Mutex<usize>,
    started: Condvar,
}

/// The longest time that a client with data waits for the others.
const START_TIMEOUT: Duration = Duration::from_millis(500);

impl RunState {
    /// The state at the start of a run of `clients` clients.
    pub fn new(clients: usize) -> Self {
        let received = (0..clients).map(|_| CachePadded::default()).collect();
        let (without_data, started) = (Mutex::new(clients), Condvar::new());
        Self {
            received,
            window_closed: AtomicBool::new(false),
            first_finish: OnceLock::new(),
            without_data,
            started,
        }
    }

    /// Bytes that all clients together have received.
    pub fn bytes(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The first client that has received nothing so far.
    pub fn first_without_data(&self) -> Option<usize> {
        self.received.iter().position(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Ends a window.
    pub fn close_window(&self) {
        self.window_closed.store(true, Ordering::Relaxed);
    }

    /// Waits until every client has its first byte. Otherwise each client would use up its time slice before
    /// the next one gets the CPU: with 64 clients on two CPUs, the last first byte came 90 ms late.
    fn start_together(&self) {
        let mut waiting = self.lock_start();
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            self.started.notify_all();
            return;
        }
        let waited = self.started.wait_timeout_while(waiting, START_TIMEOUT, |waiting| *waiting > 0);
        drop(waited);
    }

    /// Releases the clients that wait for the others, because one has failed.
    pub fn abandon_start(&self) {
        *self.lock_start() = 0;
        self.started.notify_all();
    }

    fn lock_start(&self) -> MutexGuard<'_, usize> {
        self.without_data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first client had all its data, and the bytes that all clients had received by then.
    pub fn first_finish(&self) -> Option<(Instant, u64)> {
        self.first_finish.get().copied()
    }
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
            let thread = thread::Builder::new()
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

struct ClientThread {
    index: usize,
    config: ClientConfig,
    outcomes: Sender<ClientOutcome>,
    /// A run has begun and its outcome has not been sent. `Drop` then reports a panic.
    owes_outcome: bool,
}

impl Drop for ClientThread {
    fn drop(&mut self) {
        if self.owes_outcome {
            self.report(Err(io::Error::other("its thread panicked")));
        }
    }
}

impl ClientThread {
    fn new(index: usize, config: ClientConfig, outcomes: Sender<ClientOutcome>) -> Self {
        Self { index, config, outcomes, owes_outcome: false }
    }

    fn report(&mut self, result: io::Result<ClientReport>) {
        self.owes_outcome = false;
        let _ = self.outcomes.send(ClientOutcome { client: self.index, result });
    }

    fn run_commands(mut self, commands: &Commands<(Arc<RunState>, Work)>) {
        let placed = self.config.placement.apply();
        self.owes_outcome = true;
        self.report(placed.map(|()| ClientReport::begin()));
        let mut meter = Meter::open(self.config.counted);
        while let Ok((state, work)) = commands.recv() {
            self.owes_outcome = true;
            let result = self.run(&mut meter, &state, work);
            self.report(result);
        }
    }

    fn run(&mut self, meter: &mut Meter, state: &RunState, work: Work) -> io::Result<ClientReport> {
        let before = self.config.receiver.mapped();
        meter.start();
        let mut report = ClientReport::begin();
        match work {
            Work::Rounds(n) => {
                let messages = n.checked_mul(self.config.sizes.messages_of_round()).ok_or_else(too_many)?;
                let bytes = self.config.sizes.next_bytes(messages).ok_or_else(too_many)?;
                report.messages = messages;
                self.ask(messages, true)?;
                self.receive_until(bytes, &mut report, state)?;
            }
            Work::Window(length) => self.receive_while_open(length, &mut report, state)?,
            Work::Single(n) => self.receive_one_by_one(n, &mut report, state)?,
        }
        state.first_finish.get_or_init(|| (Instant::now(), state.bytes()));
        // Acknowledge now and not in 40 ms, because a zero-copy sender waits for the acknowledgement.
        self.config.socket.options().set_tcp_quickack(true)?;
        self.config.receiver.release()?;
        report.spent = meter.stop(report.messages);
        report.mapped = self.config.receiver.mapped().zip(before).map(|(now, before)| now.since(&before));
        match self.config.verifier.as_ref().and_then(Verifier::wrong) {
            Some(wrong) => Err(io::Error::new(io::ErrorKind::InvalidData, wrong)),
            None => Ok(report),
        }
    }

    fn receive_until(&mut self, bytes: u64, report: &mut ClientReport, state: &RunState) -> io::Result<()> {
        while report.bytes < bytes {
            self.receive(bytes - report.bytes, report, state)?;
        }
        Ok(())
    }

    /// Asks ahead until the window is over, so that the sender never waits for a request. Then it receives
    /// the rest.
    fn receive_while_open(
        &mut self,
        length: Duration,
        report: &mut ClientReport,
        state: &RunState,
    ) -> io::Result<()> {
        let mut portion = Portion::new(self.config.sizes.mean(), length);
        let mut asked = 0;
        let mut started = false;
        while !state.window_closed.load(Ordering::Relaxed) {
            if asked - report.bytes <= portion.bytes() {
                let messages = portion.next();
                self.ask(messages, false)?;
                asked += self.config.sizes.next_bytes(messages).ok_or_else(too_many)?;
                report.messages += messages;
            }
            // After the next request, so that the sender has work.
            if report.bytes > 0 && !std::mem::replace(&mut started, true) {
                state.start_together();
                portion.asked = Instant::now();
            }
            self.receive(asked - report.bytes, report, state)?;
        }
        self.ask(0, true)?;
        self.receive_until(asked, report, state)
    }

    fn receive_one_by_one(&mut self, n: u64, report: &mut ClientReport, state: &RunState) -> io::Result<()> {
        if n == 0 {
            return self.ask(0, true);
        }
        let mut bytes = 0;
        for i in 1..=n {
            bytes += self.config.sizes.next_bytes(1).unwrap_or_default();
            let asked = Instant::now();
            self.ask(1, i == n)?;
            self.receive_until(bytes, report, state)?;
            report.messages = i;
            report.latency.record(asked.elapsed());
        }
        Ok(())
    }

    fn receive(&mut self, most: u64, report: &mut ClientReport, state: &RunState) -> io::Result<()> {
        let ClientConfig { receiver, verifier, .. } = &mut self.config;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let got = receiver
            .recv(most, &mut |bytes| {
                if let Some(verifier) = verifier {
                    verifier.see(bytes);
                }
            })
            .map_err(explain_timeout)?;
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection"));
        }
        report.bytes += got as u64;
        state.received[self.index].store(report.bytes, Ordering::Relaxed);
        Ok(())
    }

    fn ask(&self, messages: u64, last: bool) -> io::Result<()> {
        let bytes = Ask { messages, last }.encode();
        let sent = self.config.socket.send(&bytes, SendFlags::NONE)?;
        // Sixteen bytes always fit, unless the server has left thousands of requests unread.
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl ClientReport {
    fn begin() -> Self {
        let (spent, latency) = Default::default();
        Self { asked: Instant::now(), messages: 0, bytes: 0, spent, latency, mapped: None }
    }
}

/// How much to ask for at a time in a window.
struct Portion {
    messages: u64,
    size: u64,
    asked: Instant,
    /// How long it should last.
    target: Duration,
}

/// A portion lasts about this long: short enough to end a window soon, long enough that a request (two system
/// calls) costs next to nothing.
const PORTION_TIME: Duration = Duration::from_millis(8);

/// In a short window a portion is a quarter of the window, and at least this long. A client must still
/// receive the rest of its last portion after the window: see docs/tuning.md, "The clock and its turns".
const SHORTEST_PORTION_TIME: Duration = Duration::from_millis(4);

impl Portion {
    fn new(size: u64, window: Duration) -> Self {
        let target = (window / 4).clamp(SHORTEST_PORTION_TIME, PORTION_TIME);
        Self { messages: (65_536 / size).max(1), size, asked: Instant::now(), target }
    }

    fn bytes(&self) -> u64 {
        self.messages * self.size
    }

    /// The next portion. It doubles if the last one took less than half of the target time, and halves if it
    /// took more than twice as long.
    fn next(&mut self) -> u64 {
        let took = self.asked.elapsed();
        self.asked = Instant::now();
        if took < self.target / 2 {
            self.messages *= 2;
        } else if took > self.target * 2 {
            self.messages = (self.messages / 2).max(1);
        }
        self.messages
    }
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "this many rounds would exceed 2^64 bytes: use fewer")
}

fn explain_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "the server sent nothing before the timeout")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_data_waits_until_all_have_data_or_one_fails() {
        for fails in [false, true] {
            let state = Arc::new(RunState::new(2));
            let first = {
                let state = Arc::clone(&state);
                thread::Builder::new().spawn(move || state.start_together()).unwrap()
            };
            // The test does not depend on this time: the first thread ends when the other one arrives.
            thread::sleep(Duration::from_millis(5));
            if fails {
                state.abandon_start()
            } else {
                state.start_together()
            }
            first.join().unwrap();
            assert_eq!(*state.lock_start(), 0);
        }
    }

    #[test]
    fn waiting_for_the_others_has_a_timeout() {
        let state = RunState::new(2);
        let began = Instant::now();
        state.start_together();
        assert!(began.elapsed() >= START_TIMEOUT && *state.lock_start() == 1);
    }
}
