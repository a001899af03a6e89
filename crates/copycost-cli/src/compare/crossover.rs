//! From which message size one path beats another: a coarse look at the whole range, then bisection at both edges of
//! what is not yet known.
//!
//! A size has three answers, not two: the path wins, or measurably does not, or the measurement cannot tell. So the
//! crossover is an interval. Its upper end is the smallest size from which the path wins at every size looked at, its
//! lower end the largest size below at which it does not; sizes that cannot tell stay inside.

use std::collections::BTreeMap;

use super::metric::Metric;

/// Sizes are looked at down to this, in bytes. It is the smallest of the original experiment; below it a cold ring of
/// messages is mostly the bookkeeping of its millions of fields.
pub const SMALLEST: usize = 1024;

/// The largest size unless told otherwise, in bytes.
pub const MOST: usize = 1 << 20;

/// The largest that may be asked for, in bytes.
pub const MOST_ALLOWED: usize = 4 << 20;

/// The first look takes each size so many times as large as the one before. A path that wins, loses and wins again
/// within less would be missed.
const STRIDE: usize = 4;

/// Bisection ends when the edge is known to this factor: finer than the step between sizes that a program chooses.
const RESOLUTION: f64 = 1.2;

/// What one size says of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The path is faster, the whole interval says so.
    Wins,
    /// It is slower, or equivalent.
    DoesNotWin,
    /// The interval says neither.
    Unknown,
}

/// What a size says of every metric, in the order of [`Metric::ALL`].
pub type Standings = [Standing; 3];

/// Measures the path and its opponent at a size. `None`: it was called off, or a path failed.
pub type MeasureSize<'a> = dyn FnMut(usize) -> Option<Standings> + 'a;

/// The interval in which a crossover lies. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossoverInterval {
    /// The largest size, below `high`, at which the path measurably does not win; `None`: there is none.
    pub low: Option<usize>,
    /// The smallest size from which it wins wherever it was looked at; `None`: it does not win at the largest.
    pub high: Option<usize>,
}

/// The crossover of each metric, in the order of [`Metric::ALL`], with sizes up to `most` bytes. A size is looked at
/// once for all metrics. `None` when a look was called off.
pub fn find(most: usize, look: &mut MeasureSize<'_>) -> Option<Vec<(Metric, CrossoverInterval)>> {
    let mut seen = SizesSeen { standings: BTreeMap::new(), look };
    for size in coarse(most) {
        seen.at(size)?;
    }
    let of = |(index, metric): (usize, &Metric)| Some((*metric, bisect(index, &mut seen)?));
    Metric::ALL.iter().enumerate().map(of).collect()
}

/// How many sizes a crossover looks at, more or less: for sharing out a budget.
pub fn looks(most: usize) -> usize {
    // Of a gap of factor four, four halvings leave a factor of 1.1; two metrics rarely cross in the same gap.
    coarse(most).count() + 6
}

fn coarse(most: usize) -> impl Iterator<Item = usize> {
    let powers = std::iter::successors(Some(SMALLEST), |size| size.checked_mul(STRIDE));
    powers.take_while(move |size| *size < most).chain([most])
}

struct SizesSeen<'a, 'b> {
    standings: BTreeMap<usize, Standings>,
    look: &'a mut MeasureSize<'b>,
}

impl SizesSeen<'_, '_> {
    fn at(&mut self, size: usize) -> Option<Standings> {
        if let Some(standings) = self.standings.get(&size) {
            return Some(*standings);
        }
        let standings = (self.look)(size)?;
        self.standings.insert(size, standings);
        Some(standings)
    }

    /// What is known of a metric, largest size first.
    fn down(&self, metric: usize) -> impl Iterator<Item = (usize, Standing)> + '_ {
        self.standings.iter().rev().map(move |(size, standings)| (*size, standings[metric]))
    }

    /// The smallest size from which on everything seen is a win.
    fn high(&self, metric: usize) -> Option<usize> {
        self.down(metric).take_while(|(_, standing)| *standing == Standing::Wins).last().map(|(size, _)| size)
    }

    /// The largest size below `edge` that stands so.
    fn below(&self, metric: usize, edge: usize, wanted: impl Fn(Standing) -> bool) -> Option<usize> {
        self.down(metric).find(|(size, standing)| *size < edge && wanted(*standing)).map(|(size, _)| size)
    }
}

fn bisect(metric: usize, seen: &mut SizesSeen<'_, '_>) -> Option<CrossoverInterval> {
    // The upper edge: between the smallest win and the largest size below that is none.
    while let Some(high) = seen.high(metric) {
        let below = seen.below(metric, high, |standing| standing != Standing::Wins);
        let Some(size) = below.and_then(|below| middle(below, high)) else { break };
        seen.at(size)?;
    }
    let high = seen.high(metric);
    // The lower edge: between the largest size that does not win and the smallest above that cannot tell.
    let edge = high.unwrap_or(usize::MAX);
    loop {
        let low = seen.below(metric, edge, |standing| standing == Standing::DoesNotWin);
        let unknown = low.and_then(|low| seen.standings.range(low + 1..edge).next()).map(|(size, _)| *size);
        let Some(size) = low.zip(unknown).and_then(|(low, unknown)| middle(low, unknown)) else {
            return Some(CrossoverInterval { low, high });
        };
        seen.at(size)?;
    }
}

/// The size half-way between two on a logarithmic scale, a multiple of eight; `None` where they are near enough.
fn middle(low: usize, high: usize) -> Option<usize> {
    let ratio = high as f64 / low as f64;
    let size = (low as f64 * ratio.sqrt() / 8.0).round() as usize * 8;
    (ratio > RESOLUTION && size > low && size < high).then_some(size)
}

#[cfg(test)]
mod tests;
