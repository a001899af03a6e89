//! By what paths are compared, and how each figure is read from a sample.

use super::stats::Better;
use copycost::cost::cpu::CpuSpent;
use copycost::cost::{Measured, Missing};
use copycost::message::words;
use copycost::rig::Sample;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Bytes per second.
    Throughput,
    /// CPU time of both ends for each KiB, in ns; in the lab with that of the relay and of ksoftirqd.
    Demand,
    /// CPU time of the sender for each KiB, in ns.
    SenderDemand,
}

words!(Metric: Throughput = "throughput", Demand = "demand", SenderDemand = "sender-demand");

impl Metric {
    /// What sentences call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Demand => "CPU time of both ends",
            Self::SenderDemand => "CPU time of the sender",
        }
    }

    /// Which direction is the good one.
    pub fn better(self) -> Better {
        match self {
            Self::Throughput => Better::Higher,
            Self::Demand | Self::SenderDemand => Better::Lower,
        }
    }

    /// The figure of `sample`, whose messages have `size` bytes.
    ///
    /// # Errors
    /// Why there is none: no clock, or one that leaves out the softirq in which half of TCP runs.
    pub fn of(self, sample: &Sample, size: usize) -> Measured<f64> {
        // CPU time is that of the whole run, so the bytes are too; throughput has its own within the window.
        let bytes = sample.messages * size as u64;
        match self {
            Self::Throughput => Ok(sample.throughput()),
            Self::Demand => {
                let ends = whole(sample.sender.cpu)?.and(whole(sample.receiver.cpu)?);
                let relayed = sample.relayed.as_ref().map(|relayed| whole(relayed.spent())).transpose()?;
                relayed.map_or(ends, |relayed| ends.and(relayed)).ns_per_kib(bytes)
            }
            Self::SenderDemand => whole(sample.sender.cpu)?.ns_per_kib(bytes),
        }
    }
}

fn whole(cpu: Option<CpuSpent>) -> Measured<CpuSpent> {
    let cpu = cpu.ok_or(Missing::NotMeasured)?;
    if cpu.scope.judges_senders() {
        Ok(cpu)
    } else {
        Err(Missing::Os { what: "a path has no CPU time", error: cpu.scope.to_string() })
    }
}
