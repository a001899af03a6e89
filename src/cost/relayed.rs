//! The cost of what is between the two ends: the lab's relay, which is a program.

use std::time::Duration;

use super::cpu::CpuSpent;
use super::missing::{Measured, Missing};

/// What the relay did in one or several runs.
#[derive(Debug, Clone)]
pub struct RelayCost {
    /// CPU time of the relay's thread, including softirq; `None` if its clock could not be read.
    pub cpu: Option<CpuSpent>,
    /// CPU time of the machine's ksoftirqd threads, for any process.
    pub ksoftirqd: Measured<Duration>,
    /// Frames that passed from the server to the clients.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that the relay or a link dropped, in both directions.
    pub dropped: u64,
}

impl RelayCost {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.cpu = self.cpu.zip(other.cpu).map(|(a, b)| a.merge_parallel(b));
        let ksoftirqd = std::mem::replace(&mut self.ksoftirqd, Err(Missing::NotMeasured));
        self.ksoftirqd = ksoftirqd.and_then(|time| Ok(time + other.ksoftirqd.clone()?));
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
    }

    /// CPU time of the relay and of ksoftirqd. If kernel threads are hidden, the sum lacks ksoftirqd, as over
    /// loopback.
    pub fn spent(&self) -> Option<CpuSpent> {
        let ksoftirqd = self.ksoftirqd.as_ref().copied().unwrap_or_default();
        self.cpu.map(|cpu| CpuSpent { time: cpu.time + ksoftirqd, ..cpu })
    }
}
