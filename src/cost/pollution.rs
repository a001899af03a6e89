//! Cache pollution without a PMU: a pointer chase through a table, run between messages.
//!
//! A server does other work, and a send that moves its bytes through the cache evicts the data of that work.
//! The chase simulates the work: each load depends on the one before, so its time is the latency of the cache
//! level that still holds the table. It is compared with the same chase without sending. A table of 32 KiB
//! stands for a first-level cache, one of 512 KiB for a second-level cache.

use std::hint::black_box;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use super::missing::{Measured, Missing};

/// The size of a cache line (x86-64 and nearly all arm64).
const LINE: usize = 64;

/// The largest table in bytes. Larger tables exceed every cache, and the index of a line must fit in 32 bits.
pub const LARGEST: usize = 1 << 30;

/// A line of the table with the index of the next. It fills a cache line, so that no load brings in two.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
struct TableLine {
    next: u32,
}

/// A table of cache lines linked to one random cycle.
#[derive(Debug)]
pub struct Chase {
    lines: Vec<TableLine>,
    at: u32,
}

/// A number of accesses and their time. A sum adds both, so that the mean is over accesses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Walk {
    /// Dependent loads.
    pub steps: u64,
    /// Their total time, including two reads of the clock (about 50 ns).
    pub time: Duration,
}

/// The table cannot have this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pointer-chase table must be between 128 bytes and 1 GiB (got {bytes} bytes)")]
pub struct BadTable {
    /// The size asked for.
    pub bytes: usize,
}

impl Chase {
    /// Whether a table of `bytes` bytes can be made.
    ///
    /// # Errors
    /// [`BadTable`] for less than two lines or more than [`LARGEST`].
    pub fn check(bytes: usize) -> Result<(), BadTable> {
        if (2 * LINE..=LARGEST).contains(&bytes) { Ok(()) } else { Err(BadTable { bytes }) }
    }

    /// A table of `bytes` bytes, rounded down to cache lines. Making it touches all of it.
    ///
    /// # Errors
    /// [`BadTable`] for less than two lines or more than [`LARGEST`].
    pub fn new(bytes: usize) -> Result<Chase, BadTable> {
        Self::check(bytes)?;
        let count = (bytes / LINE) as u32;
        let mut lines: Vec<TableLine> = (0..count).map(|next| TableLine { next }).collect();
        // Sattolo's shuffle: swapping only with a lower index leaves one cycle through all lines. A plain shuffle
        // leaves several, and a walk would stay in a short one. Random order defeats the prefetchers.
        let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
        for i in (1..count).rev() {
            let j = random.below(i);
            lines.swap(i as usize, j as usize);
        }
        Ok(Chase { lines, at: 0 })
    }

    /// Follows the links for `steps` accesses, from where the last walk ended.
    ///
    /// Use some hundred steps at least: the two reads of the clock cost as much as ten hits in the second
    /// level.
    pub fn walk(&mut self, steps: u64) -> Walk {
        let mut at = self.at;
        let begun = Instant::now();
        for _ in 0..steps {
            // The bounds check depends on the loaded index, but no load depends on the check. The CPU
            // predicts it, so it adds no latency.
            at = self.lines[at as usize].next;
        }
        // Otherwise the compiler would drop the loop.
        let at = black_box(at);
        let time = begun.elapsed();
        self.at = at;
        Walk { steps, time }
    }

    /// Cache lines in the table.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }
}

impl Walk {
    /// Mean time of an access in ns.
    ///
    /// # Errors
    /// [`Missing::NothingMoved`] without any access.
    pub fn ns_per_access(&self) -> Measured<f64> {
        if self.steps == 0 {
            return Err(Missing::NothingMoved);
        }
        Ok(self.time.as_nanos() as f64 / self.steps as f64)
    }
}

impl AddAssign for Walk {
    fn add_assign(&mut self, other: Walk) {
        self.steps += other.steps;
        self.time += other.time;
    }
}

/// Marsaglia's 64-bit generator. The order must be scattered and the same in every run; it need not be
/// secret.
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high half times the bound, divided by 2^32, is uniform enough for bounds far below 2^32.
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cycle_visits_every_line_once() {
        for bytes in [128, 192, 32 << 10, 512 << 10] {
            let mut chase = Chase::new(bytes).unwrap();
            let mut seen = vec![false; chase.lines()];
            for _ in 0..chase.lines() {
                chase.walk(1);
                assert!(!std::mem::replace(&mut seen[chase.at as usize], true));
            }
            assert_eq!(chase.at, 0, "a walk of all lines ends where it began");
            assert_eq!(chase.lines(), bytes / 64);
        }
        assert_eq!(size_of::<TableLine>(), LINE);
    }

    #[test]
    fn a_walk_goes_on_where_the_last_one_ended() {
        let (mut once, mut twice) = (Chase::new(4096).unwrap(), Chase::new(4096).unwrap());
        once.walk(50);
        let mut sum = twice.walk(20);
        sum += twice.walk(30);
        assert_eq!(once.at, twice.at);
        assert_eq!(sum.steps, 50);
        assert!(sum.ns_per_access().unwrap() > 0.0);
    }

    #[test]
    fn no_table_and_no_walk_say_so() {
        assert_eq!(Chase::new(127).unwrap_err(), BadTable { bytes: 127 });
        assert!(Chase::new(usize::MAX).is_err());
        assert_eq!(Walk::default().ns_per_access(), Err(Missing::NothingMoved));
        assert_eq!(Chase::new(128).unwrap().walk(0).steps, 0);
    }
}
