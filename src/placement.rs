//! Where each thread of a measurement sits. Chosen, not left to luck: for two clients and 64 KiB on two CPUs
//! `split` gave 5.6 GB/s, `paired` 16.5, and `free` anything between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::message::words;
use crate::sys::netns::Netns;
use crate::sys::sched;

/// How server threads and clients share the CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// A client and its server thread share a CPU; pairs are spread over the CPUs. Each CPU does both ends, so
    /// throughput is the inverse of the whole CPU cost of a byte.
    #[default]
    Paired,
    /// Server threads on one half of the CPUs, clients on the other.
    Split,
    /// Where the scheduler likes.
    Free,
}

words!(Placement: Paired = "paired", Split = "split", Free = "free");

/// Where one thread sits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadPlacement {
    /// The network namespace; `None`: that of the process.
    pub netns: Option<Netns>,
    /// The CPU; `None`: any.
    pub cpu: Option<usize>,
    /// SCHED_BATCH: no preemption on wake-up. Two threads that share a CPU otherwise preempt each other with
    /// every small send (1 KiB per field: 0.1 instead of 0.25 GB/s).
    pub batch: bool,
}

impl ThreadPlacement {
    /// Moves the calling thread to this seat.
    pub fn apply(&self) -> io::Result<()> {
        if let Some(netns) = &self.netns {
            netns.enter()?;
        }
        if let Some(cpu) = self.cpu {
            sched::pin(&[cpu])?;
        }
        if self.batch { sched::batch() } else { Ok(()) }
    }
}

/// The seats of both ends, one for each client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementPlan {
    /// Of the server's threads, by client.
    pub servers: Vec<ThreadPlacement>,
    /// Of the clients.
    pub clients: Vec<ThreadPlacement>,
}

impl PlacementPlan {
    /// Seats for `clients` clients on `cpus`, which are in the order in which they should be used.
    pub fn plan(placement: Placement, clients: usize, cpus: &[usize]) -> Self {
        let spread = |cpus: &[usize], batch| -> Vec<ThreadPlacement> {
            let cpu = |i: usize| cpus.get(i % cpus.len().max(1)).copied();
            (0..clients).map(|i| ThreadPlacement { cpu: cpu(i), batch, netns: None }).collect()
        };
        match placement {
            Placement::Paired => Self { servers: spread(cpus, true), clients: spread(cpus, true) },
            Placement::Split => {
                // One CPU alone has no halves: both ends share it.
                let (low, high) = cpus.split_at(cpus.len() / 2);
                let servers = if low.is_empty() { high } else { low };
                Self { servers: spread(servers, false), clients: spread(high, false) }
            }
            Placement::Free => Self { servers: spread(&[], false), clients: spread(&[], false) },
        }
    }
}

impl PlacementPlan {
    /// These seats for the server's end: where the clients are on another host, both halves of `split` are free.
    #[must_use]
    pub fn for_servers(self, one_host: bool, cpus: &[usize]) -> Self {
        let servers = if one_host { self.servers } else { spread_unshared(&self.servers, cpus) };
        Self { servers, clients: if one_host { self.clients } else { Vec::new() } }
    }

    /// Likewise for the clients' end.
    #[must_use]
    pub fn for_clients(self, one_host: bool, cpus: &[usize]) -> Self {
        let clients = if one_host { self.clients } else { spread_unshared(&self.clients, cpus) };
        Self { clients, servers: if one_host { self.servers } else { Vec::new() } }
    }
}

/// Which of several clients some are, where they share CPUs with others: from so many on, of so many in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientRange {
    /// How many come before them.
    pub before: usize,
    /// How many there are in all; less than those who ask: there are no others.
    pub all: usize,
}

impl ClientRange {
    /// How many there are in all, `clients` of them those who ask.
    pub fn total(self, clients: usize) -> usize {
        self.all.max(self.before.saturating_add(clients))
    }
}

impl PlacementPlan {
    /// Of seats that were planned for all, those of the `clients` who ask.
    #[must_use]
    pub fn range(self, among: ClientRange, clients: usize) -> Self {
        let part = |seats: Vec<ThreadPlacement>| seats.into_iter().skip(among.before).take(clients).collect();
        Self { servers: part(self.servers), clients: part(self.clients) }
    }
}

/// Seats spread over all CPUs, pinned where they were pinned before, under the default policy: nobody shares.
fn spread_unshared(seats: &[ThreadPlacement], cpus: &[usize]) -> Vec<ThreadPlacement> {
    let pinned = |seat: &ThreadPlacement| seat.cpu.is_some() && !cpus.is_empty();
    let seat = |(i, seat): (usize, &ThreadPlacement)| {
        let cpu = pinned(seat).then(|| cpus[i % cpus.len()]);
        ThreadPlacement { cpu, batch: false, netns: seat.netns.clone() }
    };
    seats.iter().enumerate().map(seat).collect()
}

/// How many CPUs the threads of a measurement were placed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuUsage {
    /// By both ends together; where nothing is pinned, as many as there are threads or CPUs.
    pub cpus: usize,
    /// By the senders.
    pub sender_cpus: usize,
    /// No CPU is used by both ends.
    pub apart: bool,
}

impl PlacementPlan {
    /// The CPUs of these seats on a machine where the process may use `allowed`.
    pub fn cpu_usage(&self, allowed: usize) -> CpuUsage {
        let distinct = |seats: &[ThreadPlacement]| -> Option<BTreeSet<usize>> {
            seats.iter().map(|seat| seat.cpu).collect()
        };
        match (distinct(&self.servers), distinct(&self.clients)) {
            (Some(servers), Some(clients)) => CpuUsage {
                cpus: servers.union(&clients).count(),
                sender_cpus: servers.len(),
                apart: servers.is_disjoint(&clients),
            },
            _ => CpuUsage {
                cpus: allowed.min(self.servers.len() + self.clients.len()),
                sender_cpus: allowed.min(self.servers.len()),
                apart: false,
            },
        }
    }
}

/// The CPUs this process may use, in the order in which pairs should fill them: the physical cores of one NUMA
/// node, those of the next, then the second threads of the cores.
pub fn cpus() -> io::Result<Vec<usize>> {
    Ok(ordered(&sched::allowed_cpus()?, Path::new("/sys/devices/system")))
}

fn ordered(allowed: &[usize], system: &Path) -> Vec<usize> {
    let mut threads_of_core: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut keyed: Vec<_> = allowed
        .iter()
        .map(|cpu| {
            let topology = system.join(format!("cpu/cpu{cpu}/topology"));
            let number =
                |name| fs::read_to_string(topology.join(name)).ok().and_then(|text| text.trim().parse().ok());
            let package: usize = number("physical_package_id").unwrap_or(0);
            // Without a topology every CPU counts as a core of its own.
            let core = number("core_id").unwrap_or(*cpu);
            let sibling = threads_of_core.entry((package, core)).or_default();
            *sibling += 1;
            (*sibling, node_of(*cpu, system), *cpu)
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, _, cpu)| cpu).collect()
}

fn node_of(cpu: usize, system: &Path) -> usize {
    let entries = fs::read_dir(system.join(format!("cpu/cpu{cpu}"))).into_iter().flatten().flatten();
    let node = |name: &str| name.strip_prefix("node")?.parse().ok();
    entries.filter_map(|entry| node(entry.file_name().to_str()?)).next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus_of(seats: &[ThreadPlacement]) -> Vec<Option<usize>> {
        seats.iter().map(|seat| seat.cpu).collect()
    }

    #[test]
    fn pairs_share_a_cpu_under_batch() {
        let seats = PlacementPlan::plan(Placement::Paired, 3, &[0, 1]);
        assert_eq!(seats.servers, seats.clients);
        assert_eq!(cpus_of(&seats.servers), [Some(0), Some(1), Some(0)]);
        assert!(seats.servers.iter().all(|seat| seat.batch));
    }

    #[test]
    fn halves_are_disjoint_when_there_are_two() {
        let seats = PlacementPlan::plan(Placement::Split, 4, &[0, 1, 2, 3, 4]);
        assert_eq!(cpus_of(&seats.servers), [Some(0), Some(1), Some(0), Some(1)]);
        assert_eq!(cpus_of(&seats.clients), [Some(2), Some(3), Some(4), Some(2)]);
    }

    #[test]
    fn one_cpu_and_none_work_in_every_placement() {
        for placement in Placement::ALL {
            let one = PlacementPlan::plan(*placement, 2, &[5]);
            let expected = if *placement == Placement::Free { None } else { Some(5) };
            assert_eq!(cpus_of(&one.servers), [expected; 2]);
            assert_eq!(cpus_of(&one.clients), [expected; 2]);
            assert_eq!(PlacementPlan::plan(*placement, 2, &[]).clients.len(), 2);
        }
    }

    #[test]
    fn the_cpus_of_the_seats_are_counted_once() {
        let placed =
            |placement, clients, cpus: &[usize]| PlacementPlan::plan(placement, clients, cpus).cpu_usage(4);
        let of = |cpus, sender_cpus, apart| CpuUsage { cpus, sender_cpus, apart };
        assert_eq!(placed(Placement::Paired, 3, &[0, 1]), of(2, 2, false));
        assert_eq!(placed(Placement::Paired, 1, &[0, 1]), of(1, 1, false));
        assert_eq!(placed(Placement::Split, 3, &[0, 1]), of(2, 1, true));
        assert_eq!(placed(Placement::Split, 3, &[0]), of(1, 1, false));
        assert_eq!(placed(Placement::Free, 1, &[0, 1]), of(2, 1, false));
    }

    #[test]
    fn cores_of_a_node_come_first_and_second_threads_last() {
        let root = tempfile::tempdir().unwrap();
        // Two nodes of two cores of two threads; thread siblings are cpu and cpu + 4.
        for cpu in 0..8usize {
            let topology = root.path().join(format!("cpu/cpu{cpu}/topology"));
            fs::create_dir_all(&topology).unwrap();
            fs::create_dir(root.path().join(format!("cpu/cpu{cpu}/node{}", cpu % 2))).unwrap();
            fs::write(topology.join("physical_package_id"), format!("{}\n", cpu % 2)).unwrap();
            fs::write(topology.join("core_id"), format!("{}\n", cpu % 4 / 2)).unwrap();
        }
        let all: Vec<usize> = (0..8).collect();
        assert_eq!(ordered(&all, root.path()), [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(ordered(&[4, 6, 7], root.path()), [4, 6, 7]);
    }
}
