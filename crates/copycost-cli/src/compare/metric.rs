//! The metrics by which paths are compared, and how each is computed from a sample.

use crate::stats::Better;
use copycost::cost::{Measured, Missing};
use copycost::internals::cost::cpu::CpuSpent;
use copycost::named_enum;
use copycost::rig::Sample;

/// A metric by which paths are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Bytes per second.
    Throughput,
    /// CPU time of both ends in ns/KiB; in the lab it includes the relay and ksoftirqd.
    Demand,
    /// CPU time of the sender in ns/KiB.
    SenderDemand,
}

named_enum!(Metric: Throughput = "throughput", Demand = "demand", SenderDemand = "sender-demand");

impl Metric {
    /// The name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Demand => "CPU time of both ends",
            Self::SenderDemand => "CPU time of the sender",
        }
    }

    /// Whether higher or lower values are better.
    pub fn better(self) -> Better {
        match self {
            Self::Throughput => Better::Higher,
            Self::Demand | Self::SenderDemand => Better::Lower,
        }
    }

    /// The value of `sample`.
    ///
    /// # Errors
    /// Why there is no value: there is no CPU clock, or it excludes softirqs, in which half of TCP runs.
    pub fn of(self, sample: &Sample) -> Measured<f64> {
        // CPU time covers the whole run, so these bytes do too; throughput uses its own bytes within the window.
        let bytes = sample.sent;
        match self {
            Self::Throughput => Ok(sample.throughput()),
            Self::Demand => {
                let ends = whole(sample.sender.cpu)?.merge_parallel(whole(sample.receiver.cpu)?);
                let relayed = sample.relayed.as_ref().map(|relayed| whole(relayed.spent())).transpose()?;
                relayed.map_or(ends, |relayed| ends.merge_parallel(relayed)).ns_per_kib(bytes)
            }
            Self::SenderDemand => whole(sample.sender.cpu)?.ns_per_kib(bytes),
        }
    }
}

fn whole(cpu: Option<CpuSpent>) -> Measured<CpuSpent> {
    let cpu = cpu.ok_or(Missing::NotMeasured)?;
    if cpu.scope.covers_senders() {
        Ok(cpu)
    } else {
        Err(Missing::Os { what: "a path has no CPU time", error: cpu.scope.to_string() })
    }
}
