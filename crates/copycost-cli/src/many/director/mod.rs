//! Rank 0: it serves, has the other ranks do together what a rig does, and gathers what they measured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::control_messages::{Command, HostRigInfo, Reply, RigOrder, VERSION};
use super::link::{RankLink, hear, tell, wait};
use super::local::RankServer;
use super::membership::{self, Greeting, Member, RankRole};
use super::sharing::{server_of, shares};
use crate::conditions::RankConditions;
use crate::remote::IpNetwork;
use crate::remote::Token;
use crate::remote::order::{ServiceOrder, sentence};
use copycost::cost::cpu::{self, CpuSpent};
use copycost::cost::pollution::Walk;
use copycost::internals::placement::CpuUsage;
use copycost::rig::{BufferOffsets, ClientCluster, HostShare, Rig, RigError, RigInfo, Sample, Site, Work};
use copycost::scenario::ConnectionOptions;
use copycost::scenario::Scenario;

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
    /// Whether the process was told to end.
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
    pub own: (u64, u64),
    /// As gathered from it, run by run.
    pub gathered: (u64, u64),
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
    /// Begins the job: every other rank is told what it is to be, and says who it is.
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
                Command::Welcome { role: role(rank), token: token.in_words(), network, most_clients, stall };
            tell(&*link, rank, &welcome);
        }
        let greeting = Greeting::here(local.addresses.clone());
        let mut members = vec![Member { rank: 0, role: RankRole::Serves, greeting }];
        let mut unfit = Vec::new();
        let greeted = wait(Instant::now() + JOIN_TIMEOUT, || {
            while let Some((rank, answer)) = hear::<Reply>(&*link) {
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
        (1..self.members.len()).for_each(|rank| tell(&*self.link, rank, &Command::Finish));
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
            own: own.get(rank).copied().unwrap_or_default(),
            gathered: gathered.get(rank).copied().unwrap_or_default(),
        };
        hosts.iter().map(books).collect()
    }

    /// Tells all other ranks to end at once, where one is lost: the engine may not, and nobody can take leave of a rank that
    /// is dead.
    pub fn abandon(&self) {
        (1..self.members.len()).for_each(|rank| tell(&*self.link, rank, &Command::Abandon));
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
            while let Some((from, answer)) = hear::<Reply>(&*self.link) {
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
            ranks.iter().for_each(|rank| tell(&*self.link, *rank, &Command::Clock));
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

    fn set_up(
        self: &Arc<Self>,
        scenario: &Scenario,
        hosts: usize,
    ) -> Result<(Box<dyn ClientCluster>, RigInfo), RigError> {
        self.still_whole()?;
        let (ranks, patience) = (self.clients(hosts), self.patience(&scenario.options));
        self.compare_clocks(&ranks, patience)?;
        let rig = {
            let mut state = self.state();
            state.rigs += 1;
            state.rigs
        };
        let (servers, clients) = self.members.split_at(self.terms.servers);
        let shares = shares(servers, clients, hosts, scenario.clients);
        for (host, (rank, shares)) in ranks.iter().zip(shares).enumerate() {
            let word = RigOrder {
                rig,
                order: ServiceOrder::of(scenario),
                receive: scenario.receive.name.to_owned(),
                stall: scenario.options.stall_timeout,
                addresses: servers[server_of(host, servers.len())].greeting.addresses.clone(),
                shares,
            };
            tell(&*self.link, *rank, &Command::SetUp(Box::new(word)));
        }
        // From here on what was set up is taken down again, whatever comes.
        let crew = ClusterRig { director: Arc::clone(self), ranks: ranks.clone(), rig, patience };
        let (mut known, mut failed) = (Vec::new(), None);
        self.await_all(
            &ranks,
            SET_UP_TIMEOUT + scenario.preparation() + patience,
            |rank, answer| match answer {
                Reply::Ready { rig: which, set_up } if which == rig => {
                    known.push((rank, *set_up));
                    Ok(true)
                }
                Reply::NotReady { rig: which, error } if which == rig => {
                    failed.get_or_insert((rank, error));
                    Ok(true)
                }
                _ => Ok(false),
            },
        )?;
        if let Some((rank, error)) = failed {
            return Err(self.failed(rank, &error));
        }
        known.sort_by_key(|(rank, _)| *rank);
        let about = self.about(&known).ok_or(RigError::Broken)?;
        Ok((Box::new(crew), about))
    }

    fn failed(&self, rank: usize, error: &str) -> RigError {
        RigError::Host { host: self.members[rank].to_string(), error: sentence(error) }
    }

    /// What there is to know of a rig whose parts are `known`.
    fn about(&self, known: &[(usize, HostRigInfo)]) -> Option<RigInfo> {
        let first = &known.first()?.1;
        let walk = known.iter().fold(Walk::default(), |mut walk, (_, known)| {
            walk += known.idle_walk;
            walk
        });
        let shares: Option<Vec<f64>> = known.iter().map(|(_, known)| known.huge_share).collect();
        Some(RigInfo {
            applied: first.applied.clone(),
            address: first.address,
            placed: self.placed(known),
            copied_because: known.iter().find_map(|(_, known)| known.copied_because.clone()),
            huge_share: shares.and_then(|shares| shares.into_iter().reduce(f64::min)),
            offsets: BufferOffsets { message: first.offsets.0, receive: first.offsets.1 },
            idle_walk: walk,
            report: None,
        })
    }

    /// The CPUs of all hosts together; those of a machine that several ranks share count once.
    fn placed(&self, known: &[(usize, HostRigInfo)]) -> CpuUsage {
        let (mut clients, mut servers) = (BTreeMap::new(), BTreeMap::new());
        for (rank, known) in known {
            let (cpus, sender_cpus, apart) = known.placed;
            let server = server_of(rank - self.terms.servers, self.terms.servers);
            let own = if apart { cpus - sender_cpus.min(cpus) } else { cpus };
            *clients.entry(&self.members[*rank].greeting.machine).or_insert(0) += own;
            *servers.entry(server).or_insert(0) += sender_cpus;
        }
        let mut sender_cpus = 0;
        for (server, cpus) in servers {
            let greeting = &self.members[server].greeting;
            let cpus = cpus.min(greeting.conditions.cpus);
            sender_cpus += cpus;
            *clients.entry(&greeting.machine).or_insert(0) += cpus;
        }
        let online = |machine: &String| {
            let of = |member: &&Member| member.greeting.machine == *machine;
            self.members.iter().find(of).map_or(usize::MAX, |member| member.greeting.online)
        };
        CpuUsage {
            cpus: clients.iter().map(|(machine, cpus)| (*cpus).min(online(machine))).sum(),
            sender_cpus,
            apart: known.iter().all(|(_, known)| known.placed.2),
        }
    }

    fn run(&self, rig: u64, clients: &[usize], patience: Duration, work: Work) -> Result<Sample, RigError> {
        self.still_whole()?;
        let run = {
            let mut state = self.state();
            state.runs += 1;
            state.runs
        };
        let servers = self.other_servers();
        let all: Vec<_> = servers.iter().chain(clients).copied().collect();
        let say = |word: &Command| all.iter().for_each(|rank| tell(&*self.link, *rank, word));
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        say(&Command::Run { rig, run, work: work.into() });
        let closed = match work {
            Work::Window(length) => self.conduct(run, length, clients, patience, &say),
            _ => Ok(BTreeMap::new()),
        };
        let gathered = closed.and_then(|closed| {
            let parts =
                self.gather(run, clients, &servers, matches!(work, Work::Window(_)), patience, &say)?;
            Ok((closed, parts))
        });
        let (closed, (samples, processes)) = match gathered {
            Ok(gathered) => gathered,
            Err(error) => {
                say(&Command::CallOff { run });
                return Err(error);
            }
        };
        let mut total = self.total(&samples, &closed).ok_or(RigError::Broken)?;
        total.wall = began.elapsed();
        let own = process.and_then(|earlier| cpu::process_since(earlier).ok());
        let all: Option<Vec<CpuSpent>> = processes.into_iter().chain([own]).collect();
        total.process = all.and_then(|all| all.into_iter().reduce(CpuSpent::and));
        let mut state = self.state();
        for share in total.hosts.iter().filter(|_| matches!(work, Work::Window(_))) {
            let books = state.gathered.entry(share.rank).or_default();
            *books = (books.0 + share.bytes, books.1 + 1);
        }
        Ok(total)
    }

    /// Opens the windows of a run once all receive, and waits until they are closed: when each was, by the host's clock.
    fn conduct(
        &self,
        run: u64,
        length: Duration,
        clients: &[usize],
        patience: Duration,
        say: &dyn Fn(&Command),
    ) -> Result<BTreeMap<usize, Duration>, RigError> {
        self.await_all(clients, patience, |rank, answer| match answer {
            Reply::Receives { run: which } => Ok(which == run),
            answer => self.no_failure(run, rank, &answer),
        })?;
        let lead = self.lead(clients);
        say(&Command::Open { run, lead });
        // Nobody looks while the clock runs, nor in the moment in which those who are late still close.
        thread::sleep(lead + length + lead);
        let mut closed = BTreeMap::new();
        self.await_all(clients, patience, |rank, answer| match answer {
            Reply::Closed { run: which, at } if which == run => {
                closed.insert(rank, at);
                Ok(true)
            }
            answer => self.no_failure(run, rank, &answer),
        })?;
        Ok(closed)
    }

    /// What every client host and every other server has of a run.
    #[allow(clippy::type_complexity, reason = "two kinds of answers, used once")]
    fn gather(
        &self,
        run: u64,
        clients: &[usize],
        servers: &[usize],
        window: bool,
        patience: Duration,
        say: &dyn Fn(&Command),
    ) -> Result<(Vec<(usize, Sample)>, Vec<Option<CpuSpent>>), RigError> {
        if window {
            say(&Command::Over { run });
        }
        let mut samples = Vec::new();
        let mut processes = Vec::new();
        let mut take = |rank, answer| match answer {
            Reply::Done { run: which, sample } if which == run => {
                samples.push((rank, *sample));
                Ok(true)
            }
            Reply::Served { run: which, process } if which == run => {
                processes.push(process);
                Ok(true)
            }
            answer => self.no_failure(run, rank, &answer),
        };
        if window {
            let all: Vec<_> = servers.iter().chain(clients).copied().collect();
            self.await_all(&all, patience, take)?;
        } else {
            self.await_all(clients, patience, &mut take)?;
            say(&Command::Over { run });
            self.await_all(servers, patience, take)?;
        }
        samples.sort_by_key(|(rank, _)| *rank);
        Ok((samples, processes))
    }

    /// False: it is another answer; an error where it is that of a host that has failed.
    fn no_failure(&self, run: u64, rank: usize, answer: &Reply) -> Result<bool, RigError> {
        match answer {
            Reply::Failed { run: which, error } if *which == run => Err(self.failed(rank, error)),
            _ => Ok(false),
        }
    }

    /// All hosts' samples as one, with the share of each.
    fn total(&self, samples: &[(usize, Sample)], closed: &BTreeMap<usize, Duration>) -> Option<Sample> {
        // When each window opened, on one clock.
        let opened = |rank: usize, sample: &Sample| {
            let ahead = self.state().clocks.get(&rank)?.ahead;
            Some(closed.get(&rank)?.as_secs_f64() - sample.elapsed.as_secs_f64() - ahead)
        };
        let opened: Vec<_> = samples.iter().map(|(rank, sample)| opened(*rank, sample)).collect();
        let first = opened.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let mut total: Option<Sample> = None;
        let mut hosts = Vec::new();
        for ((rank, sample), opened) in samples.iter().zip(opened) {
            let late =
                opened.map_or(Duration::ZERO, |opened| Duration::from_secs_f64((opened - first).max(0.0)));
            let name = &self.members[*rank].greeting.name;
            hosts.push(HostShare::of(*rank, name, sample, late));
            match &mut total {
                None => total = Some(sample.clone()),
                Some(total) => total.merge_parallel(sample),
            }
        }
        total.map(|total| Sample { hosts, ..total })
    }
}

/// Some of the client hosts, as an end of rigs.
#[derive(Debug)]
struct HostSubset {
    director: Arc<Director>,
    hosts: usize,
}

impl Site for HostSubset {
    fn transport(&self) -> &'static str {
        "mpi"
    }

    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError> {
        (scenario.receive.probe)(scenario.verify)
            .map_err(|reason| RigError::Unsupported { path: scenario.receive.name, reason })?;
        let (crew, about) = self.director.set_up(scenario, self.hosts)?;
        Ok(Rig::of_crew(scenario, crew, about))
    }

    fn client_hosts(&self) -> usize {
        self.hosts
    }

    fn lost(&self) -> Option<String> {
        self.director.lost()
    }
}

/// A rig that hosts have ready, until this is dropped.
#[derive(Debug)]
struct ClusterRig {
    director: Arc<Director>,
    ranks: Vec<usize>,
    rig: u64,
    patience: Duration,
}

impl ClientCluster for ClusterRig {
    fn run(&mut self, work: Work) -> Result<Sample, RigError> {
        self.director.run(self.rig, &self.ranks, self.patience, work)
    }
}

impl Drop for ClusterRig {
    fn drop(&mut self) {
        let word = Command::TakeDown { rig: self.rig };
        self.ranks.iter().for_each(|rank| tell(&*self.director.link, *rank, &word));
    }
}
