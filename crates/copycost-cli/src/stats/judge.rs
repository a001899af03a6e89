//! One word for each cell of a run, with as much caution as their number asks for.
//!
//! Forty-eight honest 95 % intervals are expected to raise two false alarms. Holm's step-down correction keeps the
//! probability of any false alarm in the whole run at the given level, and loses less than dividing by the number of
//! cells would: the clearest cell bears the full division, and each cell found different eases it for the rest.

use super::{Estimate, Interval, Pair, Unusable};
use std::fmt;

/// Ratios nearer to 1 than this count as equal: no user would choose a path for less.
pub const EQUIVALENT_WITHIN: f64 = 0.02;

/// Which direction of a metric is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Throughput.
    Higher,
    /// Service demand, latency, time.
    Lower,
}

/// What is compared: one path against its reference, for one size, client count and metric.
#[derive(Clone, Copy, Debug)]
pub struct PairedCell<'a> {
    /// A pair of values for each set-up.
    pub pairs: &'a [Pair],
    /// How to read them.
    pub better: Better,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The path is better than its reference: the whole interval says so.
    Faster,
    /// The path is worse than its reference: the whole interval says so.
    Slower,
    /// The whole interval lies within [`EQUIVALENT_WITHIN`] of 1, be there a difference or not.
    Equivalent,
    /// The interval says none of these, or there is none.
    Undecided,
}

impl Judgement {
    /// What `interval` says of a metric of which `better` is the good direction.
    pub fn of(interval: &Interval, better: Better) -> Self {
        if interval.within(EQUIVALENT_WITHIN) {
            Self::Equivalent
        } else if interval.low > 1.0 {
            if better == Better::Higher { Self::Faster } else { Self::Slower }
        } else if interval.high < 1.0 {
            if better == Better::Higher { Self::Slower } else { Self::Faster }
        } else {
            Self::Undecided
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
        })
    }
}

/// The outcome of one [`PairedCell`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgedCell {
    /// In a word.
    pub word: Judgement,
    /// The evidence, or why there is none; then the word is [`Judgement::Undecided`].
    pub interval: Result<Interval, Unusable>,
    /// How many set-ups were given.
    pub setups: usize,
}

impl JudgedCell {
    /// For [`Judgement::Undecided`], a sentence that says why.
    pub fn why_undecided(&self) -> Option<String> {
        if self.word != Judgement::Undecided {
            return None;
        }
        Some(match self.interval {
            Err(reason) => reason.to_string(),
            Ok(Interval { low, high, .. }) => format!(
                "the ratio lies between {low:.3} and {high:.3}, on both sides of 1: more set-ups narrow that down"
            ),
        })
    }
}

/// Judges all cells of a run together, in the order given. `alpha` is the probability of calling any two equal paths
/// different in the whole run: 0.05 is usual.
///
/// Intervals take the level at which Holm tested their cell: `alpha`/m for the smallest p-value of m cells, then
/// `alpha`/(m - 1), …; from the first cell that shows no difference on, its level holds for all the rest. So a cell is
/// found different exactly if its interval leaves out 1. A cell without an interval counts among the m all the same.
/// Where `alpha` is not between 0 and 1 the nearest of them holds.
///
/// Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
/// (1979), 65-70.
pub fn judge(cells: &[PairedCell<'_>], alpha: f64) -> Vec<JudgedCell> {
    let alpha = if alpha >= 0.0 { alpha.min(1.0) } else { 0.0 };
    let estimates: Vec<_> = cells.iter().map(|cell| Estimate::new(cell.pairs)).collect();
    let levels = levels(&estimates, alpha);
    cells
        .iter()
        .zip(estimates.into_iter().zip(levels))
        .map(|(cell, (estimate, level))| {
            let interval = estimate.map(|estimate| estimate.interval(level));
            let word =
                interval.map_or(Judgement::Undecided, |interval| Judgement::of(&interval, cell.better));
            JudgedCell { word, interval, setups: cell.pairs.len() }
        })
        .collect()
}

/// The level at which each cell is tested.
fn levels(estimates: &[Result<Estimate, Unusable>], alpha: f64) -> Vec<f64> {
    let p: Vec<f64> =
        estimates.iter().map(|estimate| estimate.map_or(1.0, |estimate| estimate.p_value())).collect();
    holm(&p, alpha)
}

/// The level at which Holm tests each of these p-values (see [`judge`]).
pub fn holm(p: &[f64], alpha: f64) -> Vec<f64> {
    let mut clearest_first: Vec<usize> = (0..p.len()).collect();
    clearest_first.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut levels = vec![alpha; p.len()];
    let mut left = p.len();
    for cell in clearest_first {
        levels[cell] = alpha / left as f64;
        if p[cell] <= levels[cell] && left > 1 {
            left -= 1;
        }
    }
    levels
}
