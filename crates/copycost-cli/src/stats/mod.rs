//! Statistics of a cell: the ratio of a path to its reference, its interval, and a judgement.
//!
//! The unit is the set-up, not the turn. The addresses and pages of a set-up change its speed by several per cent and
//! do not average out within it: with turns as the unit, two identical rigs differed "significantly" in 14 of 80
//! comparisons; with set-ups, in none of 16. Both values of a pair come from one set-up, so an effect on both (another
//! tenant, the clock) cancels in their ratio. Logarithms make faster and slower symmetric.
//!
//! - here: the mean of the log ratios and Student's interval ([`Estimate`], [`Interval`])
//! - [`judge()`]: judges all cells of a run together, corrected for their number
//! - [`SetUpEvents`]: quantiles of many events, with intervals by the bootstrap over set-ups
//! - [`Mean`]: values that may be zero or negative, such as a difference, with Student's interval
//! - [`Middle`]: median and spread of plain values
//! - `student`: the t distribution

mod events;
mod judge;
mod mean;
mod middle;
mod student;
#[cfg(test)]
mod tests;

pub use events::{EVENTS_ABOVE, SetUpEvents};
pub use judge::{
    Better, EQUIVALENT_WITHIN, EstimatedCell, JudgedCell, Judgement, PairedCell, holm, judge, judge_estimates,
};
pub use mean::Mean;
pub use middle::Middle;
pub use student::two_sided_quantile;

/// The values of a path and of its reference in one set-up, both in the same unit (bytes/s, ns/KiB, …).
///
/// A set-up of several blocks gives the total of its blocks (bytes over time), so that the balanced order cancels drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The path's value; positive and finite.
    pub path: f64,
    /// The reference's value; positive and finite.
    pub reference: f64,
}

/// Why values cannot be compared. The message says what to do next.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// There are no values.
    #[error("no set-up was measured: give it more time, or check why each failed")]
    NoSetup,
    /// A single set-up has no spread, so its error is unknown.
    #[error("a single set-up shows no spread: measure at least two (eight are usual)")]
    OneSetup,
    /// A value has no logarithm: it is zero, negative, infinite or NaN. Set-ups count from 0.
    #[error(
        "set-up {setup} measured {value}, and only positive finite values can be compared: check why it \
         moved no data"
    )]
    NotPositive {
        /// The first set-up with such a value.
        setup: usize,
        value: f64,
    },
    /// A value is infinite or NaN, where zero and negative values are allowed. Values count from 0.
    #[error("value {index} is {value}: only finite values have a median")]
    NotFinite {
        /// The first such value.
        index: usize,
        value: f64,
    },
    /// All log ratios are equal, so an interval would claim certainty.
    #[error(
        "{setups} set-ups agree to the last digit, as measurements never do: check that each was measured anew"
    )]
    NoSpread {
        /// The number of set-ups.
        setups: usize,
    },
}

/// Log ratios that differ by less are equal. It is far above rounding (1e-16 per operation) and far below the
/// resolution of any clock.
const SMALLEST_SPREAD: f64 = 1e-12;

/// The mean log ratio of a path to its reference over set-ups, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    mean_log: f64,
    standard_error: f64,
    setups: usize,
}

impl Estimate {
    /// Estimates the ratio from one pair for each set-up.
    ///
    /// # Errors
    /// [`Unusable`] for fewer than two pairs, a value that is not positive and finite, or pairs of equal ratio.
    pub fn new(pairs: &[Pair]) -> Result<Self, Unusable> {
        let logs = log_ratios(pairs)?;
        match logs.len() {
            0 => return Err(Unusable::NoSetup),
            1 => return Err(Unusable::OneSetup),
            _ => {}
        }
        let setups = logs.len();
        let n = setups as f64;
        let mean_log = logs.iter().sum::<f64>() / n;
        let squares: f64 = logs.iter().map(|log| (log - mean_log).powi(2)).sum();
        if logs.iter().all(|log| (log - mean_log).abs() < SMALLEST_SPREAD) {
            return Err(Unusable::NoSpread { setups });
        }
        Ok(Self { mean_log, standard_error: (squares / (n - 1.0) / n).sqrt(), setups })
    }

    /// The estimate whose logarithm is `mean_log`, with a standard error that was found in another way.
    fn of_log(mean_log: f64, standard_error: f64, setups: usize) -> Self {
        Self { mean_log, standard_error, setups }
    }

    /// The two-sided p-value of "the ratio is 1", by Student's t with one degree of freedom less than set-ups.
    pub fn p_value(&self) -> f64 {
        student::two_sided_p(self.mean_log / self.standard_error, self.setups - 1)
    }

    /// The interval that misses the true ratio with probability `alpha` (0.05 for a 95 % interval), provided that
    /// set-ups are independent and their log ratios are roughly normal.
    pub fn interval(&self, alpha: f64) -> Interval {
        let reach = student::two_sided_quantile(alpha, self.setups - 1) * self.standard_error;
        let ratio = |log: f64| log.exp().clamp(f64::MIN_POSITIVE, f64::MAX);
        Interval {
            ratio: ratio(self.mean_log),
            low: ratio(self.mean_log - reach),
            high: ratio(self.mean_log + reach),
            alpha,
        }
    }
}

fn log_ratios(pairs: &[Pair]) -> Result<Vec<f64>, Unusable> {
    let log = |setup, value: f64| {
        if value > 0.0 && value.is_finite() {
            Ok(value.ln())
        } else {
            Err(Unusable::NotPositive { setup, value })
        }
    };
    pairs
        .iter()
        .enumerate()
        .map(|(setup, pair)| Ok(log(setup, pair.path)? - log(setup, pair.reference)?))
        .collect()
}

/// A ratio of path to reference, with its interval. All three are positive and finite (clamped to the range of `f64`),
/// and `low <= ratio <= high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The geometric mean of the set-ups' ratios.
    pub ratio: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// The probability that the interval misses the true ratio: 0.05 for a 95 % interval.
    pub alpha: f64,
}

impl Interval {
    /// Half of the interval's width relative to the ratio, on a logarithmic scale: 0.02 is 2 %. `--precision` uses it.
    pub fn precision(&self) -> f64 {
        ((self.high.ln() - self.low.ln()) / 2.0).exp_m1().min(f64::MAX)
    }

    /// Whether the interval lies inside 1/(1 + `margin`) to 1 + `margin`.
    pub fn within(&self, margin: f64) -> bool {
        self.low >= (1.0 + margin).recip() && self.high <= 1.0 + margin
    }
}
