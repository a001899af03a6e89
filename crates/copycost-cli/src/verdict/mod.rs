//! The answer of a run in sentences that a person can paste into a design document: which path from which size, under
//! which conditions, and what was not shown.
//!
//! A pure function of records and comparisons, so that snapshots test it. It says nothing that the words of the
//! comparisons do not say: undecided cells are called so, and copies are called copies.

mod headline;
mod limits;
mod ranking;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::metric::Metric;
use crate::record::{CANNOT_TELL, Comparison, Crossover, DELAYS, Record, Results};
use copycost::units::{ByteSize, ClientCount, plural, significant};
pub use headline::{LONGEST, headline};
pub use limits::LAB;
pub use ranking::VAGUE;
use ranking::{SizeAnswer, ranges};

/// What was compared with each number of client hosts, as results of its own.
fn by_hosts(results: &Results) -> Vec<(usize, Results)> {
    let compared = results.comparisons.iter().map(|comparison| comparison.client_hosts);
    let crossed = results.crossovers.iter().map(|crossover| crossover.client_hosts);
    let hosts: BTreeSet<usize> = compared.chain(crossed).collect();
    let part = |hosts: usize| {
        let mut part = results.clone();
        part.records.retain(|record| record.client_hosts == hosts);
        part.failures.retain(|failure| failure.client_hosts == hosts);
        part.comparisons.retain(|comparison| comparison.client_hosts == hosts);
        part.crossovers.retain(|crossover| crossover.client_hosts == hosts);
        (hosts, part)
    };
    hosts.into_iter().map(part).collect()
}

/// The sentences; none where there is nothing to compare. Where several hosts received, those of each number of hosts.
pub fn of(results: &Results) -> Vec<String> {
    let sentences = |(hosts, part): (usize, Results)| {
        let named = move |sentence| match hosts {
            1 => sentence,
            _ => format!("{hosts} client hosts: {sentence}"),
        };
        of_hosts(&part).into_iter().map(named)
    };
    by_hosts(results).into_iter().flat_map(sentences).collect()
}

fn of_hosts(results: &Results) -> Vec<String> {
    if results.comparisons.is_empty() && results.crossovers.is_empty() {
        return Vec::new();
    }
    let mut told = Vec::new();
    let clients: BTreeSet<usize> = results.comparisons.iter().map(|comparison| comparison.clients).collect();
    for group in alike(results, clients) {
        told.extend(of_clients(results, &group));
    }
    told.extend(crossovers(&results.crossovers));
    told.extend(variants(&results.comparisons));
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

/// By what paths are ranked first: throughput, but the sender's CPU time where throughput is not the sender's. In the lab
/// it is that of the relay; and where the network was the limit in every cell, all paths move what it lets through.
pub fn lead<'a>(records: impl IntoIterator<Item = &'a Record>) -> Metric {
    let mut records = records.into_iter().peekable();
    let any = records.peek().is_some();
    let by_sender = |record: &Record| {
        let limited = || record.flags.iter().any(|flag| flag == CANNOT_TELL);
        record.lab.is_some() || (record.transport != LOOPBACK && limited())
    };
    if any && records.all(by_sender) { Metric::SenderDemand } else { Metric::Throughput }
}

/// What a record calls the way between two ends on one machine.
const LOOPBACK: &str = "loopback";

/// Which path for so many clients by `metric`, for each size of which there is an answer.
fn answers(results: &Results, clients: usize, metric: Metric) -> Vec<(usize, SizeAnswer)> {
    let of_metric: Vec<_> = of_paths(results)
        .filter(|comparison| comparison.clients == clients && comparison.metric == metric.to_string())
        .filter(|comparison| is_ranked(results, comparison))
        .collect();
    let sizes: BTreeSet<usize> = of_metric.iter().map(|comparison| comparison.size).collect();
    let answer = |size| {
        let of_size: Vec<_> = of_metric.iter().copied().filter(|c| c.size == size).collect();
        Some((size, SizeAnswer::of(&of_size, metric)?))
    };
    sizes.into_iter().filter_map(answer).collect()
}

/// Numbers of clients with the same answers at the same sizes, and these answers by the metric that leads and by CPU time.
struct ClientGroup {
    clients: Vec<usize>,
    answers: [Vec<(usize, SizeAnswer)>; 2],
}

/// The numbers of clients, those together for which the same is to be said.
fn alike(results: &Results, clients: BTreeSet<usize>) -> Vec<ClientGroup> {
    let metrics = [lead(&results.records), Metric::Demand];
    let same = |one: &[(usize, SizeAnswer)], other: &[(usize, SizeAnswer)]| {
        one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && one.1.alike(&other.1))
    };
    let mut groups: Vec<ClientGroup> = Vec::new();
    for clients in clients {
        let own = metrics.map(|metric| answers(results, clients, metric));
        let known =
            |group: &&mut ClientGroup| group.answers.iter().zip(&own).all(|(one, other)| same(one, other));
        match groups.iter_mut().find(known) {
            Some(group) => {
                group.clients.push(clients);
                let all = group.answers.iter_mut().zip(&own);
                all.flat_map(|(one, other)| one.iter_mut().zip(other))
                    .for_each(|(one, other)| one.1.join(&other.1));
            }
            None => groups.push(ClientGroup { clients: vec![clients], answers: own }),
        }
    }
    groups
}

/// Which path for so many clients, by the metric that leads and then by CPU time.
fn of_clients(results: &Results, group: &ClientGroup) -> Vec<String> {
    let with = match group.clients.as_slice() {
        [one] => ClientCount(*one).to_string(),
        several => {
            format!("{} clients", listed(&several.iter().map(ToString::to_string).collect::<Vec<_>>()))
        }
    };
    let sentences = |answers: &[(usize, SizeAnswer)], metric: Metric| -> Vec<String> {
        let sentence = |(sizes, range): (String, ranking::SizeRange<'_>)| {
            format!("With {with}, {sizes}, {}.", range.sentence(metric))
        };
        ranges(answers).map(sentence).collect()
    };
    let metric = lead(&results.records);
    let [first, demand] = &group.answers;
    let mut told = sentences(first, metric);
    let same = demand.len() == first.len()
        && demand.iter().zip(first).all(|((_, by_demand), (_, by_lead))| by_demand.alike(by_lead));
    if same && !demand.is_empty() {
        told.push(format!("With {with}, {} gives the same answer.", Metric::Demand.name()));
    } else {
        told.extend(sentences(demand, Metric::Demand));
    }
    told
}

/// From which size one path beats another: one sentence for all metrics and footprints that say the same. A report of
/// results without a verdict says it in the same words.
pub fn crossovers(crossovers: &[Crossover]) -> Vec<String> {
    type Under<'a> = Vec<(String, &'a str)>;
    let mut answers: Vec<(String, Under<'_>)> = Vec::new();
    for crossover in crossovers {
        let answer = format!("With {} {}", ClientCount(crossover.clients), crossing(crossover));
        let metric = crossover
            .metric
            .parse()
            .map_or_else(|_| crossover.metric.clone(), |m: Metric| m.name().to_owned());
        let under = (metric, crossover.footprint.as_str());
        match answers.iter_mut().find(|known| known.0 == answer) {
            Some(known) => known.1.push(under),
            None => answers.push((answer, vec![under])),
        }
    }
    let sentence = |(answer, under): (String, Under<'_>)| {
        let mut footprints: Vec<String> = Vec::new();
        for (_, footprint) in &under {
            if !footprints.iter().any(|known| known == footprint) {
                footprints.push((*footprint).to_owned());
            }
        }
        let of = |footprint: &String| {
            let metrics: Vec<_> = under.iter().filter(|u| u.1 == footprint).map(|u| u.0.clone()).collect();
            listed(&metrics)
        };
        let metrics: BTreeSet<String> = footprints.iter().map(of).collect();
        let under = if metrics.len() == 1 {
            let metrics = listed(&metrics.into_iter().collect::<Vec<_>>());
            format!("{metrics}, {} messages", listed(&footprints))
        } else {
            let each = footprints.iter().map(|footprint| format!("{}, {footprint} messages", of(footprint)));
            each.collect::<Vec<_>>().join("; ")
        };
        format!("{answer} (by {under}).")
    };
    answers.into_iter().map(sentence).collect()
}

fn crossing(crossover: &Crossover) -> String {
    let Crossover { path, against, low, high, most, .. } = crossover;
    let (low, most) = (low.map(ByteSize), ByteSize(*most));
    match (low, high.map(ByteSize)) {
        (Some(low), Some(high)) => {
            format!("{path} beats {against} from a size between {low} and {high} on")
        }
        (None, Some(high)) => {
            format!("{path} beats {against} from {high} on, the smallest size that was sure")
        }
        (Some(low), None) if low >= most => format!("{path} never beats {against} up to {most}"),
        (Some(low), None) => {
            format!("{path} does not beat {against} up to {low}; from there to {most} it is undecided")
        }
        (None, None) => format!("whether {path} beats {against} is undecided up to {most}"),
    }
}

/// Each path beside itself in another build, in an earlier run or with other offsets: a sentence a pair.
fn variants(comparisons: &[Comparison]) -> Vec<String> {
    let mut pairs: BTreeMap<(&str, &str), Vec<&Comparison>> = BTreeMap::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.reference.contains('@')) {
        pairs.entry((&comparison.reference, &comparison.path)).or_default().push(comparison);
    }
    let sentence = |((reference, path), of_path): ((&str, &str), Vec<&Comparison>)| {
        let other = reference.strip_prefix(path).and_then(|rest| rest.strip_prefix('@')).unwrap_or(reference);
        let by = |metric: Metric| {
            let of_metric = of_path.iter().copied().filter(|c| c.metric == metric.to_string());
            counted(&of_metric.collect::<Vec<_>>()).map(|words| format!("{} {words}", metric.name()))
        };
        let told: Vec<_> = Metric::ALL.iter().filter_map(|metric| by(*metric)).collect();
        format!("{path} against {other}: {}.", told.join("; "))
    };
    pairs.into_iter().map(sentence).collect()
}

/// `equivalent in 2 and undecided in 1 of 3 cells (ratio 0.98 to 1.01)`.
fn counted(comparisons: &[&Comparison]) -> Option<String> {
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    comparisons.iter().for_each(|comparison| *words.entry(&comparison.word).or_default() += 1);
    let words: Vec<_> = words.iter().map(|(word, count)| format!("{word} in {count}")).collect();
    let cells = comparisons.len();
    let ratios: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.ratio).collect();
    let least = ratios.iter().copied().reduce(f64::min);
    let ratios = least
        .zip(ratios.iter().copied().reduce(f64::max))
        .map_or_else(String::new, |(least, most)| format!(" (ratio {})", span(least, most)));
    (cells > 0).then(|| format!("{} of {}{ratios}", listed(&words), plural(cells, "cell")))
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
