//! A rig that several hosts have ready together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Director, SET_UP_TIMEOUT};
use crate::many::control_messages::{Command, Reply, RigOrder};
use crate::many::link::send_message;
use crate::many::membership::Member;
use crate::many::sharing::{server_of, shares};
use crate::remote::order::ServiceOrder;
use copycost::internals::cost::pollution::Walk;
use copycost::internals::placement::CpuUsage;
use copycost::internals::rig::{ClientCluster, RigInfo};
use copycost::rig::{Rig, RigError, Sample, Site, Work};
use copycost::scenario::Scenario;

impl Director {
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
            send_message(&*self.link, *rank, &Command::SetUp(Box::new(word)));
        }
        // From here on what was set up is taken down again, whatever comes.
        let cluster = ClusterRig { director: Arc::clone(self), ranks: ranks.clone(), rig, patience };
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
        let info = self.about(&known).ok_or(RigError::Broken)?;
        Ok((Box::new(cluster), info))
    }

    /// What there is to know of a rig whose parts are `known`.
    fn about(&self, known: &[(usize, RigInfo)]) -> Option<RigInfo> {
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
            offsets: first.offsets,
            idle_walk: walk,
            report: None,
        })
    }

    /// The CPUs of all hosts together; those of a machine that several ranks share count once.
    fn placed(&self, known: &[(usize, RigInfo)]) -> CpuUsage {
        let (mut clients, mut servers) = (BTreeMap::new(), BTreeMap::new());
        for (rank, known) in known {
            let CpuUsage { cpus, sender_cpus, separate_cpus: apart } = known.placed;
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
            separate_cpus: known.iter().all(|(_, known)| known.placed.separate_cpus),
        }
    }
}

/// Some of the client hosts, as an end of rigs.
#[derive(Debug)]
pub(super) struct HostSubset {
    pub(super) director: Arc<Director>,
    pub(super) hosts: usize,
}

impl Site for HostSubset {
    fn transport(&self) -> &'static str {
        "mpi"
    }

    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError> {
        (scenario.receive.probe)(scenario.verify)
            .map_err(|reason| RigError::Unsupported { path: scenario.receive.name, reason })?;
        let (cluster, info) = self.director.set_up(scenario, self.hosts)?;
        Ok(Rig::of_cluster(scenario, cluster, info))
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
        self.ranks.iter().for_each(|rank| send_message(&*self.director.link, *rank, &word));
    }
}
