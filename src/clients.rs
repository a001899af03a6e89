//! The clients of a measurement: one thread, one connection and one receiver each, told together what to ask for.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Commands, Sender, unbounded};
use crossbeam::utils::CachePadded;

use crate::cost::meter::{Meter, Spent};
use crate::latency::Latencies;
use crate::placement::ThreadPlacement;
use crate::protocol::Ask;
use crate::recv::{Mapped, Receiver, Verifier};
use crate::server::STACK_BYTES;
use crate::sys::socket::{SendFlags, Socket, WakeReason};

/// What the clients are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Each asks once for this many messages. The clock runs from the first ask to the last byte at the first
    /// client that has all of its own.
    Rounds(u64),
    /// All receive for this long while everyone sends; what comes before and after is not counted.
    Window(Duration),
    /// Each asks for one message and waits for it, this many times: latency.
    Single(u64),
}

/// One run: what all clients of it share.
#[derive(Debug)]
pub struct RunState {
    /// Bytes received so far, by client.
    received: Vec<CachePadded<AtomicU64>>,
    /// The window is over: ask for nothing more.
    window_closed: AtomicBool,
    /// When the first client had everything, and what all had by then.
    first_finish: OnceLock<(Instant, u64)>,
    /// Of a window: clients that have yet to receive their first byte.
    without_data: Mutex<usize>,
    started: Condvar,
}

/// A client that has its first byte waits at most so long for the others; then it receives, whoever is late.
const START_TIMEOUT: Duration = Duration::from_millis(500);

impl RunState {
    /// A run of `clients` clients.
    pub fn new(clients: usize) -> Self {
        let received = (0..clients).map(|_| CachePadded::default()).collect();
        let (start, started) = (Mutex::new(clients), Condvar::new());
        Self {
            received,
            window_closed: AtomicBool::new(false),
            first_finish: OnceLock::new(),
            without_data: start,
            started,
        }
    }

    /// Bytes that all clients have received.
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

    /// A client has its first byte: waits for the others. Each that went on at once would use up its time slice before
    /// the next one gets the CPU, and with 64 clients on two CPUs the last one's first byte came 90 ms later.
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

    /// Has nobody wait for the others any more: one of them failed.
    pub fn abandon_start(&self) {
        *self.lock_start() = 0;
        self.started.notify_all();
    }

    fn lock_start(&self) -> MutexGuard<'_, usize> {
        self.without_data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first client had everything, and the bytes that all had by then.
    pub fn first_finish(&self) -> Option<(Instant, u64)> {
        self.first_finish.get().copied()
    }
}

/// What a client has to say after a run.
#[derive(Debug)]
pub struct ClientOutcome {
    /// The client's number.
    pub client: usize,
    /// What it received, or why it could not.
    pub result: io::Result<ClientReport>,
}

/// What one client received in one run.
#[derive(Debug, Clone)]
pub struct ClientReport {
    /// When it asked first.
    pub asked: Instant,
    /// Bytes.
    pub bytes: u64,
    /// From the ask to the last byte.
    pub spent: Spent,
    /// Of each message, for [`Work::Single`].
    pub latency: Latencies,
    /// What came without a copy, of a path that tries.
    pub mapped: Option<Mapped>,
}

/// One client before its thread starts.
#[derive(Debug)]
pub struct ClientConfig {
    /// Where it sits.
    pub placement: ThreadPlacement,
    /// Its connection, hello said.
    pub socket: Socket,
    /// How it receives, on the same connection.
    pub receiver: Box<dyn Receiver>,
    /// What checks the bytes, if anything.
    pub verifier: Option<Verifier>,
    /// The size of a message in bytes.
    pub size: u64,
    /// Whether its thread's counters are read.
    pub counted: bool,
}

/// The running clients.
#[derive(Debug)]
pub struct Clients {
    commands: Vec<Sender<(Arc<RunState>, Work)>>,
    connections: Vec<Socket>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts a thread for each member. Outcomes of runs go to `outcomes`.
    pub fn start(members: Vec<ClientConfig>, outcomes: &Sender<ClientOutcome>) -> io::Result<Self> {
        let mut fleet = Self { commands: Vec::new(), connections: Vec::new(), threads: Vec::new() };
        for (index, member) in members.into_iter().enumerate() {
            let (command, commands) = unbounded();
            fleet.commands.push(command);
            fleet.connections.push(member.socket.try_clone()?);
            let outcomes = outcomes.clone();
            let thread = thread::Builder::new()
                .name(format!("client-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || ClientThread::new(index, member, outcomes).follow(&commands))?;
            fleet.threads.push(thread);
        }
        Ok(fleet)
    }

    /// Tells all clients to do `work`.
    pub fn begin(&self, turn: &Arc<RunState>, work: Work) {
        for command in &self.commands {
            // A client whose thread has ended has told its end already.
            let _ = command.send((Arc::clone(turn), work));
        }
    }

    /// The first client whose connection the server has ended before it was asked for anything: only then is there
    /// something to read.
    pub fn ended(&self) -> Option<usize> {
        let now = Instant::now();
        let over = |socket: &Socket| !matches!(socket.readable_by(now), Ok(WakeReason::Late));
        self.connections.iter().position(over)
    }

    /// Ends every connection: whoever waits on one wakes up with an error.
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
    member: ClientConfig,
    outcomes: Sender<ClientOutcome>,
    /// A run has begun and its outcome is not yet told: whoever waits for it learns even of a panic.
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
    fn new(index: usize, member: ClientConfig, outcomes: Sender<ClientOutcome>) -> Self {
        Self { index, member, outcomes, owes_outcome: false }
    }

    fn report(&mut self, result: io::Result<ClientReport>) {
        self.owes_outcome = false;
        let _ = self.outcomes.send(ClientOutcome { client: self.index, result });
    }

    fn follow(mut self, commands: &Commands<(Arc<RunState>, Work)>) {
        let seated = self.member.placement.apply();
        self.owes_outcome = true;
        self.report(seated.map(|()| ClientReport::begin()));
        let mut meter = Meter::open(self.member.counted);
        while let Ok((turn, work)) = commands.recv() {
            self.owes_outcome = true;
            let result = self.run(&mut meter, &turn, work);
            self.report(result);
        }
    }

    fn run(&mut self, meter: &mut Meter, turn: &RunState, work: Work) -> io::Result<ClientReport> {
        let before = self.member.receiver.mapped();
        meter.start();
        let mut receipt = ClientReport::begin();
        match work {
            Work::Rounds(n) => {
                let bytes = n.checked_mul(self.member.size).ok_or_else(too_many)?;
                self.ask(n, true)?;
                self.receive_until(bytes, &mut receipt, turn)?;
            }
            Work::Window(length) => self.receive_while_open(length, &mut receipt, turn)?,
            Work::Single(n) => self.receive_one_by_one(n, &mut receipt, turn)?,
        }
        turn.first_finish.get_or_init(|| (Instant::now(), turn.bytes()));
        // Acknowledge now what the kernel would acknowledge in 40 ms: a zero-copy sender waits for it.
        self.member.socket.options().set_tcp_quickack(true)?;
        self.member.receiver.release()?;
        receipt.spent = meter.stop(receipt.bytes / self.member.size);
        receipt.mapped = self.member.receiver.mapped().zip(before).map(|(now, before)| now.since(&before));
        match self.member.verifier.as_ref().and_then(Verifier::wrong) {
            Some(wrong) => Err(io::Error::new(io::ErrorKind::InvalidData, wrong)),
            None => Ok(receipt),
        }
    }

    fn receive_until(&mut self, bytes: u64, receipt: &mut ClientReport, turn: &RunState) -> io::Result<()> {
        while receipt.bytes < bytes {
            self.receive(bytes - receipt.bytes, receipt, turn)?;
        }
        Ok(())
    }

    /// Asks ahead, so that the sender never waits for an ask, until the window is over; then receives the rest.
    fn receive_while_open(
        &mut self,
        length: Duration,
        receipt: &mut ClientReport,
        turn: &RunState,
    ) -> io::Result<()> {
        let mut portion = Portion::new(self.member.size, length);
        let mut asked = 0;
        let mut started = false;
        while !turn.window_closed.load(Ordering::Relaxed) {
            if asked - receipt.bytes <= portion.bytes() {
                let messages = portion.next();
                self.ask(messages, false)?;
                asked += messages * self.member.size;
            }
            // With the next portion asked for, so that the sender has something to do meanwhile.
            if receipt.bytes > 0 && !std::mem::replace(&mut started, true) {
                turn.start_together();
                portion.asked = Instant::now();
            }
            self.receive(asked - receipt.bytes, receipt, turn)?;
        }
        self.ask(0, true)?;
        self.receive_until(asked, receipt, turn)
    }

    fn receive_one_by_one(&mut self, n: u64, receipt: &mut ClientReport, turn: &RunState) -> io::Result<()> {
        if n == 0 {
            return self.ask(0, true);
        }
        for i in 1..=n {
            let asked = Instant::now();
            self.ask(1, i == n)?;
            self.receive_until(i * self.member.size, receipt, turn)?;
            receipt.latency.record(asked.elapsed());
        }
        Ok(())
    }

    fn receive(&mut self, most: u64, receipt: &mut ClientReport, turn: &RunState) -> io::Result<()> {
        let ClientConfig { receiver, verifier, .. } = &mut self.member;
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
        receipt.bytes += got as u64;
        turn.received[self.index].store(receipt.bytes, Ordering::Relaxed);
        Ok(())
    }

    fn ask(&self, messages: u64, last: bool) -> io::Result<()> {
        let bytes = Ask { messages, last }.encode();
        let sent = self.member.socket.send(&bytes, SendFlags::NONE)?;
        // Sixteen bytes always fit, unless the server has left thousands of asks unread.
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl ClientReport {
    fn begin() -> Self {
        let (spent, latency) = Default::default();
        Self { asked: Instant::now(), bytes: 0, spent, latency, mapped: None }
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

/// A portion should last about this long: short enough to end a window soon, long enough that asking (two
/// system calls) costs nothing beside it.
const PORTION_TIME: Duration = Duration::from_millis(8);

/// In a short window portions are a quarter of it, and at least this: what was asked for ahead must still be received
/// after its end, which made a window of 10 ms last 27.
const SHORTEST_PORTION_TIME: Duration = Duration::from_millis(4);

impl Portion {
    fn new(size: u64, window: Duration) -> Self {
        let target = (window / 4).clamp(SHORTEST_PORTION_TIME, PORTION_TIME);
        Self { messages: (65_536 / size).max(1), size, asked: Instant::now(), target }
    }

    fn bytes(&self) -> u64 {
        self.messages * self.size
    }

    /// The next portion: doubled or halved when the last one was used up too soon or too late.
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
    fn who_has_a_byte_waits_until_all_have_one_or_one_has_failed() {
        for fails in [false, true] {
            let turn = Arc::new(RunState::new(2));
            let first = {
                let turn = Arc::clone(&turn);
                thread::Builder::new().spawn(move || turn.start_together()).unwrap()
            };
            // Not a moment that the test depends on: whenever the other comes, the first one ends.
            thread::sleep(Duration::from_millis(5));
            if fails {
                turn.abandon_start()
            } else {
                turn.start_together()
            }
            first.join().unwrap();
            assert_eq!(*turn.lock_start(), 0);
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        let turn = RunState::new(2);
        let began = Instant::now();
        turn.start_together();
        assert!(began.elapsed() >= START_TIMEOUT && *turn.lock_start() == 1);
    }
}
