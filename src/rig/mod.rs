//! A warm scenario: server, fleet and connections, ready to run. Every measurement in this crate is
//! [`Rig::run`].

mod error;
mod files;
mod gathered;
mod sample;
mod site;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use crossbeam::select;

#[cfg(feature = "cli")]
use crate::conditions::Conditions;
use crate::connection::{self, Applied};
use crate::cost::cpu;
use crate::cost::pollution::Walk;
use crate::fleet::{Fleet, Member, Outcome, Turn};
#[cfg(feature = "cli")]
use crate::lab::{Lab, Probed};
use crate::protocol::{Hello, Ticket};
use crate::recv::Verifier;
use crate::scenario::Scenario;
use crate::seat::{self, Placed, Seat};
use crate::server::News;

use error::setup;
use gathered::Gathered;
use site::{DRAIN, ServerEnd};

pub use crate::fleet::Work;
pub use error::{RigError, Side};
pub use sample::Sample;
pub use site::Site;

/// What a new rig does before it is handed out: buffers are faulted in, congestion windows are open.
const WARM_UP: Duration = Duration::from_millis(20);

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
    copied_because: Option<String>,
    #[cfg(feature = "cli")]
    host: Option<Box<Conditions>>,
    #[cfg(feature = "cli")]
    probed: Option<Probed>,
    #[cfg(feature = "cli")]
    lab: Option<Arc<Lab>>,
    huge_share: Option<f64>,
    idle_walk: Walk,
    /// An end failed: nothing more can be measured.
    broken: bool,
}

impl Rig {
    /// Sets everything up over loopback in this process and warms it.
    pub fn build(scenario: &Scenario) -> Result<Self, RigError> {
        Self::at(&Site::Here, scenario)
    }

    /// Sets everything up with the server at `site` and warms it.
    pub fn at(site: &Site, scenario: &Scenario) -> Result<Self, RigError> {
        (scenario.receive.probe)(scenario.verify)
            .map_err(|reason| RigError::Unsupported { path: scenario.receive.name, reason })?;
        files::allow(scenario)?;
        let cpus = seat::cpus().map_err(setup("the process's CPUs could not be read"))?;
        let (news_to, news) = unbounded();
        let reached = site.reach(scenario, &cpus, news_to)?;
        let seats = site.seats(scenario, &cpus).of_clients(reached.one_host, &cpus);
        let mut placed = seats.placed(cpus.len());
        if let (false, Some(sender_cpus)) = (reached.one_host, reached.sender_cpus) {
            placed = Placed { cpus: placed.cpus + sender_cpus, sender_cpus, apart: true };
        }
        let members = members(scenario, seats.clients, reached.address, reached.ticket)
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
            copied_because: reached.copied_because,
            #[cfg(feature = "cli")]
            host: reached.host,
            #[cfg(feature = "cli")]
            probed: reached.probed,
            #[cfg(feature = "cli")]
            lab: if let Site::Lab(lab) = site { Some(Arc::clone(lab)) } else { None },
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

    /// Why the kernel copies zero-copy sends on this way, where that is known.
    pub fn copied_because(&self) -> Option<&str> {
        self.copied_because.as_deref()
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

    /// What a probe saw of its path, in a lab.
    #[cfg(feature = "cli")]
    pub fn probed(&self) -> Option<&Probed> {
        self.probed.as_ref()
    }

    /// Does `work` on all clients. After an error the rig cannot be used again.
    pub fn run(&mut self, work: Work) -> Result<Sample, RigError> {
        if self.broken {
            return Err(RigError::Broken);
        }
        let turn = Arc::new(Turn::new(self.scenario.clients));
        let mut gathered = Gathered::new(self.scenario.clients);
        #[cfg(feature = "cli")]
        let books = self.lab.as_ref().map(|lab| lab.books());
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        self.fleet.begin(&turn, work);
        let mut result = self.watch(work, &turn, &mut gathered);
        if let Ok(sample) = &mut result {
            sample.wall = began.elapsed();
            sample.process = process.and_then(|earlier| cpu::process_since(earlier).ok());
            #[cfg(feature = "cli")]
            {
                sample.relayed = self.lab.as_ref().zip(books).map(|(lab, books)| lab.since(&books));
            }
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

/// The clients, each with a connection: made where they sit, because a socket belongs to the network in which it was
/// made.
fn members(
    scenario: &Scenario,
    seats: Vec<Seat>,
    server: SocketAddr,
    ticket: Ticket,
) -> io::Result<Vec<Member>> {
    let netns = seats.first().and_then(|seat| seat.netns.clone());
    let connect = move || {
        let member = |(client, seat)| member(scenario, client, seat, server, ticket);
        seats.into_iter().enumerate().map(member).collect()
    };
    let Some(netns) = netns else { return connect() };
    thread::scope(|scope| {
        let there = move || netns.enter().and_then(|()| connect());
        let thread = thread::Builder::new().name("connect".into()).spawn_scoped(scope, there)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn member(
    scenario: &Scenario,
    client: usize,
    seat: Seat,
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
