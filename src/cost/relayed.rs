//! What carried the bytes between the two ends, where that is a program's work too: the lab's relay.

use std::time::Duration;

use super::cpu::CpuSpent;
use super::missing::{Measured, Missing};

/// What lay between the ends in a run, or in several.
#[derive(Debug, Clone)]
pub struct RelayCost {
    /// CPU time of the relay's thread, what ran on top of it included; `None` where its clock could not be read.
    pub cpu: Option<CpuSpent>,
    /// CPU time of the machine's ksoftirqd threads, whoever they worked for.
    pub ksoftirqd: Measured<Duration>,
    /// Frames that passed from the server to the clients.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that were lost, either way: by the relay or by a link.
    pub dropped: u64,
}

impl RelayCost {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.cpu = self.cpu.zip(other.cpu).map(|(mine, theirs)| mine.and(theirs));
        let ksoftirqd = std::mem::replace(&mut self.ksoftirqd, Err(Missing::NotMeasured));
        self.ksoftirqd = ksoftirqd.and_then(|mine| Ok(mine + other.ksoftirqd.clone()?));
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
    }

    /// CPU time of the relay and of ksoftirqd, as far as the latter is known: where kernel threads are hidden, the sum of
    /// a run lacks it, as it does over loopback.
    pub fn spent(&self) -> Option<CpuSpent> {
        let ksoftirqd = self.ksoftirqd.as_ref().copied().unwrap_or_default();
        self.cpu.map(|cpu| CpuSpent { time: cpu.time + ksoftirqd, ..cpu })
    }
}
