//! What a record says of the hosts that received, where there were several: the share of each, and how even they were.

use serde::{Deserialize, Serialize};

use super::LatencyRecord;
use crate::compare::ContestantResult;
use copycost::rig::HostShare;

/// The client hosts of a cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostsRecord {
    /// Jain's index of the hosts' rates: 1 where all are alike, 1/n where one of n has everything; null where nothing
    /// was received.
    pub fairness_jain: Option<f64>,
    /// The lowest of the hosts' rates for each of the highest.
    pub fairness_min_over_max: Option<f64>,
    /// How far the windows of two hosts opened apart at most, as far as their clocks could be compared.
    pub windows_apart_us: f64,
    /// Each host, in the order of the ranks.
    pub each: Vec<HostRecord>,
}

/// One client host's share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its number in the job.
    pub rank: usize,
    /// Its name.
    pub host: String,
    /// Bytes received within its clock.
    pub bytes: u64,
    /// What its clock showed.
    pub seconds: f64,
    /// `bytes` for each of `seconds`.
    pub throughput_bytes_per_second: f64,
    /// Its part of the bytes of all, 0 to 1.
    pub share: f64,
    /// CPU time of its clients' threads for each KiB that they received.
    pub receiver_ns_per_kib: Option<f64>,
    /// Message latency of its clients; null where it was not asked for.
    #[serde(default)]
    pub latency_ns: Option<LatencyRecord>,
}

impl HostsRecord {
    /// `None` where one host received.
    pub(super) fn new(measured: &ContestantResult) -> Option<Self> {
        let hosts = &measured.sample.hosts;
        if hosts.is_empty() {
            return None;
        }
        let all = measured.sample.bytes;
        let timed = |rank| measured.host_latencies.iter().find(|timed| timed.rank == rank);
        let each = |host: &HostShare| HostRecord {
            rank: host.rank,
            host: host.name.clone(),
            bytes: host.bytes,
            seconds: host.elapsed.as_secs_f64(),
            throughput_bytes_per_second: rate(host),
            share: host.bytes as f64 / all.max(1) as f64,
            receiver_ns_per_kib: host.receiver.cpu.and_then(|cpu| cpu.ns_per_kib(host.sent).ok()),
            latency_ns: timed(host.rank).and_then(|timed| LatencyRecord::new(&timed.latency)),
        };
        let even = fairness(&hosts.iter().map(rate).collect::<Vec<_>>());
        let late = hosts.iter().map(|host| host.late).max().unwrap_or_default();
        Some(Self {
            fairness_jain: even.map(|even| even.0),
            fairness_min_over_max: even.map(|even| even.1),
            windows_apart_us: late.as_secs_f64() * 1e6,
            each: hosts.iter().map(each).collect(),
        })
    }
}

fn rate(host: &HostShare) -> f64 {
    host.bytes as f64 / host.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// How evenly hosts were served, from what each received: Jain's index (1: all alike, 1/n: one has all), and the
/// least of them for each of the most. `None` where nothing was received.
fn fairness(rates: &[f64]) -> Option<(f64, f64)> {
    let (sum, squares) = rates.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let most = rates.iter().copied().fold(0.0, f64::max);
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    (most > 0.0).then(|| (sum * sum / (rates.len() as f64 * squares), least / most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_where_all_have_the_same_and_one_nth_where_one_has_all() {
        assert_eq!(fairness(&[3.0, 3.0, 3.0]), Some((1.0, 1.0)));
        let (jain, least) = fairness(&[4.0, 0.0, 0.0, 0.0]).unwrap();
        assert!((jain - 0.25).abs() < 1e-12 && least == 0.0);
        let (jain, least) = fairness(&[1.0, 3.0]).unwrap();
        assert!((jain - 0.8).abs() < 1e-12 && (least - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(fairness(&[]), None);
        assert_eq!(fairness(&[0.0]), None);
    }
}
