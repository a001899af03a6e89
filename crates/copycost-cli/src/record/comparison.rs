//! Comparisons of paths: ratios with their intervals, the sizes from which one wins, the verdict.

use serde::{Deserialize, Serialize};

use super::{MessageSize, Named};
use crate::compare::metric::Metric;
use crate::stats::Judgement;
use copycost::message::Footprint;

/// The comparison of a path with its reference, in one cell and by one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The size of the messages.
    #[serde(flatten)]
    pub size: MessageSize,
    pub clients: usize,
    /// How many hosts received.
    #[serde(default = "super::one")]
    pub client_hosts: usize,
    pub path: String,
    /// What it is compared with: a path, or the same path of another build (`onecopy@OTHER`).
    pub reference: String,
    /// `throughput` (bytes per second), or `demand` (CPU time of both ends for each KiB), or `sender-demand`.
    pub metric: Named<Metric>,
    /// The path's value for each of the reference's; null where it is undecided.
    pub ratio: Option<f64>,
    /// The lower end of the interval.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// `faster`, `slower`, `equivalent` (within 2 %) or `undecided`. For a demand, less is faster.
    pub word: Named<Judgement>,
    /// How many set-ups it rests on.
    pub setups: usize,
    /// Why it is undecided, or did not reach the precision that was asked for.
    #[serde(default)]
    pub note: Option<String>,
}

impl Comparison {
    /// Whether it is of one path in two builds or in two runs, and not of two paths or two offsets of one run.
    pub fn is_of_builds(&self) -> bool {
        let build = self.reference.rsplit_once('@').map(|(_, build)| build);
        build.is_some_and(|build| [super::OLD, super::BASELINE].contains(&build))
    }
}

#[cfg(test)]
impl Comparison {
    /// A comparison of 1 KiB to one client, from eight set-ups, without a ratio.
    pub fn example(path: &str, reference: &str, metric: &str) -> Self {
        Self {
            size: MessageSize::of_bytes(1024),
            clients: 1,
            client_hosts: 1,
            path: path.into(),
            reference: reference.into(),
            metric: metric.into(),
            ratio: None,
            low: None,
            high: None,
            word: Named::Known(Judgement::Undecided),
            setups: 8,
            note: None,
        }
    }
}

/// From which message size one path beats another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossover {
    /// The path that is to win.
    pub path: String,
    /// Against this one.
    pub against: String,
    pub clients: usize,
    /// How many hosts received.
    #[serde(default = "super::one")]
    pub client_hosts: usize,
    /// As in [`Comparison::metric`].
    pub metric: Named<Metric>,
    /// How much memory the messages in turn covered.
    pub footprint: Named<Footprint>,
    /// The largest size at which it did not yet win, in bytes; null: it wins from the smallest size on.
    pub low: Option<usize>,
    /// The smallest size from which it wins, in bytes; null: not known to win at any size up to `most`.
    pub high: Option<usize>,
    /// The largest size tried, in bytes.
    pub most: usize,
}
