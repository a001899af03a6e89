//! The best path of a cell, and the range of sizes with the same answer.

use std::collections::BTreeMap;
use std::slice;

use super::{listed, span};
use crate::compare::metric::Metric;
use crate::record::{Comparison, MessageSize};
use crate::stats::{Better, Judgement};

/// The answer of one cell by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeAnswer {
    reference: String,
    /// The best path: no other is certainly better.
    best: String,
    /// Paths that are equal to the best, within two per cent.
    equal: Vec<String>,
    /// Paths that the measurement cannot distinguish from the best.
    unknown: Vec<String>,
    /// Whether some interval is too wide to be useful: see [`VAGUE`].
    vague: bool,
    /// For each path other than the reference, its smallest and its largest ratio.
    ratios: BTreeMap<String, (f64, f64)>,
}

impl SizeAnswer {
    /// The answer from the comparisons of one cell with one reference; `None` if none has a ratio. Comparisons without
    /// a ratio, of a path that failed or a missing figure, are ignored.
    pub fn of(comparisons: &[&Comparison], metric: Metric) -> Option<Self> {
        let measured: Vec<_> = comparisons.iter().copied().filter(|c| c.ratio.is_some()).collect();
        let comparisons = &measured[..];
        let reference = comparisons.first()?.reference.clone();
        let judged = |judgement: Judgement| -> Vec<&Comparison> {
            comparisons.iter().copied().filter(|comparison| comparison.word.is(judgement)).collect()
        };
        let vague = comparisons.iter().any(|comparison| is_vague(comparison));
        let names = |of: &[&Comparison]| of.iter().map(|c| c.path.clone()).collect::<Vec<_>>();
        let ratios = comparisons
            .iter()
            .filter_map(|comparison| Some((comparison.path.clone(), (comparison.ratio?, comparison.ratio?))))
            .collect();
        let faster = judged(Judgement::Faster);
        let higher = metric.better() == Better::Higher;
        let goodness =
            |c: &Comparison| c.ratio.map_or(f64::NEG_INFINITY, |ratio| if higher { ratio } else { -ratio });
        let best = faster.iter().copied().max_by(|a, b| goodness(a).total_cmp(&goodness(b)));
        let Some(best) = best else {
            let (equal, unknown) =
                (names(&judged(Judgement::Equivalent)), names(&judged(Judgement::Undecided)));
            return Some(Self { best: reference.clone(), reference, equal, unknown, vague, ratios });
        };
        // Paths were compared with the reference only. If their intervals overlap, their order is unknown.
        let rival = |c: &&Comparison| c.path != best.path && overlap(c, best);
        let rivals: Vec<_> =
            faster.iter().chain(&judged(Judgement::Undecided)).copied().filter(rival).collect();
        let unknown = names(&rivals);
        Some(Self { best: best.path.clone(), reference, equal: Vec::new(), unknown, vague, ratios })
    }

    /// The best path, then those that are equal to it or cannot be distinguished from it.
    pub fn leaders(&self) -> Vec<String> {
        let rivals = self.equal.iter().chain(&self.unknown);
        std::iter::once(&self.best).chain(rivals).cloned().collect()
    }

    /// Whether some paths are equal to the best, and none is undecided.
    pub fn is_tie(&self) -> bool {
        self.unknown.is_empty() && !self.equal.is_empty()
    }

    /// Whether there were too few set-ups for an answer.
    pub fn is_vague(&self) -> bool {
        self.vague
    }

    /// The number of paths with a ratio, including the reference.
    pub fn compared(&self) -> usize {
        self.ratios.len() + 1
    }

    /// Adds the ratios of another cell with the same answer.
    pub fn join(&mut self, other: &Self) {
        for (path, (low, high)) in &other.ratios {
            let (least, most) = self.ratios.entry(path.clone()).or_insert((*low, *high));
            (*least, *most) = (least.min(*low), most.max(*high));
        }
    }

    /// Whether both answers are the same, whatever the ratios.
    pub fn alike(&self, other: &Self) -> bool {
        self.vague && other.vague
            || self.best == other.best
                && self.vague == other.vague
                && self.equal == other.equal
                && self.unknown == other.unknown
    }
}

/// An interval is vague if its upper end is more than so many times its lower end. It then only shows that there were
/// too few set-ups.
pub const VAGUE: f64 = 100.0;

fn is_vague(comparison: &Comparison) -> bool {
    comparison.low.zip(comparison.high).is_some_and(|(low, high)| high / low > VAGUE)
}

fn overlap(a: &Comparison, b: &Comparison) -> bool {
    match (a.low, a.high, b.low, b.high) {
        (Some(a_low), Some(a_high), Some(b_low), Some(b_high)) => a_low <= b_high && b_low <= a_high,
        _ => true,
    }
}

/// Neighbouring sizes with the same answer.
#[derive(Debug, Clone, Copy)]
pub struct SizeRange<'a>(&'a [(MessageSize, SizeAnswer)]);

/// The ranges of `answers`, which are ordered by size, each with a text for its sizes.
pub fn ranges(answers: &[(MessageSize, SizeAnswer)]) -> impl Iterator<Item = (String, SizeRange<'_>)> {
    answers.chunk_by(|(_, one), (_, next)| one.alike(next)).map(|range| {
        let size = |answer: Option<&(MessageSize, SizeAnswer)>| {
            answer.map_or_else(MessageSize::default, |(size, _)| *size)
        };
        let (first, last) = (size(range.first()), size(range.last()));
        let sizes = if range.len() == 1 { first.at() } else { format!("from {first} to {last}") };
        (sizes, SizeRange(range))
    })
}

impl SizeRange<'_> {
    /// The recommendation, without the sizes and the full stop.
    pub fn sentence(&self, metric: Metric) -> String {
        let Some((_, answer)) = self.0.first() else { return String::new() };
        let does = match metric {
            Metric::Throughput => "has the highest throughput",
            Metric::Demand => "needs the least CPU time of both ends for each byte",
            Metric::SenderDemand => "needs the least CPU time of the sender for each byte",
        };
        let by = metric.name();
        let ratios = self.ratios(answer);
        if answer.vague {
            return format!("there were too few set-ups to tell paths apart by {by}");
        }
        let together = |others: &[String]| listed(&[slice::from_ref(&answer.best), others].concat());
        if !answer.unknown.is_empty() {
            return format!("no difference in {by} is shown between {}{ratios}", together(&answer.unknown));
        }
        if !answer.equal.is_empty() {
            return format!("{} are equal in {by}, within 2 %{ratios}", together(&answer.equal));
        }
        format!("use {}: it {does}{ratios}", answer.best)
    }

    /// The ratios of the other paths over the sizes of the range, as text in parentheses.
    fn ratios(&self, answer: &SizeAnswer) -> String {
        let mut spans: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (path, (least, most)) in self.0.iter().flat_map(|(_, answer)| &answer.ratios) {
            let (low, high) = spans.entry(path).or_insert((*least, *most));
            (*low, *high) = (low.min(*least), high.max(*most));
        }
        let texts: Vec<_> =
            spans.into_iter().map(|(path, (low, high))| format!("{path} {}", span(low, high))).collect();
        if texts.is_empty() {
            String::new()
        } else {
            format!(" ({} of {})", texts.join(", "), answer.reference)
        }
    }
}
