//! Every rank but the first: it does what rank 0 says, until that says that the job is done.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, hear, tell, wait};
use super::local::Local;
use super::roll::{Greeting, Role};
use super::words::{Answer, Known, Say, SetUp, Task};
use crate::remote::{self, Token};
use copycost::cost::cpu;
use copycost::rig::{Gate, Rig, RigError, Site};
use copycost::scenario::Options;

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
pub enum Left {
    /// It is done.
    Done,
    /// A rank is lost, and rank 0 has said so.
    Abandoned,
}

/// Does what rank 0 says until the job is done.
///
/// # Errors
/// Rank 0 is silent, or this host is not fit: a sentence.
pub fn follow(link: &dyn Link) -> Result<Left, String> {
    clock(Instant::now());
    let (local, token, abandoned) = (None, None, false);
    let mut follower = Follower { link, local, token, rigs: HashMap::new(), books: (0, 0), abandoned };
    loop {
        let heard = wait(Instant::now() + PATIENCE, || hear::<Say>(link).filter(|(from, _)| *from == 0));
        let Some((_, word)) = heard else {
            return Err(format!("rank 0 has sent nothing for {} seconds", PATIENCE.as_secs()));
        };
        match word {
            Say::Finish => {
                let (bytes, windows) = follower.books;
                tell(link, 0, &Answer::Books { bytes, windows });
                return Ok(Left::Done);
            }
            word => follower.obey(word)?,
        }
        if follower.abandoned {
            return Ok(Left::Abandoned);
        }
    }
}

struct Follower<'a> {
    link: &'a dyn Link,
    /// The server here, if this rank is to serve.
    local: Option<Local>,
    token: Option<Token>,
    rigs: HashMap<u64, Rig>,
    /// Bytes received in windows, and how many windows.
    books: (u64, u64),
    /// Rank 0 has given the job up.
    abandoned: bool,
}

impl Follower<'_> {
    fn obey(&mut self, word: Say) -> Result<(), String> {
        match word {
            Say::Welcome { role, token, network, most_clients, stall } => {
                let joined = self.join(role, &token, network, most_clients, stall);
                match &joined {
                    Ok(greeting) => self.answer(&Answer::Greeting(Box::new(greeting.clone()))),
                    Err(why) => self.answer(&Answer::Unfit(why.clone())),
                }
                return joined.map(drop);
            }
            Say::Clock => self.answer(&Answer::Clock(clock(Instant::now()))),
            Say::SetUp(word) => {
                let rig = word.rig;
                let answer = match self.set_up(&word) {
                    Ok(built) => {
                        let set_up = Box::new(Known::of(built.about()));
                        self.rigs.insert(rig, built);
                        Answer::Ready { rig, set_up }
                    }
                    Err(error) => Answer::NotReady { rig, error },
                };
                self.answer(&answer);
            }
            Say::TakeDown { rig } => drop(self.rigs.remove(&rig)),
            Say::Run { rig, run, work } => {
                let answer =
                    if self.local.is_some() { self.serve(run, work) } else { self.run(rig, run, work) };
                self.answer(&answer);
            }
            // Words for a run that has failed here meanwhile.
            Say::Open { .. } | Say::Over { .. } | Say::CallOff { .. } | Say::Finish => {}
            Say::Abandon => self.abandoned = true,
        }
        Ok(())
    }

    fn answer(&self, answer: &Answer) {
        tell(self.link, 0, answer);
    }

    fn join(
        &mut self,
        role: Role,
        token: &str,
        network: Option<String>,
        most_clients: usize,
        stall: Duration,
    ) -> Result<Greeting, String> {
        let token = Token::from_words(token).ok_or("the token of the job is malformed")?;
        self.token = Some(token.clone());
        if role == Role::Receives {
            return Ok(Greeting::here(Vec::new()));
        }
        let network = network.map(|network| network.parse()).transpose()?;
        let options = Options { stall, ..Options::for_this_machine() };
        let local = Local::start(token, network, most_clients, options)?;
        let greeting = Greeting::here(local.addresses.clone());
        self.local = Some(local);
        Ok(greeting)
    }

    fn set_up(&self, word: &SetUp) -> Result<Rig, String> {
        let scenario = word.scenario()?;
        let mut site = remote::RemoteSite::new(word.addresses.clone(), self.token.clone());
        site.shares = word.shares;
        site.build(&scenario).map_err(|error| error.to_string())
    }

    fn run(&mut self, rig: u64, run: u64, work: Task) -> Answer {
        let Some(rig) = self.rigs.get_mut(&rig) else {
            return Answer::Failed { run, error: "there is no such rig here".to_owned() };
        };
        let mut step = Step::new(self.link, run);
        let result = rig.run_in_step(work.into(), &mut step);
        self.abandoned |= step.abandoned;
        match result {
            Ok(sample) => {
                if matches!(work, Task::Window(_)) {
                    self.books = (self.books.0 + sample.bytes, self.books.1 + 1);
                }
                Answer::Done { run, sample: Box::new(sample) }
            }
            Err(error) => Answer::Failed { run, error: error.to_string() },
        }
    }

    /// The part of a server in a run: its clients come by themselves, and only the process's CPU time is to be told.
    fn serve(&mut self, run: u64, work: Task) -> Answer {
        let before = cpu::process_now().ok();
        let mut step = Step::new(self.link, run);
        let over = loop {
            match wait(Instant::now() + PATIENCE, || hear::<Say>(self.link)) {
                Some((0, Say::Open { run: which, lead })) if which == run => {
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
        Answer::Served { run, process }
    }
}

/// A window in step with those of the other hosts.
struct Step<'a> {
    link: &'a dyn Link,
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

impl<'a> Step<'a> {
    fn new(link: &'a dyn Link, run: u64) -> Self {
        Self { link, run, told: None, lead: Duration::ZERO, closed: None, abandoned: false }
    }

    /// Whether a word ends the run.
    fn ends(&mut self, word: &Say) -> bool {
        match word {
            Say::Over { run } | Say::CallOff { run } => *run == self.run,
            Say::Abandon => {
                self.abandoned = true;
                true
            }
            _ => false,
        }
    }

    fn tell(&mut self, answer: &Answer) {
        tell(self.link, 0, answer);
        self.told = Some(Instant::now());
    }

    /// The next word for this run.
    fn hear(&mut self) -> Result<Option<Say>, RigError> {
        if self.told.is_some_and(|told| told.elapsed() > PATIENCE) {
            return Err(RigError::Lost(format!(
                "rank 0 has sent nothing for {} seconds",
                PATIENCE.as_secs()
            )));
        }
        match hear::<Say>(self.link) {
            Some((0, Say::CallOff { run })) if run == self.run => Err(RigError::CalledOff),
            Some((0, Say::Abandon)) => {
                self.abandoned = true;
                Err(RigError::CalledOff)
            }
            Some((0, word)) => Ok(Some(word)),
            _ => Ok(None),
        }
    }
}

impl Gate for Step<'_> {
    fn opens(&mut self) -> Result<Option<Instant>, RigError> {
        if self.told.is_none() {
            self.tell(&Answer::Receives { run: self.run });
        }
        match self.hear()? {
            Some(Say::Open { run, lead }) if run == self.run => {
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
            self.tell(&Answer::Closed { run: self.run, at: clock(closed) });
            self.closed = Some((closed, true));
        }
        Ok(matches!(self.hear()?, Some(Say::Over { run }) if run == self.run))
    }
}
