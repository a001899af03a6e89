//! The answer of a run in sentences that a person can paste into a design document: which path from which size, under
//! which conditions, and what was not shown.
//!
//! A pure function of records and comparisons, so that snapshots test it. It says nothing that the words of the
//! comparisons do not say: undecided cells are called so, and copies are called copies.

mod limits;
mod ranking;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::metric::Metric;
use crate::record::{Comparison, Crossover, DELAYS, Record, Results};
use crate::units::{ByteSize, significant};
use ranking::{Answer, ranges};

/// The sentences; none where there is nothing to compare.
pub fn of(results: &Results) -> Vec<String> {
    if results.comparisons.is_empty() && results.crossovers.is_empty() {
        return Vec::new();
    }
    let mut told = Vec::new();
    let clients: BTreeSet<usize> = results.comparisons.iter().map(|comparison| comparison.clients).collect();
    for clients in clients {
        told.extend(of_clients(results, clients));
    }
    told.extend(crossovers(&results.crossovers));
    told.extend(builds(&results.comparisons));
    told.extend(limits::not_shown(results));
    told.extend(limits::conditions(results));
    told
}

/// Comparisons of paths with a reference path of the same run, not of builds.
fn of_paths(results: &Results) -> impl Iterator<Item = &Comparison> {
    results.comparisons.iter().filter(|comparison| !comparison.reference.contains('@'))
}

/// Whether the path of a comparison may be recommended beside others: one that holds messages back is another trade.
fn is_ranked(results: &Results, comparison: &Comparison) -> bool {
    let delays =
        |record: &Record| record.path == comparison.path && record.flags.iter().any(|flag| flag == DELAYS);
    !results.records.iter().any(delays)
}

/// Which path for so many clients, by throughput and by CPU time.
fn of_clients(results: &Results, clients: usize) -> Vec<String> {
    let answers = |metric: Metric| -> Vec<(usize, Answer)> {
        let of_metric: Vec<_> = of_paths(results)
            .filter(|comparison| comparison.clients == clients && comparison.metric == metric.to_string())
            .filter(|comparison| is_ranked(results, comparison))
            .collect();
        let sizes: BTreeSet<usize> = of_metric.iter().map(|comparison| comparison.size).collect();
        let answer = |size| {
            let of_size: Vec<_> = of_metric.iter().copied().filter(|c| c.size == size).collect();
            Some((size, Answer::of(&of_size, metric)?))
        };
        sizes.into_iter().filter_map(answer).collect()
    };
    let with = with_clients(clients);
    let throughput = answers(Metric::Throughput);
    let mut told: Vec<String> = ranges(&throughput)
        .map(|(sizes, range)| format!("With {with}, {}, {}.", sizes, range.sentence(Metric::Throughput)))
        .collect();
    let demand = answers(Metric::Demand);
    let same = demand.len() == throughput.len()
        && demand.iter().zip(&throughput).all(|((_, by_demand), (_, by_rate))| by_demand.alike(by_rate));
    if same && !demand.is_empty() {
        told.push(format!("With {with}, CPU time of both ends for each byte gives the same answer."));
    } else {
        let sentence = |(sizes, range): (String, ranking::Range<'_>)| {
            format!("With {with}, {}, {}.", sizes, range.sentence(Metric::Demand))
        };
        told.extend(ranges(&demand).map(sentence));
    }
    told
}

fn with_clients(clients: usize) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

/// From which size one path beats another.
fn crossovers(crossovers: &[Crossover]) -> impl Iterator<Item = String> + '_ {
    crossovers.iter().map(|crossover| {
        let Crossover { path, against, clients, metric, footprint, low, high, most } = crossover;
        let (low, most) = (low.map(ByteSize), ByteSize(*most));
        let what = match (low, high.map(ByteSize)) {
            (Some(low), Some(high)) => {
                format!("{path} beats {against} from a size between {low} and {high} on")
            }
            (None, Some(high)) => {
                format!("{path} beats {against} from {high} on, the smallest size that was sure")
            }
            (Some(low), None) if low >= most => format!("{path} never beats {against} up to {most}"),
            (Some(low), None) => {
                format!(
                    "{path} does not beat {against} up to {low}; from there to {most} it could not be told"
                )
            }
            (None, None) => format!("whether {path} beats {against} could not be told up to {most}"),
        };
        let with = with_clients(*clients);
        format!("By {metric}, with {with} and {footprint} messages, {what}.")
    })
}

/// Each path beside itself in another build, or in an earlier run.
fn builds(comparisons: &[Comparison]) -> Vec<String> {
    let mut counts: BTreeMap<(String, String), BTreeMap<String, usize>> = BTreeMap::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.reference.contains('@')) {
        let key = (comparison.reference.clone(), comparison.metric.clone());
        *counts.entry(key).or_default().entry(comparison.word.clone()).or_default() += 1;
    }
    let sentence = |((reference, metric), words): ((String, String), BTreeMap<String, usize>)| {
        let (path, other) = reference.split_once('@').unwrap_or((&reference, ""));
        let cells: usize = words.values().sum();
        let words: Vec<_> = words.iter().map(|(word, count)| format!("{word} in {count}")).collect();
        let s = if cells == 1 { "" } else { "s" };
        format!("By {metric}, {path} against {other}: {} of {cells} cell{s}.", words.join(", "))
    };
    counts.into_iter().map(sentence).collect()
}

/// `0.61`, or `0.55 to 0.70`.
fn span(low: f64, high: f64) -> String {
    let (low, high) = (significant(low), significant(high));
    if low == high { low } else { format!("{low} to {high}") }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
