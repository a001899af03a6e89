//! What a record of the lab says of the way between the ends.

use serde::{Deserialize, Serialize};

use super::cost::{Reasons, known};
use crate::compare::ContestantResult;
use copycost::cost::{Missing, ns_per_kib};

/// What the relay did and cost, and what the probe saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LabRecord {
    /// CPU time of the relay for each KiB moved.
    pub relay_ns_per_kib: Option<f64>,
    /// Of the machine's ksoftirqd threads.
    pub ksoftirqd_ns_per_kib: Option<f64>,
    /// Sender, receiver, relay and ksoftirqd together.
    pub sum_ns_per_kib: Option<f64>,
    /// Frames from the server to the clients.
    pub frames: u64,
    /// Their mean length, headers included.
    pub mean_frame_bytes: Option<f64>,
    /// Frames lost on the way, in both directions; TCP sends them again.
    pub dropped_frames: u64,
    /// Whether a send of such a message goes by reference: `by reference (probed)`, `copied`, `mixed` or `unknown`.
    pub probe: String,
    /// What the probe saw.
    pub probe_saw: String,
    /// Why the others are null.
    pub missing: Reasons,
}

impl LabRecord {
    /// `None` for a measurement that was not made in a lab.
    pub(super) fn new(measured: &ContestantResult) -> Option<Self> {
        let (sample, probed) = (&measured.sample, measured.probed.as_ref()?);
        let relayed = sample.relayed.as_ref()?;
        let bytes = sample.sent;
        let mut missing = Reasons::new();
        let relay = relayed.cpu.map(|cpu| cpu.time).ok_or(Missing::NotMeasured);
        let ends = sample
            .sender
            .cpu
            .zip(sample.receiver.cpu)
            .map(|(sender, receiver)| sender.merge_parallel(receiver));
        let sum = ends.zip(relayed.spent()).map(|(ends, between)| ends.merge_parallel(between).time);
        let demand = |time| ns_per_kib(time, bytes);
        Some(Self {
            relay_ns_per_kib: known(relay.and_then(demand), "relay", &mut missing),
            ksoftirqd_ns_per_kib: known(
                relayed.ksoftirqd.clone().and_then(demand),
                "ksoftirqd",
                &mut missing,
            ),
            sum_ns_per_kib: known(sum.ok_or(Missing::NotMeasured).and_then(demand), "sum", &mut missing),
            frames: relayed.frames,
            mean_frame_bytes: (relayed.frames > 0).then(|| relayed.bytes as f64 / relayed.frames as f64),
            dropped_frames: relayed.dropped,
            probe: probed.copies.to_string(),
            probe_saw: probed.observation.clone(),
            missing,
        })
    }
}
