//! A warm scenario: server, fleet and connections, ready to run. Every measurement in this crate is
//! [`Rig::run`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use crossbeam::select;

#[cfg(feature = "cli")]
use crate::conditions::Conditions;
use crate::connection::{self, Applied};
use crate::cost::cpu::{self, CpuSpent};
use crate::cost::meter::Spent;
use crate::cost::pollution::Walk;
use crate::cost::wire::Wire;
use crate::fleet::{Fleet, Member, Outcome, Receipt, Turn};
use crate::latency::Latencies;
use crate::protocol::{Hello, Ticket};
use crate::recv::Verifier;
#[cfg(feature = "cli")]
use crate::remote;
use crate::scenario::Scenario;
use crate::seat::{self, Placed, Seats};
use crate::send::{Budget, Ledger, Limits, Release, Terms, Unsupported};
use crate::server::{Doors, News, Offered, Report, Server, Service, Told};
use crate::sys::limits;

pub use crate::fleet::Work;

/// How long the kernel may take to release what was sent, beyond the stall timeout of a blocked call.
const DRAIN: Duration = Duration::from_secs(5);

/// What a new rig does before it is handed out: buffers are faulted in, congestion windows are open.
const WARM_UP: Duration = Duration::from_millis(20);

/// Where the server of a scenario is.
#[derive(Debug, Clone, Default)]
pub enum Site {
    /// In this process, over loopback.
    #[default]
    Here,
    /// On another host, or in another process.
    #[cfg(feature = "cli")]
    There(remote::Site),
}

impl Site {
    /// What lies between the ends, as records name it.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Here => "loopback",
            #[cfg(feature = "cli")]
            Self::There(_) => "remote",
        }
    }
}

/// What keeps the server's end alive.
#[derive(Debug)]
enum ServerEnd {
    /// The offer is withdrawn before the server stops.
    #[allow(dead_code, reason = "they are there to be dropped")]
    Here(Offered, Server),
    #[cfg(feature = "cli")]
    #[allow(dead_code, reason = "it is there to be dropped")]
    There(remote::Call),
}

/// What the clients must know of the server.
struct Reached {
    end: ServerEnd,
    address: SocketAddr,
    ticket: Ticket,
    /// Both ends share their CPUs.
    one_host: bool,
    /// CPUs of the server's threads, where only its host knows them.
    sender_cpus: Option<usize>,
    #[cfg(feature = "cli")]
    host: Option<Box<Conditions>>,
}

/// A running scenario.
#[derive(Debug)]
pub struct Rig {
    // Dropped in this order: clients first, so that the server sees them go.
    fleet: Fleet,
    _server: ServerEnd,
    news: Receiver<News>,
    outcomes: Receiver<Outcome>,
    scenario: Scenario,
    applied: Applied,
    address: SocketAddr,
    placed: Placed,
    #[cfg(feature = "cli")]
    host: Option<Box<Conditions>>,
    huge_share: Option<f64>,
    idle_walk: Walk,
    /// An end failed: nothing more can be measured.
    broken: bool,
}

/// What one run yields.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Bytes received within the clock.
    pub bytes: u64,
    /// What the clock showed.
    pub elapsed: Duration,
    /// Messages sent in the whole run, inside the clock and outside.
    pub messages: u64,
    /// The server's threads over the whole run, from the first ask to the end of the drain.
    pub sender: Spent,
    /// The clients' threads over the whole run.
    pub receiver: Spent,
    /// The whole process over the whole run.
    pub process: Option<CpuSpent>,
    /// From the order to begin to the last word of an end.
    pub wall: Duration,
    /// The shape on the wire, over all connections.
    pub wire: Option<Wire>,
    /// The pointer chase between messages, if one was asked for.
    pub walk: Walk,
    /// System calls of the senders over the whole run.
    pub calls: u64,
    /// What the kernel told the senders, over the whole run.
    pub ledger: Ledger,
    /// The longest drain of a sender.
    pub drain: Duration,
    /// Of each message, for [`Work::Single`].
    pub latency: Latencies,
}

impl Sample {
    fn empty() -> Self {
        Self {
            bytes: 0,
            elapsed: Duration::ZERO,
            messages: 0,
            sender: Spent::default(),
            receiver: Spent::default(),
            process: None,
            wall: Duration::ZERO,
            wire: None,
            walk: Walk::default(),
            calls: 0,
            ledger: Ledger::default(),
            drain: Duration::ZERO,
            latency: Latencies::default(),
        }
    }

    /// The sum of two runs of the same scenario.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.elapsed += other.elapsed;
        self.messages += other.messages;
        self.sender.then(&other.sender);
        self.receiver.then(&other.receiver);
        self.process = self.process.zip(other.process).map(|(mine, theirs)| mine.and(theirs));
        self.wall += other.wall;
        self.wire = self.wire.take().zip(other.wire.clone()).map(|(mine, theirs)| mine.then(theirs));
        self.walk += other.walk;
        self.calls += other.calls;
        self.ledger.add(&other.ledger);
        self.drain = self.drain.max(other.drain);
        self.latency.add(&other.latency);
    }

    /// Bytes per second.
    pub fn throughput(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The time that `bytes` take at this sample's rate.
    pub fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(self.elapsed.as_secs_f64() * bytes as f64 / self.bytes.max(1) as f64)
    }

    /// Context switches of all threads for each message.
    pub fn switches_per_message(&self) -> f64 {
        (self.sender.usage.switches() + self.receiver.usage.switches()) as f64 / self.messages.max(1) as f64
    }
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A server's thread, which sends.
    Server,
    /// A client, which receives.
    Client,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the sender of client",
            Self::Client => "client",
        })
    }
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RigError {
    /// The path is not to be had here.
    #[error("{path}: {reason}")]
    Unsupported {
        /// The path's name.
        path: &'static str,
        /// Why.
        reason: Unsupported,
    },
    /// More clients than may have files open.
    #[error(
        "{clients} clients need about {needed} open files, and the hard limit is {hard}: \
         use fewer clients, or raise it (`ulimit -Hn`, LimitNOFILE=)"
    )]
    OpenFiles {
        /// The clients asked for.
        clients: usize,
        /// The files needed.
        needed: u64,
        /// The limit.
        hard: u64,
    },
    /// The other host does not serve.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Call(#[from] remote::CallError),
    /// Something could not be set up.
    #[error("{what}: {source}")]
    Setup {
        /// What was to be done.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
    /// An end failed in a run.
    #[error("{side} {client} failed: {error}")]
    End {
        /// Which end.
        side: Side,
        /// The client's number.
        client: usize,
        /// The error.
        error: io::Error,
        /// What the kernel had told the senders that could still say.
        ledger: Box<Ledger>,
    },
    /// Nothing moved any more.
    #[error("nothing was received for {} seconds, and no end said why", .0.as_secs())]
    Hung(Duration),
    /// An earlier run failed.
    #[error("this rig failed before and cannot run again")]
    Broken,
}

fn setup(what: &'static str) -> impl FnOnce(io::Error) -> RigError {
    move |source| RigError::Setup { what, source }
}

impl Rig {
    /// Sets everything up over loopback in this process and warms it.
    pub fn build(scenario: &Scenario) -> Result<Self, RigError> {
        Self::at(&Site::Here, scenario)
    }

    /// Sets everything up with the server at `site` and warms it.
    pub fn at(site: &Site, scenario: &Scenario) -> Result<Self, RigError> {
        allow_files(scenario)?;
        let cpus = seat::cpus().map_err(setup("the process's CPUs could not be read"))?;
        let (news_to, news) = unbounded();
        let reached = match site {
            Site::Here => serve_here(scenario, &cpus, news_to)?,
            #[cfg(feature = "cli")]
            Site::There(site) => serve_there(scenario, site, news_to)?,
        };
        let seats =
            Seats::plan(scenario.placement, scenario.clients, &cpus).of_clients(reached.one_host, &cpus);
        let mut placed = seats.placed(cpus.len());
        if let (false, Some(sender_cpus)) = (reached.one_host, reached.sender_cpus) {
            placed = Placed { cpus: placed.cpus + sender_cpus, sender_cpus, apart: true };
        }
        let members = seats
            .clients
            .into_iter()
            .enumerate()
            .map(|(client, seat)| member(scenario, client, seat, reached.address, reached.ticket))
            .collect::<io::Result<Vec<_>>>()
            .map_err(setup("a client could not connect"))?;
        let applied = members.first().map(|member| Applied::of(&member.socket)).transpose();
        let applied = applied.map_err(setup("socket options could not be read back"))?.unwrap_or_default();
        let (outcomes_to, outcomes) = unbounded();
        let fleet =
            Fleet::start(members, &outcomes_to).map_err(setup("a client's thread could not start"))?;
        let mut rig = Self {
            fleet,
            _server: reached.end,
            news,
            outcomes,
            scenario: scenario.clone(),
            // A client's own TCP_NODELAY is for its asks.
            applied: Applied { nodelay: scenario.options.nodelay, ..applied },
            address: reached.address,
            placed,
            #[cfg(feature = "cli")]
            host: reached.host,
            huge_share: None,
            idle_walk: Walk::default(),
            broken: false,
        };
        let ready = rig.await_ready()?;
        (rig.huge_share, rig.idle_walk) = (ready.huge_share, ready.idle_walk);
        rig.run(Work::Window(WARM_UP))?;
        Ok(rig)
    }

    /// What it is a rig of.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What its connections have, as read back.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// For the layout `huge`: the share of the messages' memory, 0 to 1, that the kernel gave huge pages for.
    pub fn huge_share(&self) -> Option<f64> {
        self.huge_share
    }

    /// The CPUs its threads were placed on.
    pub fn placed(&self) -> Placed {
        self.placed
    }

    /// The pointer chase of all server threads before anything was sent, if one was asked for.
    pub fn idle_walk(&self) -> Walk {
        self.idle_walk
    }

    /// Where its server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The conditions of the other host, where there is one.
    #[cfg(feature = "cli")]
    pub fn host(&self) -> Option<&Conditions> {
        self.host.as_deref()
    }

    /// Does `work` on all clients. After an error the rig cannot be used again.
    pub fn run(&mut self, work: Work) -> Result<Sample, RigError> {
        if self.broken {
            return Err(RigError::Broken);
        }
        let turn = Arc::new(Turn::new(self.scenario.clients));
        let mut gathered = Gathered::new(self.scenario.clients);
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        self.fleet.begin(&turn, work);
        let mut result = self.watch(work, &turn, &mut gathered);
        if let Ok(sample) = &mut result {
            sample.wall = began.elapsed();
            sample.process = process.and_then(|earlier| cpu::process_since(earlier).ok());
        }
        if result.is_err() {
            self.broken = true;
            self.fleet.shutdown();
        }
        result
    }

    fn watch(&self, work: Work, turn: &Turn, gathered: &mut Gathered) -> Result<Sample, RigError> {
        let window = match work {
            Work::Window(length) => Some(self.window(length, turn, gathered)?),
            Work::Rounds(_) | Work::Single(_) => None,
        };
        self.gather(turn, gathered)?;
        let mut sample = gathered.sample();
        (sample.bytes, sample.elapsed) = window.unwrap_or_else(|| {
            let began = gathered.receipts.iter().map(|receipt| receipt.asked).min();
            let (ended, bytes) = turn.first_finish().unwrap_or((Instant::now(), 0));
            (bytes, began.map_or(Duration::ZERO, |began| ended.saturating_duration_since(began)))
        });
        Ok(sample)
    }

    /// Bytes received between two instants while everyone sends.
    fn window(
        &self,
        length: Duration,
        turn: &Turn,
        gathered: &mut Gathered,
    ) -> Result<(u64, Duration), RigError> {
        let patience = Instant::now() + self.patience();
        while !turn.all_receive() {
            if Instant::now() > patience {
                return Err(RigError::Hung(self.patience()));
            }
            self.listen_for(Duration::from_micros(500), gathered)?;
        }
        let (began, before) = instant_and_bytes(turn);
        let end = began + length;
        while Instant::now() < end {
            self.listen_for(end.saturating_duration_since(Instant::now()), gathered)?;
        }
        let (ended, after) = instant_and_bytes(turn);
        turn.enough();
        Ok((after - before, ended - began))
    }

    /// Waits until every end has said how the run was.
    fn gather(&self, turn: &Turn, gathered: &mut Gathered) -> Result<(), RigError> {
        let mut last = (Instant::now(), turn.bytes());
        while !gathered.complete() {
            let heard = self.listen_for(Duration::from_secs(1), gathered)?;
            if heard || turn.bytes() != last.1 {
                last = (Instant::now(), turn.bytes());
            } else if last.0.elapsed() > self.patience() {
                return Err(RigError::Hung(self.patience()));
            }
        }
        Ok(())
    }

    /// Longer than any end waits by itself, so that the end with the error speaks first.
    fn patience(&self) -> Duration {
        self.scenario.options.stall + 2 * DRAIN
    }

    /// Takes the next message from either end; false when there was none for so long.
    fn listen_for(&self, wait: Duration, gathered: &mut Gathered) -> Result<bool, RigError> {
        select! {
            recv(self.news) -> news => match news {
                Ok(news) => gathered.take_news(news).map(|()| true),
                Err(_) => Err(RigError::Broken),
            },
            recv(self.outcomes) -> outcome => match outcome {
                Ok(outcome) => self.take_outcome(outcome, gathered).map(|()| true),
                Err(_) => Err(RigError::Broken),
            },
            default(wait) => Ok(false),
        }
    }

    /// A client's error is often only the echo of its sender's: give the sender a moment to say it first.
    fn take_outcome(&self, outcome: Outcome, gathered: &mut Gathered) -> Result<(), RigError> {
        let client = outcome.client;
        match outcome.result {
            Ok(receipt) => gathered.receipts.push(receipt),
            Err(error) => {
                let told_wrong = error.kind() == io::ErrorKind::InvalidData;
                let until = Instant::now() + Duration::from_millis(if told_wrong { 0 } else { 200 });
                while let Ok(news) = self.news.recv_deadline(until) {
                    gathered.take_news(news)?;
                }
                let ledger = Box::new(gathered.sample().ledger);
                return Err(RigError::End { side: Side::Client, client, error, ledger });
            }
        }
        Ok(())
    }

    fn await_ready(&self) -> Result<Gathered, RigError> {
        let mut gathered = Gathered::new(self.scenario.clients);
        let until = Instant::now() + self.patience();
        while gathered.ready < gathered.clients || gathered.receipts.len() < gathered.clients {
            self.listen_for(Duration::from_secs(1), &mut gathered)?;
            if Instant::now() > until {
                return Err(RigError::Hung(self.patience()));
            }
        }
        Ok(gathered)
    }
}

/// What both ends have said of a run so far.
struct Gathered {
    clients: usize,
    ready: usize,
    huge_share: Option<f64>,
    idle_walk: Walk,
    reports: Vec<Report>,
    receipts: Vec<Receipt>,
}

impl Gathered {
    fn new(clients: usize) -> Self {
        let (reports, receipts) = (Vec::with_capacity(clients), Vec::with_capacity(clients));
        Self { clients, ready: 0, huge_share: None, idle_walk: Walk::default(), reports, receipts }
    }

    fn complete(&self) -> bool {
        self.reports.len() == self.clients && self.receipts.len() == self.clients
    }

    fn take_news(&mut self, news: News) -> Result<(), RigError> {
        match news.told {
            Told::Ready { huge_share, idle_walk } => {
                self.ready += 1;
                self.idle_walk += idle_walk;
                self.huge_share = self.huge_share.or(huge_share);
            }
            Told::Report(report) => self.reports.push(*report),
            Told::Failed(failure) => {
                let mut ledger = Box::new(self.sample().ledger);
                ledger.add(&failure.ledger);
                return Err(RigError::End {
                    side: Side::Server,
                    client: news.client,
                    error: failure.error,
                    ledger,
                });
            }
        }
        Ok(())
    }

    fn sample(&self) -> Sample {
        let mut sample = Sample::empty();
        for report in &self.reports {
            sample.messages += report.messages;
            sample.calls += report.calls;
            sample.sender.beside(&report.spent);
            sample.walk += report.walk;
            sample.wire = match (sample.wire.take(), report.wire.clone()) {
                (Some(mine), Some(theirs)) => Some(mine.and(theirs)),
                (mine, theirs) => mine.or(theirs),
            };
            sample.ledger.add(&report.ledger);
            sample.drain = sample.drain.max(report.drain);
        }
        for receipt in &self.receipts {
            sample.receiver.beside(&receipt.spent);
            sample.latency.add(&receipt.latency);
        }
        sample
    }
}

/// An instant and what had been received at it: again if the thread was put aside between the two readings.
fn instant_and_bytes(turn: &Turn) -> (Instant, u64) {
    const TRIES: usize = 5;
    const APART: Duration = Duration::from_micros(50);
    let read = || {
        let before = Instant::now();
        let bytes = turn.bytes();
        (before, bytes, before.elapsed())
    };
    let mut best = read();
    for _ in 1..TRIES {
        if best.2 < APART {
            break;
        }
        best = read();
    }
    (best.0, best.1)
}

/// A server in this process, on a port of its own.
fn serve_here(scenario: &Scenario, cpus: &[usize], news: Sender<News>) -> Result<Reached, RigError> {
    (scenario.path.probe)(&scenario.spec)
        .map_err(|reason| RigError::Unsupported { path: scenario.path.name, reason })?;
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = connection::listen(address, &scenario.options)
        .map_err(setup("the server could not listen on loopback"))?;
    let applied = Applied::of(&listener).map_err(setup("socket options could not be read back"))?;
    let ticket = Ticket::new().map_err(setup("no random numbers"))?;
    let seats = Seats::plan(scenario.placement, scenario.clients, cpus);
    let service = service(scenario, seats.servers, &applied, ticket);
    let server = Server::start(listener, scenario.options, Doors::default())
        .map_err(setup("the server could not start"))?;
    let address = server.address();
    let offered = server.desk().offer(service, news);
    Ok(Reached {
        end: ServerEnd::Here(offered, server),
        address,
        ticket,
        one_host: true,
        sender_cpus: None,
        #[cfg(feature = "cli")]
        host: None,
    })
}

/// A server on another host, which probes, plans and bounds by itself.
#[cfg(feature = "cli")]
fn serve_there(scenario: &Scenario, site: &remote::Site, news: Sender<News>) -> Result<Reached, RigError> {
    let order = remote::order::Order::of(scenario);
    let (call, offered) = remote::Call::place(site, &order, &scenario.options, news)?;
    Ok(Reached {
        one_host: call.one_host(),
        end: ServerEnd::There(call),
        address: site.address,
        ticket: offered.ticket.into(),
        sender_cpus: Some(offered.sender_cpus),
        host: Some(Box::new(offered.conditions)),
    })
}

fn service(scenario: &Scenario, seats: Vec<seat::Seat>, applied: &Applied, ticket: Ticket) -> Service {
    let budget = if scenario.bounded && scenario.path.release == Release::OnCompletion {
        Budget::share(&Limits::of_process(), scenario.clients, applied.send_buffer)
    } else {
        Budget::unbounded()
    };
    Service {
        path: scenario.path,
        spec: scenario.spec,
        verify: scenario.verify,
        seats,
        terms: Terms { budget, urgent: scenario.urgent },
        ticket,
        options: scenario.options,
        counted_threads: scenario.counted_threads,
        pollution_table: scenario.pollution_table,
        idle_steps: scenario.idle_steps,
        drain_timeout: DRAIN,
    }
}

fn member(
    scenario: &Scenario,
    client: usize,
    seat: seat::Seat,
    server: SocketAddr,
    ticket: Ticket,
) -> io::Result<Member> {
    let socket = connection::connect(server, &scenario.options)?;
    let hello = Hello::data(client as u32, ticket).encode();
    if socket.send(&hello, 0)? != hello.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let receiver = (scenario.receive.open)(socket.try_clone()?)?;
    let verifier = scenario.verify.then(|| Verifier::new(&scenario.spec));
    let (size, counted) = (scenario.spec.size as u64, client < scenario.counted_threads);
    Ok(Member { seat, socket, receiver, verifier, size, counted })
}

/// The two ends of a connection, and the handles by which it is asked, received and woken: three each; and the
/// clock of the thread at each end.
const FILES_PER_CLIENT: u64 = 8;

/// The counters of the threads at both ends.
const FILES_PER_COUNTED: u64 = 14;

/// Files that are open beside the connections: standard streams, listeners, results, `/proc`.
const FILES_BESIDE: u64 = 64;

/// Raises the soft limit of open files where that is needed and allowed.
fn allow_files(scenario: &Scenario) -> Result<(), RigError> {
    let clients = scenario.clients;
    let counted = scenario.counted_threads.min(clients) as u64;
    let read = || limits::open_files().map_err(setup("the limit of open files could not be read"));
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let needed = open + clients as u64 * FILES_PER_CLIENT + counted * FILES_PER_COUNTED + FILES_BESIDE;
    let limit = read()?;
    if needed <= limit.soft {
        return Ok(());
    }
    if needed > limit.hard {
        return Err(RigError::OpenFiles { clients, needed, hard: limit.hard });
    }
    limits::set_open_files(needed).map_err(setup("the limit of open files could not be raised"))
}
