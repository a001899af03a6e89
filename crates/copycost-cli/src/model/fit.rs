//! From measured cells to coefficients with intervals, and from these to predictions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::features::Features;
use super::linear::{self, Fit, FitRow, NoFit};
use super::noise::Noise;
use crate::compare::stats::two_sided_quantile;
use copycost::message::{Footprint, words};

/// The probability with which an interval misses.
pub const ALPHA: f64 = 0.05;

/// What a message's CPU time is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// System calls, those that read completions included.
    Calls,
    /// Fields.
    Fields,
    /// KiB from the nearest cache.
    HotKib,
    /// KiB from half of the second-level cache.
    L2Kib,
    /// KiB from half of the last-level cache.
    LlcKib,
    /// KiB from memory.
    ColdKib,
    /// Pages whose references are kept.
    Pages,
    /// Segments with payload, by TCP_INFO.
    Segments,
    /// Calls whose completion was told.
    Notifications,
}

words!(Term: Calls = "call", Fields = "field", HotKib = "KiB hot", L2Kib = "KiB l2", LlcKib = "KiB llc",
    ColdKib = "KiB cold", Pages = "page", Segments = "segment", Notifications = "notification");

impl Term {
    /// The KiB of a footprint.
    pub fn kib(footprint: Footprint) -> Self {
        match footprint {
            Footprint::Hot => Self::HotKib,
            Footprint::L2 => Self::L2Kib,
            Footprint::Llc => Self::LlcKib,
            Footprint::Cold => Self::ColdKib,
        }
    }
}

impl Serialize for Term {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What was counted for each message of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MessageCounts {
    /// System calls of the sender.
    pub calls: f64,
    /// Segments with payload; 0 where they are not counted.
    pub segments: f64,
    /// Calls whose completion was told.
    pub notifications: f64,
}

/// One measured cell of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredCell {
    /// Its message.
    pub features: Features,
    /// What was counted.
    pub counts: MessageCounts,
    /// CPU time of a message in ns, in each set-up; at least one.
    pub ns: Vec<f64>,
}

/// How a count follows from a message: so much for each message, each field and each KiB.
pub type CountRate = [f64; 3];

/// The cost model of a path, for the CPU time of one end or of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its terms, in the order of the coefficients.
    pub terms: Vec<Term>,
    /// ns for each.
    pub fit: Fit,
    /// Of calls, segments and notifications.
    pub rates: [CountRate; 3],
    /// How far off the cells are.
    #[serde(default)]
    pub noise: Noise,
    /// What was left out, and why: sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A value in ns and where it lies with 95 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The value.
    pub ns: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Its standard deviation relative to the value.
    pub relative_error: f64,
    /// Degrees of freedom of that.
    pub freedom: usize,
}

impl MeasuredCell {
    /// CPU time of a message in ns: the mean over set-ups.
    pub fn mean(&self) -> f64 {
        mean(&self.ns)
    }
}

impl Model {
    /// The model of the set-ups of `cells`, which must differ in their fields, their sizes and their footprints.
    ///
    /// A term that explains less than its place in the model costs is left out (a squared t below 2, which is Akaike's
    /// criterion), and so is one whose coefficient comes out negative: nothing gives time back.
    ///
    /// # Errors
    /// [`NoFit`] where the cells are too few, or cannot tell even the bytes of a message from its calls.
    pub fn fit(cells: &[MeasuredCell]) -> Result<Self, NoFit> {
        // How much a cell counts follows from how far off cells and set-ups are, and that from a first fit.
        let alike = Self::weighted(cells, &vec![1.0; cells.len()])?;
        Self::weighted(cells, &alike.noise.weights(cells))
    }

    fn weighted(cells: &[MeasuredCell], weights: &[f64]) -> Result<Self, NoFit> {
        let used = |term: &Term| cells.iter().any(|cell| amount(*term, &cell.features, &cell.counts) > 0.0);
        let mut terms: Vec<Term> = Term::ALL.iter().copied().filter(used).collect();
        let mut notes = Vec::new();
        let fit = loop {
            let row = |(cell, weight): (&MeasuredCell, &f64)| FitRow {
                terms: terms.iter().map(|term| amount(*term, &cell.features, &cell.counts)).collect(),
                value: cell.mean(),
                weight: *weight,
            };
            match linear::fit(&cells.iter().zip(weights).map(row).collect::<Vec<_>>()) {
                Err(NoFit::Collinear { column }) if can_go(terms[column]) => {
                    notes.push(format!(
                        "the {} varies with the other terms in every cell, so their cost includes it",
                        terms[column]
                    ));
                    terms.remove(column);
                }
                Err(refused) => return Err(refused),
                Ok(fit) => match weakest(&fit, &terms) {
                    Some(term) => {
                        notes.push(format!("the {} costs nothing beyond noise", terms[term]));
                        terms.remove(term);
                    }
                    None => break fit,
                },
            }
        };
        let rate = |of: fn(&MessageCounts) -> f64| rate(cells, of);
        let rates = [
            rate(|counts| counts.calls),
            rate(|counts| counts.segments),
            rate(|counts| counts.notifications),
        ];
        let noise = Noise::of(cells, fit.spread);
        Ok(Self { terms, fit, rates, noise, notes })
    }

    /// The CPU time of a message with these features.
    pub fn predict(&self, features: &Features) -> Prediction {
        let count = |rate: &CountRate| rate[0] + rate[1] * features.fields + rate[2] * features.kib;
        let [calls, segments, notifications] = [0, 1, 2].map(|at| count(&self.rates[at]));
        let counts = MessageCounts { calls, segments, notifications };
        let amounts: Vec<_> = self.terms.iter().map(|term| amount(*term, features, &counts)).collect();
        let (ns, relative_error) = (self.fit.value(&amounts), self.fit.relative_error(&amounts));
        let reach = ns * two_sided_quantile(ALPHA, self.fit.freedom) * relative_error;
        Prediction {
            ns,
            low: (ns - reach).max(0.0),
            high: ns + reach,
            relative_error,
            freedom: self.fit.freedom,
        }
    }

    /// What one of a term costs in ns, and how far off that may be.
    pub fn coefficient(&self, term: Term) -> Option<(f64, f64)> {
        let at = self.terms.iter().position(|own| *own == term)?;
        Some((self.fit.coefficients[at], self.fit.reach(at, ALPHA)))
    }

    /// Whether it was fitted with memory of this footprint.
    pub fn knows(&self, footprint: Footprint) -> bool {
        self.terms.contains(&Term::kib(footprint))
    }
}

/// The mean of values; of none it is no number.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// By how much predictions miss what was measured, on average over cells that the model has not seen; as a share.
pub fn mean_miss(misses: &[f64]) -> Option<f64> {
    (!misses.is_empty()).then(|| misses.iter().map(|miss| miss.abs()).sum::<f64>() / misses.len() as f64)
}

/// Bytes are what a model is asked about: without them there is none.
fn can_go(term: Term) -> bool {
    !matches!(term, Term::HotKib | Term::L2Kib | Term::LlcKib | Term::ColdKib)
}

/// The term that should go: of those that can and whose t is below its bound, the one with the lowest.
fn weakest(fit: &Fit, terms: &[Term]) -> Option<usize> {
    let weak = |term: &usize| can_go(terms[*term]) && fit.t(*term) < AKAIKE && terms.len() > 1;
    (0..terms.len()).filter(weak).min_by(|one, other| fit.t(*one).total_cmp(&fit.t(*other)))
}

/// The most negative coefficient, in units of its standard error.
fn lowest(fit: &Fit) -> Option<usize> {
    let negative = |term: &usize| fit.coefficients[*term] < 0.0;
    (0..fit.coefficients.len()).filter(negative).min_by(|one, other| fit.t(*one).total_cmp(&fit.t(*other)))
}

/// The root of 2: a term whose t is smaller makes predictions worse rather than better (H. Akaike, IEEE Transactions on
/// Automatic Control 19 (1974), 716-723).
const AKAIKE: f64 = std::f64::consts::SQRT_2;

fn amount(term: Term, features: &Features, counts: &MessageCounts) -> f64 {
    match term {
        Term::Calls => counts.calls,
        Term::Fields => features.fields,
        Term::Pages => features.pages,
        Term::Segments => counts.segments,
        Term::Notifications => counts.notifications,
        kib => {
            if Term::kib(features.footprint) == kib {
                features.kib
            } else {
                0.0
            }
        }
    }
}

/// How a count follows from a message; without a message that has any it is none.
fn rate(cells: &[MeasuredCell], of: fn(&MessageCounts) -> f64) -> CountRate {
    let mut columns = vec![0, 1, 2];
    let basis = |cell: &MeasuredCell| [1.0, cell.features.fields, cell.features.kib];
    loop {
        let row = |cell: &MeasuredCell| FitRow {
            terms: columns.iter().map(|column| basis(cell)[*column]).collect(),
            value: of(&cell.counts),
            weight: 1.0,
        };
        let rows: Vec<_> = cells.iter().filter(|cell| of(&cell.counts) > 0.0).map(row).collect();
        match linear::fit(&rows) {
            Ok(fit) => match lowest(&fit) {
                Some(column) if columns.len() > 1 => drop(columns.remove(column)),
                _ => {
                    let mut rate = [0.0; 3];
                    columns
                        .iter()
                        .zip(&fit.coefficients)
                        .for_each(|(column, value)| rate[*column] = value.max(0.0));
                    return rate;
                }
            },
            Err(NoFit::Collinear { column }) if columns.len() > 1 => drop(columns.remove(column)),
            Err(_) => return [0.0; 3],
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |(term, value): (&Term, &f64)| format!("{value:.1} ns a {term}");
        let parts: Vec<_> = self.terms.iter().zip(&self.fit.coefficients).map(part).collect();
        f.write_str(&parts.join(" + "))
    }
}

#[cfg(test)]
mod tests;
