//! Who sits where in a lab: the ends in their namespaces, the relay out of their way, and the work of softirq with the
//! end that it is for.

use std::collections::BTreeSet;

use super::Lab;
use super::error::LabError;
use copycost::internals::placement::{Placement, PlacementPlan, ThreadPlacement};

/// Seats and what goes with them.
#[derive(Debug, PartialEq, Eq)]
struct LabPlacement {
    seats: PlacementPlan,
    /// The relay's CPUs; empty: any.
    relay: Vec<usize>,
    /// An end sits there too.
    shared: bool,
}

impl LabPlacement {
    /// For `clients` clients on `cpus`, which are in the order in which they should be used.
    ///
    /// With three CPUs or more the last one is the relay's own. With two, `paired` leaves it the second and `split` has
    /// it share with the clients: where it shared with the senders, its writes would run the receiving half of the
    /// senders' TCP and be charged with it.
    fn new(placement: Placement, clients: usize, cpus: &[usize]) -> Self {
        let (ends, relay) = match (placement, cpus) {
            (_, []) => (cpus, &cpus[..0]),
            (Placement::Split, [_, last]) => (cpus, std::slice::from_ref(last)),
            (_, [_]) => (cpus, cpus),
            (_, [ends @ .., last]) => (ends, std::slice::from_ref(last)),
        };
        let mut seats = PlacementPlan::plan(placement, clients, ends);
        let beside = |seat: &ThreadPlacement| seat.cpu.is_some_and(|cpu| relay.contains(&cpu));
        let mut shared = false;
        for seat in seats.servers.iter_mut().chain(&mut seats.clients).filter(|seat| beside(seat)) {
            // Or each frame would switch from the relay to the client and back: half of the throughput.
            (seat.batch, shared) = (true, true);
        }
        Self { seats, relay: relay.to_vec(), shared }
    }
}

/// The CPUs of these seats, each once; all of `cpus` where they are not pinned.
fn cpus_of(seats: &[ThreadPlacement], cpus: &[usize], relay: &[usize]) -> Vec<usize> {
    let pinned: Option<BTreeSet<usize>> = seats.iter().map(|seat| seat.cpu).collect();
    match pinned {
        Some(pinned) => pinned.into_iter().collect(),
        None => cpus.iter().copied().filter(|cpu| cpus.len() < 2 || !relay.contains(cpu)).collect(),
    }
}

impl Lab {
    /// The seats of both ends, in their namespaces.
    pub fn seats(&self, placement: Placement, clients: usize, cpus: &[usize]) -> PlacementPlan {
        let PlacementPlan { mut servers, clients } = LabPlacement::new(placement, clients, cpus).seats;
        let mut of_clients = clients;
        let network = &self.network;
        servers.iter_mut().for_each(|seat| seat.netns = Some(network.server.netns.clone()));
        of_clients.iter_mut().for_each(|seat| seat.netns = Some(network.clients.netns.clone()));
        PlacementPlan { servers, clients: of_clients }
    }

    /// Moves the relay out of the way of these seats, and what arrives at each end to the CPUs of that end.
    pub fn arrange(&self, placement: Placement, clients: usize, cpus: &[usize]) -> Result<(), LabError> {
        let LabPlacement { seats, relay, shared } = LabPlacement::new(placement, clients, cpus);
        self.relay.sit(if relay.is_empty() { cpus } else { &relay }, shared);
        self.network.steer(&cpus_of(&seats.servers, cpus, &relay), &cpus_of(&seats.clients, cpus, &relay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_has_a_cpu_of_its_own_where_there_are_three() {
        for placement in Placement::ALL {
            let plan = LabPlacement::new(*placement, 4, &[0, 1, 2, 3]);
            assert_eq!(plan.relay, [3]);
            let used =
                |seats: &[ThreadPlacement]| seats.iter().filter_map(|seat| seat.cpu).collect::<Vec<_>>();
            assert!(!used(&plan.seats.servers).contains(&3) && !used(&plan.seats.clients).contains(&3));
        }
    }

    #[test]
    fn of_two_cpus_the_relay_never_has_the_senders() {
        for placement in [Placement::Paired, Placement::Split] {
            let plan = LabPlacement::new(placement, 3, &[4, 5]);
            assert_eq!(plan.relay, [5], "{placement}");
            assert!(plan.seats.servers.iter().all(|seat| seat.cpu == Some(4)), "{placement}");
        }
        assert_eq!(LabPlacement::new(Placement::Split, 1, &[0]).relay, [0]);
    }

    #[test]
    fn softirq_goes_where_its_end_sits() {
        let LabPlacement { seats, relay, shared } = LabPlacement::new(Placement::Split, 2, &[0, 1]);
        assert!(shared && seats.clients.iter().all(|seat| seat.batch));
        assert_eq!(cpus_of(&seats.servers, &[0, 1], &relay), [0]);
        assert_eq!(cpus_of(&seats.clients, &[0, 1], &relay), [1]);
        let LabPlacement { seats, relay, shared } = LabPlacement::new(Placement::Free, 2, &[0, 1, 2]);
        assert!(!shared);
        assert_eq!(cpus_of(&seats.servers, &[0, 1, 2], &relay), [0, 1]);
    }
}
