//! What the set-ups of a cell say about a path and its reference: a ratio, its interval, and one word.
//!
//! The unit is the set-up, not the turn. Addresses and pages that a set-up happens to get move its speed by several per
//! cent and do not average out within it: with turns as the unit two identical rigs differed "significantly" in 14 of
//! 80 comparisons, with set-ups in none of 16. Both values of a pair come from one set-up, so what moves both (another
//! tenant, the clock) cancels in their ratio; logarithms make faster and slower mirror images of each other.
//!
//! - here: the mean of the log ratios and Student's interval ([`Estimate`], [`Interval`])
//! - [`judge()`]: words for all cells of a run at once, corrected for their number
//! - [`Mean`]: what may be zero or negative, such as a difference, with Student's interval
//! - [`Middle`]: median and spread of plain values
//! - `student`: the t distribution

mod judge;
mod mean;
mod middle;
#[cfg(test)]
mod simulated;
mod student;
#[cfg(test)]
mod tests;

pub use judge::{Better, EQUIVALENT_WITHIN, JudgedCell, Judgement, PairedCell, holm, judge};
pub use mean::Mean;
pub use middle::Middle;
pub use student::two_sided_quantile;

/// What one set-up measured for a path and for its reference, both in the same unit (bytes/s, ns/KiB, …).
///
/// A set-up of several blocks gives the total of its blocks (bytes over time), so that the balanced order cancels drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The path's value; positive and finite.
    pub path: f64,
    /// The reference's value; positive and finite.
    pub reference: f64,
}

/// Why values cannot be compared; the text says what to do next.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// There is no value at all.
    #[error("no set-up was measured: give it more time, or check why each failed")]
    NoSetup,
    /// A single set-up has no spread, so nothing says how far its ratio is off.
    #[error("a single set-up shows no spread: measure at least two (eight are usual)")]
    OneSetup,
    /// A value without a logarithm: zero, negative, infinite or NaN. Set-ups count from 0.
    #[error(
        "set-up {setup} measured {value}, and only positive finite values can be compared: check why it \
         moved no data"
    )]
    NotPositive {
        /// The first set-up with such a value.
        setup: usize,
        /// That value.
        value: f64,
    },
    /// A value that is infinite or not a number, where zero and negative ones would do. Values count from 0.
    #[error("value {index} is {value}: only finite values have a median")]
    NotFinite {
        /// The first such value.
        index: usize,
        /// That value.
        value: f64,
    },
    /// All log ratios are equal, so an interval would claim certainty.
    #[error(
        "{setups} set-ups agree to the last digit, as measurements never do: check that each was measured anew"
    )]
    NoSpread {
        /// How many.
        setups: usize,
    },
}

/// Log ratios that differ by less are equal: far above rounding (1e-16 per operation), far below any clock.
const SMALLEST_SPREAD: f64 = 1e-12;

/// The mean log ratio of a path to its reference over set-ups, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    mean_log: f64,
    standard_error: f64,
    setups: usize,
}

impl Estimate {
    /// Estimates from one pair per set-up.
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

    /// The two-sided p-value of "there is no difference" (a ratio of 1), by Student's t with one degree of freedom less
    /// than set-ups.
    pub fn p_value(&self) -> f64 {
        student::two_sided_p(self.mean_log / self.standard_error, self.setups - 1)
    }

    /// The interval that misses the true ratio with probability `alpha` (0.05 for a 95 % interval), if set-ups are
    /// independent and their log ratios roughly normal.
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

/// A ratio, path to reference, and how far it may be off. All three are positive and finite (clamped to the range of
/// `f64`), and `low <= ratio <= high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The geometric mean of the set-ups' ratios.
    pub ratio: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The probability with which it misses the true ratio: 0.05 for a 95 % interval.
    pub alpha: f64,
}

impl Interval {
    /// Half its width relative to the ratio, the same up and down: 0.02 is "to 2 %". For `--precision`.
    pub fn precision(&self) -> f64 {
        ((self.high.ln() - self.low.ln()) / 2.0).exp_m1().min(f64::MAX)
    }

    /// Whether it lies inside 1/(1 + `margin`) to 1 + `margin`.
    pub fn within(&self, margin: f64) -> bool {
        self.low >= (1.0 + margin).recip() && self.high <= 1.0 + margin
    }
}
