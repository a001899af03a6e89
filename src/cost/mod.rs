//! What a send costs besides wall-clock time: CPU, counters, the shape on the wire, cache pollution.
//!
//! Each file measures one kind of cost and says how far its figure reaches. A figure that this machine cannot
//! give is a [`Missing`] with its reason, never 0: a zero would take part in a comparison and win it.
//!
//! | file | what it measures |
//! |---|---|
//! | [`cpu`] | CPU time of a thread and of the process, with its scope |
//! | [`softirq`] | whether the thread clock loses softirq time on this kernel |
//! | [`system`] | CPU time of the machine above its idle baseline, steal, ksoftirqd |
//! | [`opener`] | perf events as a trait, so that tests can be machines that this one is not |
//! | [`counters`], [`counts`] | hardware and software counters of a thread; their values and sums |
//! | [`wire`], [`limiter`] | segments, retransmits and times from TCP_INFO; what limited the cell |
//! | [`meter`] | all of it that a thread measures of itself, from the first ask of a run to the end of the drain |
//! | [`relayed`] | what the lab's relay, between the ends, has spent and lost |
//! | [`pollution`] | a pointer chase that shows evicted cache lines without a PMU |

pub mod counters;
pub mod counts;
pub mod cpu;
pub mod limiter;
pub mod meter;
mod missing;
pub mod opener;
pub mod pollution;
pub mod relayed;
mod slot;
pub mod softirq;
pub mod system;
pub mod wire;

pub use missing::{Measured, Missing};

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
