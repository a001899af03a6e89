//! Rank 0: it serves, has the other ranks do together what a rig does, and gathers what they measured.

mod run;
mod set_up;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::set_up::HostSubset;
use super::control_messages::{Command, Reply};
use super::link::{RankLink, receive_message, send_message, wait};
use super::local::RankServer;
use super::membership::{self, Greeting, Member, RankRole, VERSION};
use crate::conditions::RankConditions;
use crate::remote::IpNetwork;
use crate::remote::Token;
use crate::remote::order::sentence;
use copycost::rig::{RigError, Site};
use copycost::scenario::ConnectionOptions;

/// What a job is asked for.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// How many ranks serve: the first ones.
    pub servers: usize,
    /// In which network the servers are reached; `None`: by any address that answers.
    pub network: Option<IpNetwork>,
    /// The most clients of the job, over all hosts and all paths of a cell.
    pub most_clients: usize,
    /// How connections are made.
    pub options: ConnectionOptions,
    /// Whether a signal has asked the process to end.
    pub called_off: fn() -> bool,
}

/// Rank 0 of a job.
#[derive(Debug)]
pub struct Director {
    link: Arc<dyn RankLink>,
    terms: JobConfig,
    members: Vec<Member>,
    state: Mutex<JobState>,
    _local: RankServer,
}

#[derive(Debug, Default)]
struct JobState {
    /// Numbers of rigs and runs that were given away.
    rigs: u64,
    runs: u64,
    /// The clock of each rank.
    clocks: BTreeMap<usize, ClockOffset>,
    /// What was gathered of each client host: bytes and windows.
    gathered: BTreeMap<usize, (u64, u64)>,
    /// Why nothing more can be measured.
    lost: Option<String>,
}

/// What is known of another rank's clock.
#[derive(Debug, Clone, Copy)]
struct ClockOffset {
    /// What it shows beyond ours, in seconds.
    ahead: f64,
    /// The round trip in which that was learned: half of it is how far it may be wrong.
    round_trip: Duration,
}

/// What a client host received in the whole job: bytes within windows, and how many windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReceived {
    /// Which host.
    pub host: String,
    /// By its own books.
    pub counted: (u64, u64),
    /// As gathered from it, run by run.
    pub collected: (u64, u64),
}

/// How long ranks may take to say who they are: their launcher starts them one after the other.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a host may take to set a scenario up, beyond the time to make the messages.
const SET_UP_TIMEOUT: Duration = Duration::from_secs(45);

/// Longer than any end waits by itself, beyond the time that an end may be silent: who knows the reason speaks first.
const REPLY_MARGIN: Duration = Duration::from_secs(15);

/// Between a signal to this process and its end are no more than a few hundred milliseconds: mpirun follows up with
/// SIGKILL after a second.
const GRACE: Duration = Duration::from_millis(300);

/// Round trips by which clocks are compared; the shortest counts.
const ROUND_TRIPS: usize = 3;

/// The shortest and the longest lead of a window.
const LEADS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

impl Director {
    /// Begins the job: assigns a role to every other rank and collects their greetings.
    ///
    /// # Errors
    /// A rank that is silent or not fit, named; or this one is not.
    pub fn start(link: Arc<dyn RankLink>, terms: JobConfig) -> Result<Arc<Self>, String> {
        let token = Token::fresh().map_err(|error| format!("random numbers could not be read: {error}"))?;
        let (most_clients, stall) = (terms.most_clients, terms.options.stall_timeout);
        let local = RankServer::start(token.clone(), terms.network, most_clients, terms.options)?;
        let role = |rank| if rank < terms.servers { RankRole::Serves } else { RankRole::Receives };
        for rank in 1..link.size() {
            let network = terms.network.map(|network| network.to_string());
            let welcome =
                Command::Welcome { role: role(rank), token: token.to_hex(), network, most_clients, stall };
            send_message(&*link, rank, &welcome);
        }
        let greeting = Greeting::here(local.addresses.clone());
        let mut members = vec![Member { rank: 0, role: RankRole::Serves, greeting }];
        let mut unfit = Vec::new();
        let greeted = wait(Instant::now() + JOIN_TIMEOUT, || {
            while let Some((rank, answer)) = receive_message::<Reply>(&*link) {
                match answer {
                    Reply::Greeting(greeting) => {
                        members.push(Member { rank, role: role(rank), greeting: *greeting });
                    }
                    Reply::Unfit(why) => unfit.push(format!("rank {rank}: {}", sentence(&why))),
                    _ => unfit.push(format!("rank {rank} does not identify itself")),
                }
            }
            (members.len() + unfit.len() >= link.size()).then_some(())
        });
        if let Some(why) = unfit.first() {
            return Err(why.clone());
        }
        if greeted.is_none() {
            let there: BTreeSet<_> = members.iter().map(|member| member.rank).collect();
            let missing: Vec<_> =
                (0..link.size()).filter(|rank| !there.contains(rank)).map(|rank| rank.to_string()).collect();
            let seconds = JOIN_TIMEOUT.as_secs();
            return Err(format!("rank {} has sent nothing for {seconds} seconds", missing.join(", ")));
        }
        members.sort_by_key(|member| member.rank);
        if let Some(other) = members.iter().find(|member| member.greeting.words != VERSION) {
            return Err(format!(
                "{other} runs copycost {}, which has another version of the protocol ({}, and this is \
                 {VERSION}): use the same copycost on all hosts",
                other.greeting.conditions.version, other.greeting.words
            ));
        }
        Ok(Arc::new(Self { link, terms, members, state: Mutex::default(), _local: local }))
    }

    /// How many client hosts there are.
    pub fn client_hosts(&self) -> usize {
        self.members.len() - self.terms.servers
    }

    /// The conditions of every rank.
    pub fn conditions(&self) -> Vec<RankConditions> {
        membership::conditions(&self.members)
    }

    /// In what the ranks differ and what they share, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        membership::remarks(&self.members)
    }

    /// The first `hosts` of the client hosts, as one end of rigs.
    pub fn with(self: &Arc<Self>, hosts: usize) -> Arc<dyn Site> {
        Arc::new(HostSubset { director: Arc::clone(self), hosts: hosts.clamp(1, self.client_hosts()) })
    }

    /// Why nothing more can be measured, if that is so.
    pub fn lost(&self) -> Option<String> {
        self.state().lost.clone()
    }

    /// Ends the job for all ranks, and says of each client host what it received.
    pub fn finish(&self) -> Vec<HostReceived> {
        (1..self.members.len()).for_each(|rank| send_message(&*self.link, rank, &Command::Finish));
        let mut own: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        let hosts = self.clients(self.client_hosts());
        let _ = self.await_all(&hosts, REPLY_MARGIN, |rank, answer| match answer {
            Reply::Books { bytes, windows } => {
                own.insert(rank, (bytes, windows));
                Ok(true)
            }
            _ => Ok(false),
        });
        let gathered = std::mem::take(&mut self.state().gathered);
        let books = |rank: &usize| HostReceived {
            host: format!("{} (rank {rank})", self.members[*rank].greeting.name),
            counted: own.get(rank).copied().unwrap_or_default(),
            collected: gathered.get(rank).copied().unwrap_or_default(),
        };
        hosts.iter().map(books).collect()
    }

    /// Tells all other ranks to end at once, where one is lost: the engine may not, and nobody can take leave of a rank that
    /// is dead.
    pub fn abandon(&self) {
        (1..self.members.len()).for_each(|rank| send_message(&*self.link, rank, &Command::Abandon));
        thread::sleep(GRACE / 3);
    }

    fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ranks of the first `hosts` client hosts.
    fn clients(&self, hosts: usize) -> Vec<usize> {
        (self.terms.servers..).take(hosts).collect()
    }

    /// The ranks of the other servers.
    fn other_servers(&self) -> Vec<usize> {
        (1..self.terms.servers).collect()
    }

    fn still_whole(&self) -> Result<(), RigError> {
        self.state().lost.clone().map_or(Ok(()), |why| Err(RigError::Lost(why)))
    }

    /// Longer than any end of `options` waits by itself.
    fn patience(&self, options: &ConnectionOptions) -> Duration {
        options.stall_timeout + REPLY_MARGIN
    }

    /// Waits until each of `ranks` has answered: `take` is shown every answer, says whether it was the one, and ends
    /// the waiting by an error. A rank that is silent for too long is lost, and with it the job.
    fn await_all(
        &self,
        ranks: &[usize],
        patience: Duration,
        mut take: impl FnMut(usize, Reply) -> Result<bool, RigError>,
    ) -> Result<(), RigError> {
        let mut missing: BTreeSet<usize> = ranks.iter().copied().collect();
        let mut signalled = None;
        let result = wait(Instant::now() + patience, || {
            while let Some((from, answer)) = receive_message::<Reply>(&*self.link) {
                match take(from, answer) {
                    Ok(true) => _ = missing.remove(&from),
                    Ok(false) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
            if missing.is_empty() {
                return Some(Ok(true));
            }
            let waited =
                (self.terms.called_off)() && signalled.get_or_insert_with(Instant::now).elapsed() > GRACE;
            waited.then_some(Ok(false))
        });
        let names: Vec<_> = missing.iter().map(|rank| self.members[*rank].to_string()).collect();
        let names = names.join(", ");
        let why = match result {
            Some(Ok(true)) => return Ok(()),
            Some(Err(error)) => return Err(error),
            Some(Ok(false)) => format!("a signal ended the run before {names} answered"),
            None => format!(
                "{names} sent nothing for {} seconds: dead, hung or cut off from this host",
                patience.as_secs()
            ),
        };
        self.state().lost = Some(why.clone());
        Err(RigError::Lost(why))
    }

    /// Asks every rank for its clock a few times.
    fn compare_clocks(&self, ranks: &[usize], patience: Duration) -> Result<(), RigError> {
        for _ in 0..ROUND_TRIPS {
            let asked = Instant::now();
            ranks.iter().for_each(|rank| send_message(&*self.link, *rank, &Command::Clock));
            self.await_all(ranks, patience, |rank, answer| {
                let Reply::Clock(shown) = answer else { return Ok(false) };
                let round_trip = asked.elapsed();
                let ahead = shown.as_secs_f64() - (self.clock(asked) + round_trip.as_secs_f64() / 2.0);
                let mut state = self.state();
                let known = state.clocks.get(&rank).copied();
                // Clocks drift: what was learned for an earlier set-up counts only until something better comes.
                if known.is_none_or(|known| round_trip <= known.round_trip * 2) {
                    state.clocks.insert(rank, ClockOffset { ahead, round_trip });
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// An instant as seconds of our own clock.
    fn clock(&self, at: Instant) -> f64 {
        super::follower::clock(at).as_secs_f64()
    }

    /// How long after the word for it a window opens: in that time the word reaches all.
    fn lead(&self, ranks: &[usize]) -> Duration {
        let state = self.state();
        let trips = ranks.iter().filter_map(|rank| state.clocks.get(rank)).map(|clock| clock.round_trip);
        (4 * trips.max().unwrap_or_default()).clamp(LEADS.0, LEADS.1)
    }

    fn failed(&self, rank: usize, error: &str) -> RigError {
        RigError::Host { host: self.members[rank].to_string(), error: sentence(error) }
    }
}
