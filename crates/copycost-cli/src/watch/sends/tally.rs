//! What was seen of one call: how often, how large, how often refused.

use std::collections::BTreeMap;

/// Different sizes that are told apart exactly. Further ones are rounded to a 128th, which bounds the table.
const MOST_SIZES: usize = 4096;

/// The sends of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sends that were accepted at least in part.
    pub calls: u64,
    /// Accepted bytes.
    pub bytes: u64,
    /// Sends that were refused because the socket had no room (EAGAIN).
    pub refused: u64,
    /// Sends that failed otherwise.
    pub failed: u64,
    /// How often each size occurred.
    sizes: BTreeMap<u32, u64>,
    /// Sends and bytes of each burst that had any.
    bursts: BTreeMap<usize, (u64, u64)>,
}

impl Tally {
    /// Counts a send that was accepted.
    pub fn add(&mut self, bytes: u32, burst: usize) {
        self.calls += 1;
        self.bytes += u64::from(bytes);
        let size = match self.sizes.len() < MOST_SIZES || self.sizes.contains_key(&bytes) {
            true => bytes,
            false => rounded(bytes),
        };
        *self.sizes.entry(size).or_default() += 1;
        let burst = self.bursts.entry(burst).or_default();
        *burst = (burst.0 + 1, burst.1 + u64::from(bytes));
    }

    /// Counts a send with this negative result.
    pub fn refuse(&mut self, result: i32) {
        match result {
            NO_ROOM => self.refused += 1,
            _ => self.failed += 1,
        }
    }

    /// The size that `quantile` (0 to 1) of the sends do not exceed; `None` without sends.
    pub fn size(&self, quantile: f64) -> Option<u32> {
        let rank = ((self.calls as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        self.sizes.iter().find_map(|(size, count)| {
            seen += count;
            (seen >= rank).then_some(*size)
        })
    }

    /// The sends of up to 1, 2, 4, … bytes: the exponents of two that occur, each with its number of sends.
    pub fn histogram(&self) -> Vec<(u32, u64)> {
        let mut groups: BTreeMap<u32, u64> = BTreeMap::new();
        for (size, count) in &self.sizes {
            *groups.entry(size.max(&1).next_power_of_two().trailing_zeros()).or_default() += count;
        }
        groups.into_iter().collect()
    }

    /// The sends and the bytes of a burst.
    pub fn of_burst(&self, burst: usize) -> (u64, u64) {
        self.bursts.get(&burst).copied().unwrap_or_default()
    }
}

const NO_ROOM: i32 = -libc::EAGAIN;

/// The size with eight significant bits.
fn rounded(bytes: u32) -> u32 {
    let dropped = (32 - bytes.leading_zeros()).saturating_sub(8);
    bytes >> dropped << dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_quantiles_and_a_histogram() {
        let mut tally = Tally::default();
        assert_eq!(tally.size(0.5), None);
        (0..90).for_each(|_| tally.add(257, 0));
        (0..10).for_each(|_| tally.add(65_536, 3));
        tally.refuse(-libc::EAGAIN);
        tally.refuse(-libc::EPIPE);
        assert_eq!((tally.calls, tally.bytes, tally.refused, tally.failed), (100, 90 * 257 + 655_360, 1, 1));
        assert_eq!(
            [0.0, 0.5, 0.9, 0.91, 1.0].map(|q| tally.size(q).unwrap()),
            [257, 257, 257, 65_536, 65_536]
        );
        assert_eq!(tally.histogram(), [(9, 90), (16, 10)]);
        assert_eq!((tally.of_burst(3), tally.of_burst(1)), ((10, 655_360), (0, 0)));
    }

    proptest! {
        #[test]
        fn the_table_of_sizes_is_bounded(seed: u64) {
            let mut tally = Tally::default();
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..20_000 {
                let power = random.u32(1..31);
                tally.add(random.u32(..1u32 << power), 0);
            }
            // Beyond the exact sizes there are 128 for each of 32 powers of two.
            prop_assert!(tally.sizes.len() <= MOST_SIZES + 128 * 32);
            prop_assert_eq!(tally.sizes.values().sum::<u64>(), 20_000);
            let size: u32 = random.u32(..);
            prop_assert!(rounded(size) <= size && u64::from(size) * 127 <= u64::from(rounded(size)) * 128);
        }
    }
}
