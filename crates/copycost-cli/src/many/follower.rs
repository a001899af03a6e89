//! Every rank but the first: it does what rank 0 says, until that says that the job is done.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::control_messages::{Command, HostRigInfo, Reply, RigOrder, Task};
use super::link::{RankLink, hear, tell, wait};
use super::local::RankServer;
use super::membership::{Greeting, RankRole};
use crate::remote::{self, Token};
use copycost::cost::cpu;
use copycost::rig::{Rig, RigError, Site, WindowBarrier};
use copycost::scenario::ConnectionOptions;

/// A rank 0 that has said nothing for so long is gone: between two words it writes files and looks at an idle machine for
/// seconds at the most.
const PATIENCE: Duration = Duration::from_secs(180);

/// This process's clock: the time from its first look at it.
pub(super) fn clock(at: Instant) -> Duration {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    at.saturating_duration_since(*EPOCH.get_or_init(Instant::now))
}

/// How a job ended for a rank that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It is done.
    Done,
    /// A rank is lost, and rank 0 has said so.
    Abandoned,
}

/// Does what rank 0 says until the job is done.
///
/// # Errors
/// Rank 0 is silent, or this host is not fit: a sentence.
pub fn follow(link: &dyn RankLink) -> Result<JobEnd, String> {
    clock(Instant::now());
    let (local, token, abandoned) = (None, None, false);
    let mut follower = Follower { link, local, token, rigs: HashMap::new(), books: (0, 0), abandoned };
    loop {
        let heard = wait(Instant::now() + PATIENCE, || hear::<Command>(link).filter(|(from, _)| *from == 0));
        let Some((_, word)) = heard else {
            return Err(format!("rank 0 has sent nothing for {} seconds", PATIENCE.as_secs()));
        };
        match word {
            Command::Finish => {
                let (bytes, windows) = follower.books;
                tell(link, 0, &Reply::Books { bytes, windows });
                return Ok(JobEnd::Done);
            }
            word => follower.obey(word)?,
        }
        if follower.abandoned {
            return Ok(JobEnd::Abandoned);
        }
    }
}

struct Follower<'a> {
    link: &'a dyn RankLink,
    /// The server here, if this rank is to serve.
    local: Option<RankServer>,
    token: Option<Token>,
    rigs: HashMap<u64, Rig>,
    /// Bytes received in windows, and how many windows.
    books: (u64, u64),
    /// Rank 0 has given the job up.
    abandoned: bool,
}

impl Follower<'_> {
    fn obey(&mut self, word: Command) -> Result<(), String> {
        match word {
            Command::Welcome { role, token, network, most_clients, stall } => {
                let joined = self.join(role, &token, network, most_clients, stall);
                match &joined {
                    Ok(greeting) => self.answer(&Reply::Greeting(Box::new(greeting.clone()))),
                    Err(why) => self.answer(&Reply::Unfit(why.clone())),
                }
                return joined.map(drop);
            }
            Command::Clock => self.answer(&Reply::Clock(clock(Instant::now()))),
            Command::SetUp(word) => {
                let rig = word.rig;
                let answer = match self.set_up(&word) {
                    Ok(built) => {
                        let set_up = Box::new(HostRigInfo::of(built.about()));
                        self.rigs.insert(rig, built);
                        Reply::Ready { rig, set_up }
                    }
                    Err(error) => Reply::NotReady { rig, error },
                };
                self.answer(&answer);
            }
            Command::TakeDown { rig } => drop(self.rigs.remove(&rig)),
            Command::Run { rig, run, work } => {
                let answer =
                    if self.local.is_some() { self.serve(run, work) } else { self.run(rig, run, work) };
                self.answer(&answer);
            }
            // Words for a run that has failed here meanwhile.
            Command::Open { .. } | Command::Over { .. } | Command::CallOff { .. } | Command::Finish => {}
            Command::Abandon => self.abandoned = true,
        }
        Ok(())
    }

    fn answer(&self, answer: &Reply) {
        tell(self.link, 0, answer);
    }

    fn join(
        &mut self,
        role: RankRole,
        token: &str,
        network: Option<String>,
        most_clients: usize,
        stall: Duration,
    ) -> Result<Greeting, String> {
        let token = Token::from_words(token).ok_or("the token of the job is malformed")?;
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

    fn set_up(&self, word: &RigOrder) -> Result<Rig, String> {
        let scenario = word.scenario()?;
        let mut site = remote::RemoteSite::new(word.addresses.clone(), self.token.clone());
        site.shares = word.shares;
        site.build(&scenario).map_err(|error| error.to_string())
    }

    fn run(&mut self, rig: u64, run: u64, work: Task) -> Reply {
        let Some(rig) = self.rigs.get_mut(&rig) else {
            return Reply::Failed { run, error: "there is no such rig here".to_owned() };
        };
        let mut step = WindowStep::new(self.link, run);
        let result = rig.run_in_step(work.into(), &mut step);
        self.abandoned |= step.abandoned;
        match result {
            Ok(sample) => {
                if matches!(work, Task::Window(_)) {
                    self.books = (self.books.0 + sample.bytes, self.books.1 + 1);
                }
                Reply::Done { run, sample: Box::new(sample) }
            }
            Err(error) => Reply::Failed { run, error: error.to_string() },
        }
    }

    /// The part of a server in a run: its clients come by themselves, and only the process's CPU time is to be told.
    fn serve(&mut self, run: u64, work: Task) -> Reply {
        let before = cpu::process_now().ok();
        let mut step = WindowStep::new(self.link, run);
        let over = loop {
            match wait(Instant::now() + PATIENCE, || hear::<Command>(self.link)) {
                Some((0, Command::Open { run: which, lead })) if which == run => {
                    if let Task::Window(length) = work {
                        thread::sleep(lead + length + lead);
                    }
                }
                Some((0, word)) if step.ends(&word) => break true,
                Some(_) => {}
                None => break false,
            }
        };
        self.abandoned |= step.abandoned;
        let process = before.filter(|_| over).and_then(|before| cpu::process_since(before).ok());
        Reply::Served { run, process }
    }
}

/// A window in step with those of the other hosts.
struct WindowStep<'a> {
    link: &'a dyn RankLink,
    run: u64,
    /// When rank 0 was last told something.
    told: Option<Instant>,
    /// The lead of the window: as long as others may be late.
    lead: Duration,
    /// When the window was closed, and whether rank 0 knows.
    closed: Option<(Instant, bool)>,
    /// Rank 0 has given the job up.
    abandoned: bool,
}

impl<'a> WindowStep<'a> {
    fn new(link: &'a dyn RankLink, run: u64) -> Self {
        Self { link, run, told: None, lead: Duration::ZERO, closed: None, abandoned: false }
    }

    /// Whether a word ends the run.
    fn ends(&mut self, word: &Command) -> bool {
        match word {
            Command::Over { run } | Command::CallOff { run } => *run == self.run,
            Command::Abandon => {
                self.abandoned = true;
                true
            }
            _ => false,
        }
    }

    fn tell(&mut self, answer: &Reply) {
        tell(self.link, 0, answer);
        self.told = Some(Instant::now());
    }

    /// The next word for this run.
    fn hear(&mut self) -> Result<Option<Command>, RigError> {
        if self.told.is_some_and(|told| told.elapsed() > PATIENCE) {
            return Err(RigError::Lost(format!(
                "rank 0 has sent nothing for {} seconds",
                PATIENCE.as_secs()
            )));
        }
        match hear::<Command>(self.link) {
            Some((0, Command::CallOff { run })) if run == self.run => Err(RigError::CalledOff),
            Some((0, Command::Abandon)) => {
                self.abandoned = true;
                Err(RigError::CalledOff)
            }
            Some((0, word)) => Ok(Some(word)),
            _ => Ok(None),
        }
    }
}

impl WindowBarrier for WindowStep<'_> {
    fn opens(&mut self) -> Result<Option<Instant>, RigError> {
        if self.told.is_none() {
            self.tell(&Reply::Receives { run: self.run });
        }
        match self.hear()? {
            Some(Command::Open { run, lead }) if run == self.run => {
                self.lead = lead;
                Ok(Some(Instant::now() + lead))
            }
            _ => Ok(None),
        }
    }

    fn is_over(&mut self) -> Result<bool, RigError> {
        let (closed, told) = *self.closed.get_or_insert_with(|| (Instant::now(), false));
        // Others may still be at it.
        if closed.elapsed() < self.lead {
            return Ok(false);
        }
        if !told {
            self.tell(&Reply::Closed { run: self.run, at: clock(closed) });
            self.closed = Some((closed, true));
        }
        Ok(matches!(self.hear()?, Some(Command::Over { run }) if run == self.run))
    }
}
