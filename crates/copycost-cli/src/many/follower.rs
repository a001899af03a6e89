//! Every rank but the first: it carries out the commands of rank 0 until the job is done.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::control_messages::{Command, Reply, RigOrder};
use super::link::{RankLink, receive_message, send_message, wait};
use super::local::RankServer;
use super::membership::{Greeting, RankRole};
use crate::remote::{self, Token};
use copycost::internals::cost::cpu;
use copycost::internals::rig::WindowBarrier;
use copycost::rig::{Rig, RigError, Site, Work};
use copycost::scenario::ConnectionOptions;

/// After this silence a follower takes rank 0 for lost. Between two commands rank 0 writes files and watches an idle
/// machine, which takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(180);

/// The time from the first call in this process to `at`.
pub(super) fn clock(at: Instant) -> Duration {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    at.saturating_duration_since(*EPOCH.get_or_init(Instant::now))
}

/// How a job ended for a rank that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// The job finished normally.
    Done,
    /// Rank 0 reported that a rank is lost.
    Abandoned,
}

/// Carries out the commands of rank 0 until the job is done.
///
/// # Errors
/// A sentence for the user: rank 0 is silent, or this host cannot take part.
pub fn follow(link: &dyn RankLink) -> Result<JobEnd, String> {
    clock(Instant::now());
    let (local, token, abandoned) = (None, None, false);
    let mut follower = Follower { link, local, token, rigs: HashMap::new(), received: (0, 0), abandoned };
    loop {
        let next = wait(Instant::now() + PATIENCE, || {
            receive_message::<Command>(link).filter(|(from, _)| *from == 0)
        });
        let Some((_, command)) = next else {
            return Err(format!("rank 0 has sent nothing for {} seconds", PATIENCE.as_secs()));
        };
        match command {
            Command::Finish => {
                let (bytes, windows) = follower.received;
                send_message(link, 0, &Reply::Books { bytes, windows });
                return Ok(JobEnd::Done);
            }
            command => follower.execute(command)?,
        }
        if follower.abandoned {
            return Ok(JobEnd::Abandoned);
        }
    }
}

struct Follower<'a> {
    link: &'a dyn RankLink,
    /// The server in this process, if this rank is a server.
    local: Option<RankServer>,
    token: Option<Token>,
    rigs: HashMap<u64, Rig>,
    /// Bytes received within windows, and the number of windows.
    received: (u64, u64),
    /// Rank 0 has abandoned the job.
    abandoned: bool,
}

impl Follower<'_> {
    fn execute(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Welcome { role, token, network, most_clients, stall } => {
                let joined = self.join(role, &token, network, most_clients, stall);
                match &joined {
                    Ok(greeting) => self.reply(&Reply::Greeting(Box::new(greeting.clone()))),
                    Err(why) => self.reply(&Reply::Unfit(why.clone())),
                }
                return joined.map(drop);
            }
            Command::Clock => self.reply(&Reply::Clock(clock(Instant::now()))),
            Command::SetUp(order) => {
                let rig = order.rig;
                let reply = match self.set_up(&order) {
                    Ok(built) => {
                        let set_up = Box::new(built.info().clone());
                        self.rigs.insert(rig, built);
                        Reply::Ready { rig, set_up }
                    }
                    Err(error) => Reply::NotReady { rig, error },
                };
                self.reply(&reply);
            }
            Command::TakeDown { rig } => drop(self.rigs.remove(&rig)),
            Command::Run { rig, run, work } => {
                let reply =
                    if self.local.is_some() { self.serve(run, work) } else { self.run(rig, run, work) };
                self.reply(&reply);
            }
            // Commands for a run that has already failed here.
            Command::Open { .. } | Command::Over { .. } | Command::CallOff { .. } | Command::Finish => {}
            Command::Abandon => self.abandoned = true,
        }
        Ok(())
    }

    fn reply(&self, reply: &Reply) {
        send_message(self.link, 0, reply);
    }

    fn join(
        &mut self,
        role: RankRole,
        token: &str,
        network: Option<String>,
        most_clients: usize,
        stall: Duration,
    ) -> Result<Greeting, String> {
        let token = Token::from_hex(token).ok_or("the token of the job is malformed")?;
        self.token = Some(token.clone());
        if role == RankRole::Receives {
            return Ok(Greeting::here(Vec::new()));
        }
        let network = network.map(|network| network.parse()).transpose()?;
        let options = ConnectionOptions { stall_timeout: stall, ..ConnectionOptions::for_this_machine() };
        let local = RankServer::start(token, network, most_clients, options)?;
        let greeting = Greeting::here(local.addresses.clone());
        self.local = Some(local);
        Ok(greeting)
    }

    fn set_up(&self, order: &RigOrder) -> Result<Rig, String> {
        let scenario = order.scenario()?;
        let mut site = remote::RemoteSite::new(order.addresses.clone(), self.token.clone());
        site.shares = order.shares;
        site.build(&scenario).map_err(|error| error.to_string())
    }

    fn run(&mut self, rig: u64, run: u64, work: Work) -> Reply {
        let Some(rig) = self.rigs.get_mut(&rig) else {
            return Reply::Failed { run, error: "there is no such rig here".to_owned() };
        };
        let work = match work {
            // With the same due times on all hosts, the server would get all requests at once.
            Work::OpenLoop(load) => Work::OpenLoop(load.of_host(self.link.rank())),
            work => work,
        };
        let mut step = WindowStep::new(self.link, run);
        let result = rig.run_with_barrier(work, &mut step);
        self.abandoned |= step.abandoned;
        match result {
            Ok(sample) => {
                if matches!(work, Work::Window(_)) {
                    self.received = (self.received.0 + sample.bytes, self.received.1 + 1);
                }
                Reply::Done { run, sample: Box::new(sample) }
            }
            Err(error) => Reply::Failed { run, error: error.to_string() },
        }
    }

    /// A run on a server rank. Clients connect without being asked, so the rank only reports the CPU time of the
    /// process.
    fn serve(&mut self, run: u64, work: Work) -> Reply {
        let before = cpu::process_now().ok();
        let mut step = WindowStep::new(self.link, run);
        let over = loop {
            match wait(Instant::now() + PATIENCE, || receive_message::<Command>(self.link)) {
                Some((0, Command::Open { run: opened, lead })) if opened == run => {
                    if let Work::Window(length) = work {
                        thread::sleep(lead + length + lead);
                    }
                }
                Some((0, command)) if step.ends(&command) => break true,
                Some(_) => {}
                None => break false,
            }
        };
        self.abandoned |= step.abandoned;
        let process = before.filter(|_| over).and_then(|before| cpu::process_since(before).ok());
        Reply::Served { run, process }
    }
}

/// The state of one window on this host, opened and closed together with those of the other hosts.
struct WindowStep<'a> {
    link: &'a dyn RankLink,
    run: u64,
    /// When this rank last sent something to rank 0.
    last_sent: Option<Instant>,
    /// How late another host may open or close its window.
    lead: Duration,
    /// When the window closed, and whether this was reported to rank 0.
    closed: Option<(Instant, bool)>,
    /// Rank 0 has abandoned the job.
    abandoned: bool,
}

impl<'a> WindowStep<'a> {
    fn new(link: &'a dyn RankLink, run: u64) -> Self {
        Self { link, run, last_sent: None, lead: Duration::ZERO, closed: None, abandoned: false }
    }

    /// Whether `command` ends the run.
    fn ends(&mut self, command: &Command) -> bool {
        match command {
            Command::Over { run } | Command::CallOff { run } => *run == self.run,
            Command::Abandon => {
                self.abandoned = true;
                true
            }
            _ => false,
        }
    }

    fn reply(&mut self, reply: &Reply) {
        send_message(self.link, 0, reply);
        self.last_sent = Some(Instant::now());
    }

    /// The next command of rank 0, if one has arrived.
    fn next_command(&mut self) -> Result<Option<Command>, RigError> {
        if self.last_sent.is_some_and(|sent| sent.elapsed() > PATIENCE) {
            return Err(RigError::Lost(format!(
                "rank 0 has sent nothing for {} seconds",
                PATIENCE.as_secs()
            )));
        }
        match receive_message::<Command>(self.link) {
            Some((0, Command::CallOff { run })) if run == self.run => Err(RigError::Cancelled),
            Some((0, Command::Abandon)) => {
                self.abandoned = true;
                Err(RigError::Cancelled)
            }
            Some((0, command)) => Ok(Some(command)),
            _ => Ok(None),
        }
    }
}

impl WindowBarrier for WindowStep<'_> {
    fn opens(&mut self) -> Result<Option<Instant>, RigError> {
        if self.last_sent.is_none() {
            self.reply(&Reply::Receives { run: self.run });
        }
        match self.next_command()? {
            Some(Command::Open { run, lead }) if run == self.run => {
                self.lead = lead;
                Ok(Some(Instant::now() + lead))
            }
            _ => Ok(None),
        }
    }

    fn is_over(&mut self) -> Result<bool, RigError> {
        let (closed, reported) = *self.closed.get_or_insert_with(|| (Instant::now(), false));
        // Windows of other hosts may still be open.
        if closed.elapsed() < self.lead {
            return Ok(false);
        }
        if !reported {
            self.reply(&Reply::Closed { run: self.run, at: clock(closed) });
            self.closed = Some((closed, true));
        }
        Ok(matches!(self.next_command()?, Some(Command::Over { run }) if run == self.run))
    }
}
