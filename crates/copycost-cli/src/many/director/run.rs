//! One run of such a rig: in step, gathered, and added up.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::Director;
use crate::many::control_messages::{Command, Reply};
use crate::many::link::send_message;
use copycost::internals::cost::cpu::{self, CpuSpent};
use copycost::rig::{HostShare, RigError, Sample, Work};

impl Director {
    pub(super) fn run(
        &self,
        rig: u64,
        clients: &[usize],
        patience: Duration,
        work: Work,
    ) -> Result<Sample, RigError> {
        self.still_whole()?;
        let run = {
            let mut state = self.state();
            state.runs += 1;
            state.runs
        };
        let servers = self.other_servers();
        let all: Vec<_> = servers.iter().chain(clients).copied().collect();
        let say = |word: &Command| all.iter().for_each(|rank| send_message(&*self.link, *rank, word));
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        say(&Command::Run { rig, run, work });
        let patience = match work {
            // Nothing comes from the hosts until the last message was due.
            Work::OpenLoop(load) => patience.saturating_add(load.length),
            _ => patience,
        };
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
        total.process = all.and_then(|all| all.into_iter().reduce(CpuSpent::merge_parallel));
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
