//! What trials have said about one way beside another: a mean logarithm of cost ratios, and how sure it is.

use super::trial::Logs;

/// The older of more trials than these are forgotten little by little, so that a change shows within a dozen.
const REMEMBERED: f64 = 12.0;

/// Trials before anything is believed that is not glaring.
pub(super) const FEWEST: f64 = 4.0;

/// How many standard errors make a difference. Looked at after each trial, so more than the usual two: with two, of
/// equal ways one in four was called cheaper within twelve trials (simulated).
const SURE: f64 = 3.0;

/// Trials of one block scatter by more than this; fewer agree by chance.
const SMALLEST_SPREAD: f64 = 0.01;

/// One trial is enough to turn from a rival that costs twice as much (as a logarithm), and two to turn to one that costs
/// half.
pub(super) const GLARING: f64 = std::f64::consts::LN_2;

/// A difference of cost below this is not worth a switch.
pub(super) const MARGIN: f64 = 0.02;

/// One trial cannot say more than this, in either direction (a factor of 4): the rest is an interrupt or another tenant.
const MOST: f64 = 1.4;

/// What is to be believed of a rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Cheaper,
    Dearer,
    Open,
}

/// The logarithm of a rival's cost over the incumbent's, over trials.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    trials: f64,
    mean: f64,
    variance: f64,
    highest: f64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { trials: 0.0, mean: 0.0, variance: 0.0, highest: f64::NEG_INFINITY }
    }
}

impl Evidence {
    pub(super) fn add(&mut self, logs: Logs) {
        let value = logs.mean.clamp(-MOST, MOST);
        self.highest = self.highest.max(logs.beside_the_cheaper);
        self.trials = (self.trials + 1.0).min(REMEMBERED);
        let weight = 1.0 / self.trials;
        let off = value - self.mean;
        self.mean += weight * off;
        self.variance = (1.0 - weight) * (self.variance + weight * off * off);
    }

    /// The mean logarithm: above 0 the rival is dearer.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    pub(super) fn trials(&self) -> usize {
        self.trials as usize
    }

    /// The mean in standard errors; 0 while there are too few trials.
    fn sureness(&self) -> f64 {
        if self.trials < FEWEST {
            return 0.0;
        }
        self.mean / self.error()
    }

    /// Its standard error.
    fn error(&self) -> f64 {
        // Of a sample, not of a population.
        let variance = self.variance * self.trials / (self.trials - 1.0);
        (variance.sqrt().max(SMALLEST_SPREAD)) / self.trials.sqrt()
    }

    /// Most likely not dearer by more than the margin.
    pub(super) fn is_no_dearer(&self) -> bool {
        self.trials >= FEWEST && self.mean + self.error() < MARGIN
    }

    /// Most likely not cheaper by more than the margin.
    pub(super) fn is_no_cheaper(&self) -> bool {
        self.trials >= FEWEST && self.mean - self.error() > -MARGIN
    }

    /// Cheaper where that is sure, by more than the margin; dearer where that is sure.
    pub(super) fn verdict(&self) -> Verdict {
        match self.sureness() {
            sureness if sureness < -SURE && self.mean < -MARGIN => Verdict::Cheaper,
            sureness if sureness > SURE => Verdict::Dearer,
            _ => Verdict::Open,
        }
    }

    pub(super) fn is_glaringly_dearer(&self) -> bool {
        self.trials > 0.0 && self.mean > GLARING
    }

    /// In each of its trials, beside the cheaper block of the incumbent.
    pub(super) fn is_glaringly_cheaper(&self) -> bool {
        self.trials > 1.0 && self.highest < -GLARING
    }

    /// The same against another incumbent, which costs `log_ratio` of the former.
    pub(super) fn rebase(&mut self, log_ratio: f64) {
        self.mean -= log_ratio;
        self.highest -= log_ratio;
    }

    /// What the other one's evidence would be.
    pub(super) fn mirrored(&self) -> Self {
        Self { mean: -self.mean, highest: f64::INFINITY, ..*self }
    }
}
