//! An open loop: when each message is due, whether or not earlier ones have arrived.

use std::time::Duration;

use crate::names::named_enum;

/// A load that does not wait: messages are asked for when they are due, and not when earlier ones have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenLoop {
    /// The mean time between two messages of one client; above 0.
    pub interval: Duration,
    /// How long messages become due. The run ends when all of them have arrived.
    pub length: Duration,
    /// How the due times are spread.
    pub arrivals: Arrivals,
    /// Decides the due times, together with the number of the client.
    pub seed: u64,
}

/// How the due times of one client are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// The gaps are random with an exponential distribution, as if many independent users asked.
    #[default]
    Poisson,
    /// All gaps are the same. Each client begins at a random time within its first gap.
    Fixed,
}

named_enum!(Arrivals: Poisson = "poisson", Fixed = "fixed");

impl OpenLoop {
    /// The due times of a client, counted from the start of the run. Both the generator and the client compute
    /// them, so that a message needs no time stamp.
    #[doc(hidden)]
    pub fn due_times(&self, client: usize) -> DueTimes {
        let mut random = fastrand::Rng::with_seed(mixed(self.seed, client));
        let interval = self.interval.as_nanos() as f64;
        let first = match self.arrivals {
            Arrivals::Poisson => exponential(&mut random, interval),
            Arrivals::Fixed => (random.f64() * interval).floor(),
        };
        DueTimes {
            next: first,
            length: self.length.as_nanos() as f64,
            interval,
            arrivals: self.arrivals,
            random,
        }
    }

    /// The same load with other due times, for the client host with this number.
    #[doc(hidden)]
    #[must_use]
    pub fn of_host(self, number: usize) -> Self {
        Self { seed: mixed(self.seed.rotate_left(32), number), ..self }
    }

    /// The messages that one client is due in a second; at least [`FEWEST_OUTSTANDING`]. More than this many
    /// outstanding messages mean that the load cannot be carried.
    pub(super) fn most_outstanding(&self) -> u64 {
        let in_a_second = Duration::from_secs(1).as_nanos() / self.interval.as_nanos().max(1);
        (in_a_second as u64).max(FEWEST_OUTSTANDING)
    }
}

/// So many outstanding messages are still a burst and no overload, however low the rate is.
const FEWEST_OUTSTANDING: u64 = 1000;

/// A seed for the generator with this number. Numbers in a row give very different seeds.
fn mixed(seed: u64, number: usize) -> u64 {
    seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A random gap in ns.
fn exponential(random: &mut fastrand::Rng, mean: f64) -> f64 {
    // `f64` may be 0 but never 1, and 0 has no logarithm.
    -(1.0 - random.f64()).ln() * mean
}

/// The due times of one client in order, counted from the start of the run.
#[derive(Debug, Clone)]
pub struct DueTimes {
    /// In ns. The sum is not rounded, so that the mean gap is exact at any rate.
    next: f64,
    length: f64,
    interval: f64,
    arrivals: Arrivals,
    random: fastrand::Rng,
}

impl Iterator for DueTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = self.next;
        if due >= self.length {
            return None;
        }
        self.next += match self.arrivals {
            Arrivals::Poisson => exponential(&mut self.random, self.interval),
            Arrivals::Fixed => self.interval,
        };
        Some(Duration::from_nanos(due as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(interval: Duration, messages: u32, arrivals: Arrivals) -> OpenLoop {
        OpenLoop { interval, length: interval * messages, arrivals, seed: 7 }
    }

    fn gaps(load: &OpenLoop, client: usize) -> Vec<f64> {
        let times: Vec<_> = load.due_times(client).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn poisson_gaps_are_exponential_and_independent() {
        const MESSAGES: u32 = 100_000;
        for interval in [Duration::from_micros(1), Duration::from_millis(700)] {
            let gaps = gaps(&load(interval, MESSAGES, Arrivals::Poisson), 3);
            // In units of the mean gap.
            let gaps: Vec<f64> = gaps.iter().map(|gap| gap / interval.as_secs_f64()).collect();
            // Four standard errors of each figure: of the mean 1/√n, of the variance √8/√n, of the share 0.48/√n.
            let near = |found: f64, expected: f64, deviation: f64| {
                let error = (found - expected).abs();
                assert!(
                    error < 4.0 * deviation / f64::from(MESSAGES).sqrt(),
                    "{found} instead of {expected}"
                );
            };
            near(mean(&gaps), 1.0, 1.0);
            let squares: Vec<f64> = gaps.iter().map(|gap| (gap - 1.0).powi(2)).collect();
            near(mean(&squares), 1.0, 8f64.sqrt());
            let longer = gaps.iter().filter(|gap| **gap > 1.0).count() as f64 / gaps.len() as f64;
            near(longer, (-1f64).exp(), 0.49);
            let products: Vec<f64> = gaps.windows(2).map(|pair| (pair[0] - 1.0) * (pair[1] - 1.0)).collect();
            near(mean(&products), 0.0, 1.0);
            near(f64::from(MESSAGES) / gaps.len() as f64, 1.0, 1.0);
        }
    }

    #[test]
    fn fixed_gaps_are_equal_and_their_phases_differ() {
        let load = load(Duration::from_millis(1), 500, Arrivals::Fixed);
        let mut phases: Vec<_> = (0..20).filter_map(|client| load.due_times(client).next()).collect();
        assert!(phases.iter().all(|phase| *phase < load.interval));
        phases.sort_unstable();
        phases.dedup();
        assert_eq!(phases.len(), 20);
        for client in 0..20 {
            let times: Vec<_> = load.due_times(client).collect();
            assert_eq!(times.len(), 500);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] == load.interval));
        }
    }

    #[test]
    fn due_times_depend_on_seed_client_and_host_alone() {
        let load = load(Duration::from_millis(1), 50, Arrivals::Poisson);
        let times = |load: OpenLoop, client| load.due_times(client).collect::<Vec<_>>();
        assert_eq!(times(load, 1), times(load, 1));
        assert_ne!(times(load, 1), times(load, 2));
        assert_ne!(times(OpenLoop { seed: 8, ..load }, 1), times(load, 1));
        assert_ne!(times(load.of_host(1), 1), times(load.of_host(2), 1));
    }

    #[test]
    fn extreme_loads_have_due_times() {
        let second = Duration::from_secs(1);
        for arrivals in [Arrivals::Poisson, Arrivals::Fixed] {
            let with = |interval, length| OpenLoop { interval, length, arrivals, seed: 0 };
            assert_eq!(with(second, Duration::ZERO).due_times(0).count(), 0);
            assert!(with(Duration::MAX, Duration::MAX).due_times(0).count() < 20);
            let many = with(Duration::from_nanos(1), Duration::MAX);
            assert!(many.due_times(0).nth(1000) < Some(second));
            assert_eq!(many.most_outstanding(), 1_000_000_000);
            assert_eq!(with(second, second).most_outstanding(), FEWEST_OUTSTANDING);
        }
    }

    #[test]
    fn arrivals_have_names() {
        assert_eq!("fixed".parse(), Ok(Arrivals::Fixed));
        assert_eq!(serde_json::to_string(&Arrivals::Poisson).unwrap(), "\"poisson\"");
    }
}
