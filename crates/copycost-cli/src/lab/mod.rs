//! A network card in software: two ends, each with its own kernel TCP stack, and a relay between them in the role of
//! the card's DMA engine. Over it MSG_ZEROCOPY behaves as over a network card; loopback or a plain veth pair cannot
//! show this.
//!
//! ```text
//! netns A (server)         netns R (the wire)                      netns B (clients)
//! eth0  <->  wire-a + macvtap   <->   relay   <->   macvtap + wire-b  <->  eth0
//! ```
//!
//! Why it works: the kernel copies zero-copy data when it delivers them to a socket of the same machine
//! (ip_local_deliver_finish, net/ipv4/ip_input.c). A macvtap takes the frame off the veth before that point and keeps
//! it unchanged until the relay reads it (drivers/net/tap.c). So the sender's side works as for a card: it builds
//! frames of references, hands them over, and gets their completion when the peer has acknowledged the data.
//!
//! What the lab represents: the sender's CPU time, and the sizes from which one path beats another by it. What it does
//! not represent: throughput, which the relay's two copies limit, and the costs of a card, its bus and an IOMMU.
//!
//! - `network`: the namespaces and links; `iproute`: the command that makes them; `sweep`: removal of killed labs
//! - `relay`: the thread between the ends; `placement`: which thread runs on which CPU
//! - `probe`: whether a send goes by reference; `listeners`: packet taps that would force copies
//! - `site`: the lab as a `copycost::rig::Site`; `error`: why a lab could not be built

mod error;
mod iproute;
mod listeners;
mod network;
mod placement;
mod probe;
mod relay;
mod site;
mod sweep;

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use copycost::cost::{Measured, Missing};
use copycost::internals::cost::relayed::RelayCost;
use copycost::internals::cost::system::Ksoftirqd;
use copycost::internals::sys::limits;
use copycost::scenario::Scenario;

pub use error::LabError;
pub use network::{CLIENTS, LabNetwork, NetworkEnd, SERVER, remove_all};
pub use probe::Probed;
pub use relay::HeldRelay;
pub use site::LabSite;

use probe::ProbeKey;
use relay::{Relay, RelayCounters};

/// A running lab: its network and its relay. Drop removes both.
#[derive(Debug)]
pub struct Lab {
    // The relay holds the taps open, so it is dropped before the network.
    relay: Relay,
    network: LabNetwork,
    ksoftirqd: Measured<Ksoftirqd>,
    probed: Mutex<Vec<(ProbeKey, Probed)>>,
}

/// Counters of the costs that the lab adds to a run. Only the difference of two snapshots has a meaning.
#[derive(Debug, Clone)]
pub struct CounterSnapshot {
    relay: Option<RelayCounters>,
    ksoftirqd: Measured<Duration>,
    dropped: u64,
}

/// The first allows making network namespaces and links, the second entering namespaces and mounting in them.
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

impl Lab {
    /// Removes what killed labs left behind, builds the network and starts the relay. Takes some tens of milliseconds.
    ///
    /// # Errors
    /// A [`LabError`], whose message says what to do.
    pub fn start() -> Result<Self, LabError> {
        let missing = CAPABILITIES.iter().filter(|(_, number)| !limits::has_capability(*number));
        let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            return Err(LabError::NotAllowed(missing));
        }
        sweep::sweep();
        let (network, taps) = LabNetwork::build()?;
        let relay = Relay::start(taps).map_err(LabError::os("the relay could not be started"))?;
        Ok(Self { relay, network, ksoftirqd: Ksoftirqd::find(), probed: Mutex::default() })
    }

    /// The namespaces of the two ends and of the wire.
    pub fn network(&self) -> &LabNetwork {
        &self.network
    }

    /// Stops the relay until the returned guard is dropped.
    ///
    /// # Errors
    /// `TimedOut` if the relay does not answer.
    pub fn hold(&self) -> io::Result<HeldRelay> {
        self.relay.hold()
    }

    /// The counters as they are now, for [`Self::since`].
    pub fn snapshot(&self) -> CounterSnapshot {
        CounterSnapshot {
            relay: self.relay.counters(),
            ksoftirqd: self.ksoftirqd.as_ref().map_err(Missing::clone).and_then(Ksoftirqd::now),
            dropped: self.network.dropped(),
        }
    }

    /// The costs of the lab since `earlier`.
    pub fn since(&self, earlier: &CounterSnapshot) -> RelayCost {
        let now = self.snapshot();
        let (before, after) = (earlier.relay.unwrap_or_default(), now.relay.unwrap_or_default());
        let cpu = before.cpu.zip(after.cpu).map(|(before, mut after)| {
            after.time = after.time.saturating_sub(before.time);
            after
        });
        let ksoftirqd = now.ksoftirqd.and_then(|now| Ok(now.saturating_sub(earlier.ksoftirqd.clone()?)));
        RelayCost {
            cpu,
            ksoftirqd,
            frames: after.frames - before.frames,
            bytes: after.bytes - before.bytes,
            dropped: now.dropped + after.unfit - earlier.dropped - before.unfit,
        }
    }

    /// Whether the scenario's path sends its messages by reference. Each path and message is probed once.
    pub fn probed(&self, scenario: &Scenario) -> Probed {
        let key = ProbeKey::of(scenario);
        // Locked during the probe, so that no two probes hold the relay at once.
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = probed.iter().find(|(known, _)| *known == key) {
            return known.clone();
        }
        let seen = probe::probe(self, scenario, key);
        probed.push((key, seen.clone()));
        seen
    }
}
