//! Quantiles of events over all set-ups, with intervals by the bootstrap over set-ups.
//!
//! Events of one set-up depend on each other: they share its addresses, and the queue that one of them finds is that of
//! its neighbours. So whole set-ups are drawn with replacement, and never events. The draws give the standard error of
//! the quantile's logarithm; the interval is Student's, because the few set-ups of a run would make the draws' own
//! quantiles too sure.

use fastrand::Rng;

use super::{Estimate, Unusable};
use copycost::latency::Latencies;

/// A quantile needs this many events above it; with fewer it says more of chance than of the path.
pub const EVENTS_ABOVE: u64 = 100;

/// Draws of set-ups for one standard error.
const DRAWS: usize = 400;

/// The standard deviation of the logarithm that the histogram's buckets add to a value: they are up to 1 % wide.
const BUCKET_ERROR: f64 = 0.003;

/// The events of several set-ups, counted by value.
#[derive(Debug, Clone, Default)]
pub struct SetUpEvents {
    /// Every value that occurred, ascending, in ns.
    values: Vec<u64>,
    /// For each set-up, how often each value occurred.
    counts: Vec<Vec<u64>>,
    /// For each set-up, its events.
    totals: Vec<u64>,
}

impl SetUpEvents {
    /// The events of one histogram for each set-up.
    pub fn new(setups: &[Latencies]) -> Self {
        let mut values: Vec<u64> =
            setups.iter().flat_map(Latencies::buckets).map(|(value, _)| value).collect();
        values.sort_unstable();
        values.dedup();
        let count = |setup: &Latencies| {
            let mut counts = vec![0; values.len()];
            for (value, count) in setup.buckets() {
                counts[values.partition_point(|other| *other < value)] += count;
            }
            counts
        };
        let counts: Vec<Vec<u64>> = setups.iter().map(count).collect();
        let totals = counts.iter().map(|counts| counts.iter().sum()).collect();
        Self { values, counts, totals }
    }

    /// The number of events.
    pub fn len(&self) -> u64 {
        self.totals.iter().sum()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events that are larger than `quantile`, 0 to 1.
    fn above(&self, quantile: f64) -> u64 {
        // Without the addition 100,000 events have 99 above 0.999.
        (self.len() as f64 * (1.0 - quantile) + 1e-6) as u64
    }

    /// The quantile in ns, 0 to 1; `None` if fewer than [`EVENTS_ABOVE`] lie above it.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let once = vec![1; self.counts.len()];
        (self.above(quantile) >= EVENTS_ABOVE).then(|| self.drawn(quantile, &once)).flatten()
    }

    /// The largest value in ns.
    pub fn max(&self) -> Option<u64> {
        self.values.last().copied()
    }

    /// The quantile as an estimate of its ratio to 1 ns; `None` if too few events lie above it.
    ///
    /// # Errors
    /// There are too few set-ups.
    pub fn estimate(&self, quantile: f64) -> Option<Result<Estimate, Unusable>> {
        let value = self.quantile(quantile)? as f64;
        let log = |weights: &[u64]| Some((self.drawn(quantile, weights)? as f64).ln());
        Some(self.bootstrap(value.ln(), 1.0, log))
    }

    /// The quantile's ratio to that of `reference`, which has the same set-ups: they are drawn together. `None` if either
    /// has too few events above it.
    ///
    /// # Errors
    /// There are too few set-ups.
    pub fn ratio(&self, reference: &Self, quantile: f64) -> Option<Result<Estimate, Unusable>> {
        let ratio = self.quantile(quantile)? as f64 / reference.quantile(quantile)? as f64;
        let log = |weights: &[u64]| {
            let (path, other) = (self.drawn(quantile, weights)?, reference.drawn(quantile, weights)?);
            Some((path as f64 / other as f64).ln())
        };
        Some(self.bootstrap(ratio.ln(), 2.0, log))
    }

    /// The estimate whose logarithm is `log`, with the spread of `log_of` over draws of set-ups. It was computed from
    /// so many `values` of histograms.
    fn bootstrap(
        &self,
        log: f64,
        values: f64,
        log_of: impl Fn(&[u64]) -> Option<f64>,
    ) -> Result<Estimate, Unusable> {
        let setups = self.counts.len();
        if setups < 2 {
            return Err(if setups == 0 { Unusable::NoSetup } else { Unusable::OneSetup });
        }
        let logs: Vec<f64> = draws(setups).filter_map(|weights| log_of(&weights)).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len() as f64;
        // The draws know the variance of n set-ups about their own mean, which is smaller by (n - 1) / n.
        let variance = variance * setups as f64 / (setups as f64 - 1.0);
        Ok(Estimate::of_log(log, (variance + values * BUCKET_ERROR.powi(2)).sqrt(), setups))
    }

    /// The quantile if each set-up occurs so many times.
    fn drawn(&self, quantile: f64, weights: &[u64]) -> Option<u64> {
        let all: u64 = self.totals.iter().zip(weights).map(|(total, weight)| total * weight).sum();
        let rank = ((all as f64 * quantile).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        let place = (0..self.values.len()).find(|&place| {
            seen +=
                self.counts.iter().zip(weights).map(|(counts, weight)| counts[place] * weight).sum::<u64>();
            seen >= rank
        })?;
        Some(self.values[place])
    }
}

/// How often each of `setups` set-ups occurs in each draw. The seed is fixed, so that a report is the same each time.
fn draws(setups: usize) -> impl Iterator<Item = Vec<u64>> {
    let mut random = Rng::with_seed(setups as u64);
    (0..DRAWS).map(move |_| {
        let mut weights = vec![0; setups];
        (0..setups).for_each(|_| weights[random.usize(..setups)] += 1);
        weights
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn setup(events: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        events.into_iter().for_each(|ns| latencies.record(Duration::from_nanos(ns)));
        latencies
    }

    fn interval(events: &SetUpEvents, quantile: f64) -> crate::stats::Interval {
        events.estimate(quantile).unwrap().unwrap().interval(0.05)
    }

    #[test]
    fn a_quantile_needs_a_hundred_events_above_it() {
        let events = SetUpEvents::new(&[setup(1..=500), setup(1..=500)]);
        assert_eq!(events.len(), 1000);
        assert!(events.quantile(0.9).is_some() && events.quantile(0.91).is_none());
        assert!(SetUpEvents::new(&[setup(1..=100_000)]).quantile(0.999).is_some());
        assert!(SetUpEvents::new(&[setup(1..100_000)]).quantile(0.999).is_none());
        assert_eq!(SetUpEvents::new(&[]).quantile(0.5), None);
        assert_eq!(events.max().map(|max| max / 10), Some(50));
    }

    #[test]
    fn the_interval_spans_what_set_ups_differ_by() {
        let alike: Vec<_> = (0..8).map(|_| setup((0..1000).map(|i| 1000 + i))).collect();
        let found = interval(&SetUpEvents::new(&alike), 0.5);
        // Not more exact than the buckets of the histogram.
        assert!(found.high / found.low > 1.01 && found.high / found.low < 1.02, "{found:?}");
        let apart: Vec<_> = (0..8).map(|n| setup((0..1000).map(move |i| 1000 * (n + 1) + i))).collect();
        let apart = SetUpEvents::new(&apart);
        let found = interval(&apart, 0.5);
        assert!(found.high / found.low > 1.5, "{found:?}");
        // The set-ups of both are drawn together, so what they share cancels.
        let slower: Vec<_> =
            (0..8).map(|n| setup((0..1000).map(move |i| 2 * (1000 * (n + 1) + i)))).collect();
        let ratio = SetUpEvents::new(&slower).ratio(&apart, 0.5).unwrap().unwrap().interval(0.05);
        assert!(ratio.low > 1.95 && ratio.high < 2.05, "{ratio:?}");
        let one = SetUpEvents::new(&[setup(1..1000)]);
        assert_eq!(one.estimate(0.5), Some(Err(Unusable::OneSetup)));
    }

    /// Of many simulated runs of eight set-ups, the interval of 95 % holds the true quantile about as often as it says.
    #[test]
    fn intervals_hold_the_truth() {
        let mut random = Rng::with_seed(1);
        for (quantile, truth) in [(0.5, 1000.0 + 200.0 + 500.0), (0.9, 1000.0 + 200.0 + 911.0)] {
            let runs = 200;
            let held = (0..runs)
                .filter(|_| {
                    let setups: Vec<_> = (0..8)
                        .map(|_| {
                            let shift = random.u64(0..400);
                            let mut event = || 1000 + shift + random.u64(0..1000);
                            setup((0..200).map(|_| event()).collect::<Vec<_>>())
                        })
                        .collect();
                    let found = interval(&SetUpEvents::new(&setups), quantile);
                    found.low <= truth && truth <= found.high
                })
                .count();
            assert!((runs * 88 / 100..=runs * 99 / 100).contains(&held), "{quantile}: {held} of {runs}");
        }
    }
}
