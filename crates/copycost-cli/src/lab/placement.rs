//! Which thread runs on which CPU in a lab: the ends in their namespaces, the relay apart from them, and the softirq
//! work on the CPUs of the end that it serves.

use std::collections::BTreeSet;

use super::Lab;
use super::error::LabError;
use copycost::internals::placement::{Placement, PlacementPlan, ThreadPlacement};

/// The placement of the ends and of the relay.
#[derive(Debug, PartialEq, Eq)]
struct LabPlacement {
    plan: PlacementPlan,
    /// The CPUs of the relay; empty means any.
    relay: Vec<usize>,
    /// Whether the relay shares a CPU with an end.
    shared: bool,
}

impl LabPlacement {
    /// For `clients` clients on `cpus`, in order of preference.
    ///
    /// With three or more CPUs the relay has the last one to itself. With two, the relay takes the second: `paired`
    /// leaves it free, and `split` has it share with the clients. It must not share with the senders: its writes would
    /// then run the receive path of the senders' TCP, and the relay would pay for it.
    fn new(placement: Placement, clients: usize, cpus: &[usize]) -> Self {
        let (ends, relay) = match (placement, cpus) {
            (_, []) => (cpus, &cpus[..0]),
            (Placement::Split, [_, last]) => (cpus, std::slice::from_ref(last)),
            (_, [_]) => (cpus, cpus),
            (_, [ends @ .., last]) => (ends, std::slice::from_ref(last)),
        };
        let mut plan = PlacementPlan::plan(placement, clients, ends);
        let with_relay = |thread: &ThreadPlacement| thread.cpu.is_some_and(|cpu| relay.contains(&cpu));
        let mut shared = false;
        for thread in plan.servers.iter_mut().chain(&mut plan.clients).filter(|thread| with_relay(thread)) {
            // Otherwise each frame would switch from the relay to the client and back, which halves the throughput.
            (thread.batch, shared) = (true, true);
        }
        Self { plan, relay: relay.to_vec(), shared }
    }
}

/// The CPUs of these threads, each once. Without pinning: `cpus` without those of the relay, or all if there is only
/// one.
fn cpus_of(threads: &[ThreadPlacement], cpus: &[usize], relay: &[usize]) -> Vec<usize> {
    let pinned: Option<BTreeSet<usize>> = threads.iter().map(|thread| thread.cpu).collect();
    match pinned {
        Some(pinned) => pinned.into_iter().collect(),
        None => cpus.iter().copied().filter(|cpu| cpus.len() < 2 || !relay.contains(cpu)).collect(),
    }
}

impl Lab {
    /// The placement of the threads of both ends, with their namespaces.
    pub fn placement_plan(&self, placement: Placement, clients: usize, cpus: &[usize]) -> PlacementPlan {
        let mut plan = LabPlacement::new(placement, clients, cpus).plan;
        let network = &self.network;
        plan.servers.iter_mut().for_each(|thread| thread.netns = Some(network.server.netns.clone()));
        plan.clients.iter_mut().for_each(|thread| thread.netns = Some(network.clients.netns.clone()));
        plan
    }

    /// Moves the relay away from the CPUs of the ends, and the softirq work of each end to the CPUs of that end.
    pub fn arrange(&self, placement: Placement, clients: usize, cpus: &[usize]) -> Result<(), LabError> {
        let LabPlacement { plan, relay, shared } = LabPlacement::new(placement, clients, cpus);
        self.relay.move_to(if relay.is_empty() { cpus } else { &relay }, shared);
        self.network.steer(&cpus_of(&plan.servers, cpus, &relay), &cpus_of(&plan.clients, cpus, &relay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_has_a_cpu_of_its_own_where_there_are_three() {
        for placement in Placement::ALL {
            let LabPlacement { plan, relay, .. } = LabPlacement::new(*placement, 4, &[0, 1, 2, 3]);
            assert_eq!(relay, [3]);
            let used = |threads: &[ThreadPlacement]| {
                threads.iter().filter_map(|thread| thread.cpu).collect::<Vec<_>>()
            };
            assert!(!used(&plan.servers).contains(&3) && !used(&plan.clients).contains(&3));
        }
    }

    #[test]
    fn with_two_cpus_the_relay_never_shares_with_the_senders() {
        for placement in [Placement::Paired, Placement::Split] {
            let LabPlacement { plan, relay, .. } = LabPlacement::new(placement, 3, &[4, 5]);
            assert_eq!(relay, [5], "{placement}");
            assert!(plan.servers.iter().all(|thread| thread.cpu == Some(4)), "{placement}");
        }
        assert_eq!(LabPlacement::new(Placement::Split, 1, &[0]).relay, [0]);
    }

    #[test]
    fn softirq_runs_on_the_cpus_of_its_end() {
        let LabPlacement { plan, relay, shared } = LabPlacement::new(Placement::Split, 2, &[0, 1]);
        assert!(shared && plan.clients.iter().all(|thread| thread.batch));
        assert_eq!(cpus_of(&plan.servers, &[0, 1], &relay), [0]);
        assert_eq!(cpus_of(&plan.clients, &[0, 1], &relay), [1]);
        let LabPlacement { plan, relay, shared } = LabPlacement::new(Placement::Free, 2, &[0, 1, 2]);
        assert!(!shared);
        assert_eq!(cpus_of(&plan.servers, &[0, 1, 2], &relay), [0, 1]);
    }
}
