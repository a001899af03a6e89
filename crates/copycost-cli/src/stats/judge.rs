//! One judgement for each cell of a run, corrected for the number of cells.
//!
//! Forty-eight 95 % intervals of equal paths are expected to give two false alarms. Holm's step-down correction keeps
//! the probability of any false alarm in the whole run at the given level. It loses less than dividing the level by the
//! number of cells: only the clearest cell gets the full division, and each cell found different relaxes it for the
//! rest.

use super::{Estimate, Interval, Pair, Unusable};
use copycost::named_enum;
/// Ratios closer to 1 than this count as equal, because a user would not choose a path for less.
pub const EQUIVALENT_WITHIN: f64 = 0.02;

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Higher values are better: throughput.
    Higher,
    /// Lower values are better: CPU time, latency.
    Lower,
}

/// The values of one comparison: a path and its reference, for one size, client count and metric.
#[derive(Clone, Copy, Debug)]
pub struct PairedCell<'a> {
    /// One pair of values for each set-up.
    pub pairs: &'a [Pair],
    /// Whether higher or lower values are better.
    pub better: Better,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The path is better than its reference: the whole interval lies on that side of 1.
    Faster,
    /// The path is worse than its reference: the whole interval lies on that side of 1.
    Slower,
    /// The whole interval lies within [`EQUIVALENT_WITHIN`] of 1, even if it excludes 1.
    Equivalent,
    /// The interval shows none of these, or there is no interval.
    Undecided,
}

impl Judgement {
    /// The judgement that `interval` supports, for a metric with this better direction.
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

named_enum!(Judgement: Faster = "faster", Slower = "slower", Equivalent = "equivalent", Undecided = "undecided");

/// A comparison whose ratio is estimated already.
#[derive(Clone, Copy, Debug)]
pub struct EstimatedCell {
    /// The ratio of the path to its reference, or why there is none.
    pub estimate: Result<Estimate, Unusable>,
    /// Whether higher or lower values are better.
    pub better: Better,
    /// The number of set-ups.
    pub setups: usize,
}

/// The outcome of one [`PairedCell`] or [`EstimatedCell`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgedCell {
    /// The judgement of the cell.
    pub judgement: Judgement,
    /// The interval of the ratio, or why there is none; the judgement is then [`Judgement::Undecided`].
    pub interval: Result<Interval, Unusable>,
    /// The number of set-ups.
    pub setups: usize,
}

impl JudgedCell {
    /// For [`Judgement::Undecided`], a sentence that says why; otherwise `None`.
    pub fn why_undecided(&self) -> Option<String> {
        if self.judgement != Judgement::Undecided {
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

/// Judges all cells of a run together, in the given order. `alpha` is the probability of calling any two equal paths
/// different in the whole run; 0.05 is usual.
///
/// Each interval has the level at which Holm tests its cell: `alpha`/m for the smallest p-value of m cells, then
/// `alpha`/(m - 1), and so on. From the first cell that shows no difference, its level holds for the rest. So a cell is
/// found different exactly if its interval excludes 1. A cell without an interval still counts among the m. `alpha` is
/// clamped to 0 to 1.
///
/// Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
/// (1979), 65-70.
pub fn judge(cells: &[PairedCell<'_>], alpha: f64) -> Vec<JudgedCell> {
    let estimated = |cell: &PairedCell<'_>| EstimatedCell {
        estimate: Estimate::new(cell.pairs),
        better: cell.better,
        setups: cell.pairs.len(),
    };
    judge_estimates(&cells.iter().map(estimated).collect::<Vec<_>>(), alpha)
}

/// The same for ratios that are estimated already.
pub fn judge_estimates(cells: &[EstimatedCell], alpha: f64) -> Vec<JudgedCell> {
    let alpha = if alpha >= 0.0 { alpha.min(1.0) } else { 0.0 };
    cells
        .iter()
        .zip(levels(cells, alpha))
        .map(|(cell, level)| {
            let interval = cell.estimate.map(|estimate| estimate.interval(level));
            let judgement =
                interval.map_or(Judgement::Undecided, |interval| Judgement::of(&interval, cell.better));
            JudgedCell { judgement, interval, setups: cell.setups }
        })
        .collect()
}

/// The level at which each cell is tested.
fn levels(cells: &[EstimatedCell], alpha: f64) -> Vec<f64> {
    let p: Vec<f64> =
        cells.iter().map(|cell| cell.estimate.map_or(1.0, |estimate| estimate.p_value())).collect();
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
