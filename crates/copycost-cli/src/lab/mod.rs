//! A network card in software: two ends with a kernel's TCP each, and between them a relay that plays the card's DMA
//! engine. Over it MSG_ZEROCOPY does what it does over a network card, which no loopback and no plain veth pair shows.
//!
//! ```text
//! netns A (server)         netns R (the wire)                      netns B (clients)
//! eth0  <->  wire-a + macvtap   <->   relay   <->   macvtap + wire-b  <->  eth0
//! ```
//!
//! Why it works: the kernel copies zero-copy data where it is delivered to a socket of the same machine
//! (ip_local_deliver_finish, net/ipv4/ip_input.c). A macvtap takes the frame off the veth before it gets there and
//! keeps it as it is until somebody reads it (drivers/net/tap.c). So the sender's side does what it would do for a card:
//! build frames of references, hand them over, and hear of their release when the peer has acknowledged.
//!
//! What it stands for: the sender's CPU time, and the sizes from which one path beats another by it. What it does not
//! stand for: throughput, which is that of the relay's two copies, and whatever a card, its bus and an IOMMU cost.
//!
//! - `network`: the namespaces and links; `iproute`: the command that makes them; `sweep`: what a killed lab left
//! - `relay`: the thread between; `seats`: who sits on which CPU
//! - `probe`: whether a send goes by reference; `listeners`: packet taps that would spoil it
//! - `site`: the lab as a place for the ends of a rig; `error`: why there is no lab

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

use copycost::cost::relayed::RelayCost;
use copycost::cost::system::Ksoftirqd;
use copycost::cost::{Measured, Missing};
use copycost::internals::sys::limits;
use copycost::scenario::Scenario;

pub use error::LabError;
pub use network::{CLIENTS, LabNetwork, NetworkEnd, SERVER, remove_all};
pub use probe::Probed;
pub use relay::HeldRelay;
pub use site::LabSite;

use probe::ProbeKey;
use relay::{Relay, RelayCounters};

/// A lab that stands. It is removed when dropped.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: the relay has the taps open.
    relay: Relay,
    network: LabNetwork,
    ksoftirqd: Measured<Ksoftirqd>,
    probed: Mutex<Vec<(ProbeKey, Probed)>>,
}

/// The state of everything that a run between the ends is charged with. Only differences mean anything.
#[derive(Debug, Clone)]
pub struct CounterSnapshot {
    relay: Option<RelayCounters>,
    ksoftirqd: Measured<Duration>,
    dropped: u64,
}

/// What the lab does: make network namespaces and links; enter namespaces and mount in them.
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

impl Lab {
    /// Sweeps away what killed labs have left, builds the network and starts the relay: a few hundredths of a second.
    ///
    /// # Errors
    /// [`LabError`], whose sentence says what to do.
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

    /// The network.
    pub fn network(&self) -> &LabNetwork {
        &self.network
    }

    /// Stops the wire until what is returned is dropped.
    ///
    /// # Errors
    /// `TimedOut` where the relay does not answer.
    pub fn hold(&self) -> io::Result<HeldRelay> {
        self.relay.hold()
    }

    /// How things stand now.
    pub fn books(&self) -> CounterSnapshot {
        CounterSnapshot {
            relay: self.relay.account(),
            ksoftirqd: self.ksoftirqd.as_ref().map_err(Missing::clone).and_then(Ksoftirqd::now),
            dropped: self.network.dropped(),
        }
    }

    /// What was spent since `earlier`.
    pub fn since(&self, earlier: &CounterSnapshot) -> RelayCost {
        let now = self.books();
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

    /// Whether the scenario's path sends such messages by reference. Probed once for each path and message.
    pub fn probed(&self, scenario: &Scenario) -> Probed {
        let key = ProbeKey::of(scenario);
        // Held to the end: no two probes stop the wire at once.
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = probed.iter().find(|(known, _)| *known == key) {
            return known.clone();
        }
        let seen = probe::probe(self, scenario, key);
        probed.push((key, seen.clone()));
        seen
    }
}
