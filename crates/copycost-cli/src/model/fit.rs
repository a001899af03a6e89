//! Fits coefficients with intervals to measured cells, and predicts from them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cells::{MeasuredCell, MessageCounts};
use super::features::Features;
use super::linear::{self, Fit, FitRow, NoFit};
use super::noise::Noise;
use crate::stats::two_sided_quantile;
use copycost::message::Footprint;
use copycost::named_enum;

/// The probability that an interval misses.
pub const ALPHA: f64 = 0.05;

/// A part of the CPU time of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// System calls, including those that read completions.
    Calls,
    /// The fields of a message.
    Fields,
    /// KiB from a hot ring, which is in the nearest cache.
    HotKib,
    /// KiB from messages that cover half of the second-level cache.
    L2Kib,
    /// KiB from messages that cover half of the last-level cache.
    LlcKib,
    /// KiB from memory beyond the caches.
    ColdKib,
    /// Pages to which the kernel keeps references.
    Pages,
    /// TCP segments with payload, counted by TCP_INFO.
    Segments,
    /// Calls whose completion the kernel reported.
    Notifications,
}

named_enum!(Term: Calls = "call", Fields = "field", HotKib = "KiB hot", L2Kib = "KiB l2", LlcKib = "KiB llc",
    ColdKib = "KiB cold", Pages = "page", Segments = "segment", Notifications = "notification");

impl Term {
    /// The term for the KiB of a footprint.
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

/// How a count depends on a message: its value for each message, each field and each KiB.
pub type CountRate = [f64; 3];

/// The cost model of a path, for the CPU time of one end or of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The terms, in the order of the coefficients.
    pub terms: Vec<Term>,
    /// The coefficients in ns for one of each term.
    pub fit: Fit,
    /// The rates of calls, segments and notifications.
    pub rates: [CountRate; 3],
    /// How far the cells deviate from the model.
    #[serde(default)]
    pub noise: Noise,
    /// Which terms were left out, and why; one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A predicted CPU time in ns, with its 95 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The predicted CPU time in ns.
    pub ns: f64,
    /// The lower end of the interval in ns.
    pub low: f64,
    /// The upper end of the interval in ns.
    pub high: f64,
    /// The standard deviation relative to the value.
    pub relative_error: f64,
    /// The degrees of freedom of the standard deviation.
    pub freedom: usize,
}

impl Model {
    /// Fits a model to `cells`, which must differ in their fields, sizes and footprints.
    ///
    /// It leaves out terms that explain too little (a squared t below 2, which is Akaike's criterion) and terms with a
    /// negative coefficient, because no part of a message saves CPU time.
    ///
    /// # Errors
    /// [`NoFit`] if there are too few cells, or if they cannot separate the bytes of a message from its calls.
    pub fn fit(cells: &[MeasuredCell]) -> Result<Self, NoFit> {
        // The weights depend on the noise of cells and set-ups, which a first fit with equal weights estimates.
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
                Err(NoFit::Collinear { column }) if is_optional(terms[column]) => {
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

    /// Predicts the CPU time of a message with these features.
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

    /// The coefficient of a term in ns, and half of its interval; `None` if the model does not have the term.
    pub fn coefficient(&self, term: Term) -> Option<(f64, f64)> {
        let at = self.terms.iter().position(|known| *known == term)?;
        Some((self.fit.coefficients[at], self.fit.reach(at, ALPHA)))
    }

    /// Whether the model was fitted with memory of this footprint.
    pub fn knows(&self, footprint: Footprint) -> bool {
        self.terms.contains(&Term::kib(footprint))
    }
}

/// The mean absolute miss of predictions, as a share; `None` without misses. The misses should come from held-out
/// cells.
pub fn mean_miss(misses: &[f64]) -> Option<f64> {
    (!misses.is_empty()).then(|| misses.iter().map(|miss| miss.abs()).sum::<f64>() / misses.len() as f64)
}

/// Whether a model may leave out a term. It needs the terms of bytes, because predictions depend on them.
fn is_optional(term: Term) -> bool {
    !matches!(term, Term::HotKib | Term::L2Kib | Term::LlcKib | Term::ColdKib)
}

/// The term to leave out: the optional term with the lowest t below [`AKAIKE`]; `None` if there is none.
fn weakest(fit: &Fit, terms: &[Term]) -> Option<usize> {
    let weak = |term: &usize| is_optional(terms[*term]) && fit.t(*term) < AKAIKE && terms.len() > 1;
    (0..terms.len()).filter(weak).min_by(|one, other| fit.t(*one).total_cmp(&fit.t(*other)))
}

/// The negative coefficient with the lowest t; `None` if there is none.
fn lowest(fit: &Fit) -> Option<usize> {
    let negative = |term: &usize| fit.coefficients[*term] < 0.0;
    (0..fit.coefficients.len()).filter(negative).min_by(|one, other| fit.t(*one).total_cmp(&fit.t(*other)))
}

/// The root of 2. A term with a smaller t makes predictions worse (H. Akaike, IEEE Transactions on Automatic Control 19
/// (1974), 716-723).
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

/// Fits how a count depends on a message; zero if no cell has that count.
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
