//! Finds the message size from which one path beats another: a few sizes over the whole range, then bisection at both
//! edges of the unknown range.
//!
//! Each size has one of three answers: the path wins, it measurably does not win, or the measurement is undecided. So
//! the crossover is an interval. Its upper end is the smallest size from which the path wins at every measured size.
//! Its lower end is the largest size below that at which it does not win. Undecided sizes lie inside.

use std::collections::BTreeMap;

use super::metric::Metric;

/// The smallest size that is measured, in bytes, as in the original experiment. A cold ring of smaller messages would
/// be mostly the bookkeeping of its millions of fields.
pub const SMALLEST: usize = 1024;

/// The default of the largest size, in bytes.
pub const MOST: usize = 1 << 20;

/// The limit of the largest size that a user can give, in bytes.
pub const MOST_ALLOWED: usize = 4 << 20;

/// The factor between the first sizes. A path that wins and loses again within this factor is missed.
const STRIDE: usize = 4;

/// Bisection ends when the edge is known to this factor, which is finer than the sizes that a program chooses between.
const RESOLUTION: f64 = 1.2;

/// The result of one metric at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The path is better: the whole interval lies on that side.
    Wins,
    /// The path is worse, or equivalent.
    DoesNotWin,
    /// The interval decides neither.
    Unknown,
}

/// The results of all metrics at one size, in the order of [`Metric::ALL`].
pub type Standings = [Standing; 3];

/// Measures both paths at a size. `None` means that it was called off, or that a path failed.
pub type MeasureSize<'a> = dyn FnMut(usize) -> Option<Standings> + 'a;

/// The interval in which a crossover lies. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossoverInterval {
    /// The largest size below `high` at which the path measurably does not win; `None` if there is none.
    pub low: Option<usize>,
    /// The smallest size from which the path wins at every measured size; `None` if it does not win at the largest.
    pub high: Option<usize>,
}

/// The crossover of each metric, in the order of [`Metric::ALL`], with sizes up to `most` bytes. Each size is measured
/// once for all metrics. `None` means that `look` returned `None`.
pub fn find(most: usize, look: &mut MeasureSize<'_>) -> Option<Vec<(Metric, CrossoverInterval)>> {
    let mut seen = SizesSeen { standings: BTreeMap::new(), look };
    for size in coarse(most) {
        seen.at(size)?;
    }
    let of = |(index, metric): (usize, &Metric)| Some((*metric, bisect(index, &mut seen)?));
    Metric::ALL.iter().enumerate().map(of).collect()
}

/// About how many sizes a crossover measures, for dividing a budget.
pub fn looks(most: usize) -> usize {
    // Four halvings reduce a gap from factor 4 to factor 1.1. The metrics rarely cross in the same gap.
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

    /// The standings of a metric, largest size first.
    fn down(&self, metric: usize) -> impl Iterator<Item = (usize, Standing)> + '_ {
        self.standings.iter().rev().map(move |(size, standings)| (*size, standings[metric]))
    }

    /// The smallest size from which the path wins at every measured size.
    fn high(&self, metric: usize) -> Option<usize> {
        self.down(metric).take_while(|(_, standing)| *standing == Standing::Wins).last().map(|(size, _)| size)
    }

    /// The largest size below `edge` whose standing is `wanted`.
    fn below(&self, metric: usize, edge: usize, wanted: impl Fn(Standing) -> bool) -> Option<usize> {
        self.down(metric).find(|(size, standing)| *size < edge && wanted(*standing)).map(|(size, _)| size)
    }
}

fn bisect(metric: usize, seen: &mut SizesSeen<'_, '_>) -> Option<CrossoverInterval> {
    // The upper edge lies between the smallest win and the largest size below that is not a win.
    while let Some(high) = seen.high(metric) {
        let below = seen.below(metric, high, |standing| standing != Standing::Wins);
        let Some(size) = below.and_then(|below| middle(below, high)) else { break };
        seen.at(size)?;
    }
    let high = seen.high(metric);
    // The lower edge lies between the largest size that does not win and the smallest undecided size above it.
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

/// The size half-way between two on a logarithmic scale, rounded to a multiple of eight. `None` means that they are
/// within [`RESOLUTION`].
fn middle(low: usize, high: usize) -> Option<usize> {
    let ratio = high as f64 / low as f64;
    let size = (low as f64 * ratio.sqrt() / 8.0).round() as usize * 8;
    (ratio > RESOLUTION && size > low && size < high).then_some(size)
}

#[cfg(test)]
mod tests;
