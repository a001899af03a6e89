//! What a send costs in addition to wall-clock time: CPU time, counters, segments, cache pollution.
//!
//! Each file measures one kind of cost and says what its figure covers. A figure that this machine cannot
//! give is a [`Missing`] with a reason, never 0: a 0 would win every comparison.
//!
//! | file | what it measures |
//! |---|---|
//! | `cpu` | CPU time of a thread and of the process, and what it covers |
//! | `softirq` | whether this kernel's thread clock includes softirq time |
//! | `system` | CPU time of the whole machine above its idle baseline, steal, ksoftirqd |
//! | `opener` | perf events behind a trait, so that tests can simulate other machines |
//! | `counters`, `counts` | hardware and software counters of a thread; their values and sums |
//! | `wire`, `limiter` | segments, retransmits and times from TCP_INFO; what limited the cell |
//! | `meter` | what a thread measures about itself, from the first request of a run to the end of the drain |
//! | `class_times` | the time in the calls of each size of message, and what the path decided for it |
//! | `relayed` | the CPU time and the frame losses of the lab's relay |
//! | `pollution` | a pointer chase that shows evicted cache lines without a PMU |

pub(crate) mod class_times;
pub(crate) mod counters;
pub(crate) mod counts;
pub(crate) mod cpu;
pub(crate) mod limiter;
pub(crate) mod meter;
mod missing;
pub(crate) mod opener;
pub(crate) mod pollution;
pub(crate) mod relayed;
mod slot;
pub(crate) mod softirq;
pub(crate) mod system;
pub(crate) mod wire;

pub use class_times::{ClassTimes, GroupTimes};
pub use counts::{Count, CounterScope, Counts};
pub use cpu::{CpuScope, CpuSpent};
pub use meter::Spent;
pub use missing::{Measured, Missing};
pub use pollution::Walk;
pub use relayed::RelayCost;
pub use wire::{TcpShares, Wire};

use std::time::Duration;

/// Service demand as netperf defines it: CPU time per KiB moved, in ns/KiB.
///
/// # Errors
/// [`Missing::NothingMoved`] when `bytes` is 0.
pub fn ns_per_kib(time: Duration, bytes: u64) -> Measured<f64> {
    if bytes == 0 {
        return Err(Missing::NothingMoved);
    }
    Ok(time.as_nanos() as f64 / (bytes as f64 / 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_is_time_per_kib() {
        let demand = ns_per_kib(Duration::from_micros(100), 1 << 20);
        assert_eq!(demand, Ok(100_000.0 / 1024.0));
        assert_eq!(ns_per_kib(Duration::from_secs(1), 0), Err(Missing::NothingMoved));
    }
}
