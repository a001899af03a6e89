//! Which CPU each thread of a measurement runs on. The placement changes the throughput several times over
//! (docs/tuning.md, "Placement"), so it is chosen and not left to the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::names::named_enum;
use crate::sys::netns::Netns;
use crate::sys::sched;

/// How server threads and clients share the CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// A client and its server thread share a CPU, and the pairs are spread over the CPUs. Each CPU does the
    /// work of both ends, so throughput is the inverse of the whole CPU cost of a byte.
    #[default]
    Paired,
    /// Server threads on one half of the CPUs, clients on the other.
    Split,
    /// The scheduler decides.
    Free,
}

named_enum!(Placement: Paired = "paired", Split = "split", Free = "free");

/// The stack of a measurement's threads. They call only the kernel and keep their buffers on the heap, and
/// 1,024 clients on three paths are 6,000 threads.
pub const STACK_BYTES: usize = 256 << 10;

/// Where one thread runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadPlacement {
    /// The network namespace; `None` is that of the process.
    pub netns: Option<Netns>,
    /// The CPU; `None` is any.
    pub cpu: Option<usize>,
    /// If `cpu` is `None`: a CPU that the thread must not use.
    pub avoid: Option<usize>,
    /// SCHED_BATCH: no preemption on wake-up. Otherwise two threads that share a CPU preempt each other at
    /// every small send (docs/tuning.md, "Placement").
    pub batch: bool,
}

impl ThreadPlacement {
    /// Moves the calling thread there.
    pub fn apply(&self) -> io::Result<()> {
        if let Some(netns) = &self.netns {
            netns.enter()?;
        }
        if let Some(cpu) = self.cpu {
            sched::pin(&[cpu])?;
        } else if let Some(avoid) = self.avoid {
            let mut cpus = sched::allowed_cpus()?;
            cpus.retain(|cpu| *cpu != avoid);
            sched::pin(&cpus)?;
        }
        if self.batch { sched::batch() } else { Ok(()) }
    }
}

/// The placement of the threads of both ends, one at each end for each client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementPlan {
    /// The server's threads, by client.
    pub servers: Vec<ThreadPlacement>,
    /// The clients' threads.
    pub clients: Vec<ThreadPlacement>,
    /// The generator of an open loop, on a CPU that no other thread of the plan uses.
    pub generator: Option<ThreadPlacement>,
}

impl PlacementPlan {
    /// Plans `clients` clients on `cpus`, which are in the order of use.
    pub fn plan(placement: Placement, clients: usize, cpus: &[usize]) -> Self {
        let spread = |cpus: &[usize], batch| -> Vec<ThreadPlacement> {
            let cpu = |i: usize| cpus.get(i % cpus.len().max(1)).copied();
            (0..clients)
                .map(|i| ThreadPlacement { cpu: cpu(i), batch, ..ThreadPlacement::default() })
                .collect()
        };
        let (servers, clients) = match placement {
            Placement::Paired => (spread(cpus, true), spread(cpus, true)),
            Placement::Split => {
                // A single CPU has no halves, so both ends share it.
                let (low, high) = cpus.split_at(cpus.len() / 2);
                let servers = if low.is_empty() { high } else { low };
                (spread(servers, false), spread(high, false))
            }
            Placement::Free => (spread(&[], false), spread(&[], false)),
        };
        Self { servers, clients, generator: None }
    }

    /// The same plan with a generator on `cpu`, if any, which must not be one of the plan's CPUs. The clients then
    /// preempt a server on their CPU: with SCHED_BATCH they would notice a message only when the server has no more
    /// to do, and the latency of the message would contain the service of those behind it.
    #[must_use]
    pub fn with_generator(mut self, cpu: Option<usize>) -> Self {
        if cpu.is_some() {
            self.clients.iter_mut().for_each(|thread| thread.batch = false);
        }
        for thread in self.servers.iter_mut().chain(&mut self.clients) {
            thread.avoid = cpu.filter(|_| thread.cpu.is_none());
        }
        self.generator = cpu.map(|cpu| ThreadPlacement { cpu: Some(cpu), ..ThreadPlacement::default() });
        self
    }
}

impl PlacementPlan {
    /// The part of the plan for the server's host. If the clients are on another host, the server uses all
    /// CPUs.
    #[must_use]
    pub fn for_servers(self, one_host: bool, cpus: &[usize]) -> Self {
        if one_host {
            return self;
        }
        // The generator is on the clients' host.
        Self { servers: spread_unshared(&self.servers, cpus), clients: Vec::new(), generator: None }
    }

    /// The part of the plan for the clients' host. If the server is on another host, the clients use all
    /// CPUs.
    #[must_use]
    pub fn for_clients(self, one_host: bool, cpus: &[usize]) -> Self {
        if one_host {
            return self;
        }
        let generator = self.generator.as_ref().and_then(|thread| thread.cpu);
        let cpus: Vec<usize> = cpus.iter().copied().filter(|cpu| Some(*cpu) != generator).collect();
        let clients = spread_unshared(&self.clients, &cpus);
        Self { clients, servers: Vec::new(), generator: None }.with_generator(generator)
    }
}

/// Which part of all clients a process has, if they share CPUs with the clients of other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientRange {
    /// The number of clients before them.
    pub before: usize,
    /// The number of all clients. If it is less than the process's own number, there are no others.
    pub all: usize,
}

impl ClientRange {
    /// The number of all clients, if this process has `clients` of them.
    pub fn total(self, clients: usize) -> usize {
        self.all.max(self.before.saturating_add(clients))
    }
}

impl PlacementPlan {
    /// The part of a plan for all clients that belongs to `among`.
    #[must_use]
    pub fn range(self, among: ClientRange, clients: usize) -> Self {
        let part =
            |threads: Vec<ThreadPlacement>| threads.into_iter().skip(among.before).take(clients).collect();
        Self { servers: part(self.servers), clients: part(self.clients), generator: self.generator }
    }
}

/// Spreads the threads over all CPUs under the default policy, because no other end shares them. Only pinned
/// threads stay pinned.
fn spread_unshared(threads: &[ThreadPlacement], cpus: &[usize]) -> Vec<ThreadPlacement> {
    let pinned = |thread: &ThreadPlacement| thread.cpu.is_some() && !cpus.is_empty();
    let placement = |(i, thread): (usize, &ThreadPlacement)| {
        let cpu = pinned(thread).then(|| cpus[i % cpus.len()]);
        ThreadPlacement { cpu, avoid: None, batch: false, netns: thread.netns.clone() }
    };
    threads.iter().enumerate().map(placement).collect()
}

/// How many CPUs the threads of a measurement use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CpuUsage {
    /// The CPUs of both ends; without pinning, the smaller of the number of threads and CPUs.
    pub cpus: usize,
    /// The CPUs of the senders.
    pub sender_cpus: usize,
    /// Whether no CPU is used by both ends.
    pub separate_cpus: bool,
}

impl PlacementPlan {
    /// The CPUs of the ends of this plan on a machine where the process may use `allowed` CPUs. That of a generator
    /// does not count.
    pub fn cpu_usage(&self, allowed: usize) -> CpuUsage {
        let allowed = allowed.saturating_sub(usize::from(self.generator.is_some()));
        let distinct = |threads: &[ThreadPlacement]| -> Option<BTreeSet<usize>> {
            threads.iter().map(|thread| thread.cpu).collect()
        };
        match (distinct(&self.servers), distinct(&self.clients)) {
            (Some(servers), Some(clients)) => CpuUsage {
                cpus: servers.union(&clients).count(),
                sender_cpus: servers.len(),
                separate_cpus: servers.is_disjoint(&clients),
            },
            _ => CpuUsage {
                cpus: allowed.min(self.servers.len() + self.clients.len()),
                sender_cpus: allowed.min(self.servers.len()),
                separate_cpus: false,
            },
        }
    }
}

/// The CPU of a generator, if there is to be one, and the CPUs of all other threads. With fewer than two CPUs there
/// is none for a generator.
pub fn reserve(generator: bool, cpus: &[usize]) -> (Option<usize>, &[usize]) {
    match cpus {
        [first, rest @ ..] if generator && !rest.is_empty() => (Some(*first), rest),
        _ => (None, cpus),
    }
}

/// The CPUs that this process may use, in the order in which pairs fill them: the physical cores of one NUMA
/// node, those of the next, then the second hardware threads of the cores.
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
            // Without a topology every CPU counts as a core.
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

    fn cpus_of(threads: &[ThreadPlacement]) -> Vec<Option<usize>> {
        threads.iter().map(|thread| thread.cpu).collect()
    }

    #[test]
    fn pairs_share_a_cpu_under_batch() {
        let plan = PlacementPlan::plan(Placement::Paired, 3, &[0, 1]);
        assert_eq!(plan.servers, plan.clients);
        assert_eq!(cpus_of(&plan.servers), [Some(0), Some(1), Some(0)]);
        assert!(plan.servers.iter().all(|thread| thread.batch));
    }

    #[test]
    fn halves_are_disjoint_when_there_are_two() {
        let plan = PlacementPlan::plan(Placement::Split, 4, &[0, 1, 2, 3, 4]);
        assert_eq!(cpus_of(&plan.servers), [Some(0), Some(1), Some(0), Some(1)]);
        assert_eq!(cpus_of(&plan.clients), [Some(2), Some(3), Some(4), Some(2)]);
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
    fn each_cpu_of_a_plan_counts_once() {
        let placed =
            |placement, clients, cpus: &[usize]| PlacementPlan::plan(placement, clients, cpus).cpu_usage(4);
        let of = |cpus, sender_cpus, apart| CpuUsage { cpus, sender_cpus, separate_cpus: apart };
        assert_eq!(placed(Placement::Paired, 3, &[0, 1]), of(2, 2, false));
        assert_eq!(placed(Placement::Paired, 1, &[0, 1]), of(1, 1, false));
        assert_eq!(placed(Placement::Split, 3, &[0, 1]), of(2, 1, true));
        assert_eq!(placed(Placement::Split, 3, &[0]), of(1, 1, false));
        assert_eq!(placed(Placement::Free, 1, &[0, 1]), of(2, 1, false));
    }

    #[test]
    fn a_generator_has_a_cpu_of_its_own() {
        for (placement, cpus) in
            [(Placement::Paired, &[4, 5][..]), (Placement::Split, &[4, 5, 6]), (Placement::Free, &[4, 5])]
        {
            let (generator, rest) = reserve(true, cpus);
            assert_eq!((generator, rest), (Some(4), &cpus[1..]));
            let plan = PlacementPlan::plan(placement, 3, rest).with_generator(generator);
            let apart = |plan: &PlacementPlan| {
                let kept_off = |thread: &ThreadPlacement| match thread.cpu {
                    Some(cpu) => cpu != 4,
                    None => thread.avoid == Some(4),
                };
                assert!(plan.servers.iter().chain(&plan.clients).all(kept_off), "{placement}: {plan:?}");
                assert_eq!(plan.generator.as_ref().and_then(|thread| thread.cpu), Some(4));
            };
            assert!(plan.clients.iter().all(|thread| !thread.batch));
            apart(&plan);
            apart(&plan.clone().for_servers(true, cpus));
            apart(&plan.clone().for_clients(true, cpus));
            apart(&plan.clone().for_clients(false, cpus));
            assert_eq!(plan.cpu_usage(cpus.len()).cpus, cpus.len() - 1);
            // A server on another host has all of its CPUs.
            let server = plan.for_servers(false, cpus);
            assert!(server.generator.is_none() && server.servers.iter().all(|thread| thread.avoid.is_none()));
        }
        assert_eq!(reserve(true, &[7]), (None, &[7][..]));
        assert_eq!(reserve(false, &[4, 5]), (None, &[4, 5][..]));
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
