//! The verdict of a run, in sentences for a design document: which path from which size, under which conditions, and
//! what the run did not show.
//!
//! - here: the sentences of comparisons; [`headline()`]: the answer in one sentence
//! - [`baseline`]: compares with an earlier run
//! - `loaded`: loads that did not wait
//! - [`explained`]: where the time of paths goes
//!
//! It is a pure function of records and comparisons, so that snapshots test it. It claims no more than the comparisons:
//! undecided cells are called undecided, and copies are called copies.

pub mod baseline;
pub mod explained;
mod headline;
mod limits;
mod loaded;
mod ranking;
#[cfg(test)]
mod tests;

use crate::record::MessageSize;
use std::collections::{BTreeMap, BTreeSet};

use crate::compare::metric::Metric;
use crate::record::{CANNOT_TELL, Comparison, Crossover, DELAYS, Record, Results};
use copycost::units::{ByteSize, ClientCount, plural, significant};
pub use headline::{LONGEST, headline};
pub use limits::LAB;
pub use ranking::VAGUE;
use ranking::{SizeAnswer, ranges};

/// Splits `results` by the number of client hosts.
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

/// Sets the headline and the verdict of `results` from its records and comparisons.
pub fn conclude(results: &mut Results) {
    results.verdict = of(results);
    results.verdict.extend(loaded::sentences(results));
    results.answer = headline(results).or_else(|| loaded::headline(results));
}

/// The sentences of the verdict; empty if there is nothing to compare. With several client hosts, each sentence begins
/// with their number.
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
    let mut verdict = Vec::new();
    let clients: BTreeSet<usize> = results.comparisons.iter().map(|comparison| comparison.clients).collect();
    for group in group_clients(results, clients) {
        verdict.extend(of_clients(results, &group));
    }
    verdict.extend(crossovers(&results.crossovers));
    verdict.extend(variants(&results.comparisons));
    verdict.extend(limits::not_shown(results));
    verdict.extend(limits::conditions(results));
    verdict
}

/// The comparisons with a reference path of the same run, without those of builds, earlier runs and offsets.
fn of_paths(results: &Results) -> impl Iterator<Item = &Comparison> {
    results.comparisons.iter().filter(|comparison| !comparison.reference.contains('@'))
}

/// Whether the path of a comparison may be recommended. A path that holds messages back gains throughput at the cost of
/// latency, and is not ranked.
fn is_ranked(results: &Results, comparison: &Comparison) -> bool {
    let delays =
        |record: &Record| record.path == comparison.path && record.flags.iter().any(|flag| flag == DELAYS);
    !results.records.iter().any(delays)
}

/// The metric that ranks paths first: throughput, or the sender's CPU time if the sender does not decide the
/// throughput. In the lab the relay decides it; elsewhere the network does, if it was the limit in every cell.
pub fn leading_metric<'a>(records: impl IntoIterator<Item = &'a Record>) -> Metric {
    let mut records = records.into_iter().peekable();
    let any = records.peek().is_some();
    let by_sender = |record: &Record| {
        let limited = || record.flags.iter().any(|flag| flag == CANNOT_TELL);
        record.lab.is_some() || (record.transport != LOOPBACK && limited())
    };
    if any && records.all(by_sender) { Metric::SenderDemand } else { Metric::Throughput }
}

/// The transport of records between two ends on one machine.
const LOOPBACK: &str = "loopback";

/// The answer by `metric` with `clients` clients, for each size that has one.
fn answers(results: &Results, clients: usize, metric: Metric) -> Vec<(MessageSize, SizeAnswer)> {
    let of_metric: Vec<_> = of_paths(results)
        .filter(|comparison| comparison.clients == clients && comparison.metric.is(metric))
        .filter(|comparison| is_ranked(results, comparison))
        .collect();
    let sizes: BTreeSet<MessageSize> = of_metric.iter().map(|comparison| comparison.size).collect();
    let answer = |size| {
        let of_size: Vec<_> = of_metric.iter().copied().filter(|c| c.size == size).collect();
        Some((size, SizeAnswer::of(&of_size, metric)?))
    };
    sizes.into_iter().filter_map(answer).collect()
}

/// Numbers of clients that have the same answers at the same sizes. The answers are by the leading metric, then by CPU
/// time.
struct ClientGroup {
    clients: Vec<usize>,
    answers: [Vec<(MessageSize, SizeAnswer)>; 2],
}

/// Groups the numbers of clients that have the same answers.
fn group_clients(results: &Results, clients: BTreeSet<usize>) -> Vec<ClientGroup> {
    let metrics = [leading_metric(&results.records), Metric::Demand];
    let same = |one: &[(MessageSize, SizeAnswer)], other: &[(MessageSize, SizeAnswer)]| {
        one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && one.1.alike(&other.1))
    };
    let mut groups: Vec<ClientGroup> = Vec::new();
    for clients in clients {
        let found = metrics.map(|metric| answers(results, clients, metric));
        let known =
            |group: &&mut ClientGroup| group.answers.iter().zip(&found).all(|(one, other)| same(one, other));
        match groups.iter_mut().find(known) {
            Some(group) => {
                group.clients.push(clients);
                let all = group.answers.iter_mut().zip(&found);
                all.flat_map(|(one, other)| one.iter_mut().zip(other))
                    .for_each(|(one, other)| one.1.join(&other.1));
            }
            None => groups.push(ClientGroup { clients: vec![clients], answers: found }),
        }
    }
    groups
}

/// The sentences of a group: by the leading metric, then by CPU time.
fn of_clients(results: &Results, group: &ClientGroup) -> Vec<String> {
    let with = match group.clients.as_slice() {
        [one] => ClientCount(*one).to_string(),
        several => {
            format!("{} clients", listed(&several.iter().map(ToString::to_string).collect::<Vec<_>>()))
        }
    };
    let sentences = |answers: &[(MessageSize, SizeAnswer)], metric: Metric| -> Vec<String> {
        let sentence = |(sizes, range): (String, ranking::SizeRange<'_>)| {
            format!("With {with}, {sizes}, {}.", range.sentence(metric))
        };
        ranges(answers).map(sentence).collect()
    };
    let metric = leading_metric(&results.records);
    let [first, demand] = &group.answers;
    let mut group_sentences = sentences(first, metric);
    let same = demand.len() == first.len()
        && demand.iter().zip(first).all(|((_, by_demand), (_, by_lead))| by_demand.alike(by_lead));
    if same && !demand.is_empty() {
        group_sentences.push(format!("With {with}, {} gives the same answer.", Metric::Demand.name()));
    } else {
        group_sentences.extend(sentences(demand, Metric::Demand));
    }
    group_sentences
}

/// From which size one path beats another. Metrics and footprints with the same answer share a sentence. Reports of
/// results without a verdict use these sentences too.
pub fn crossovers(crossovers: &[Crossover]) -> Vec<String> {
    let mut answers: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for crossover in crossovers {
        let answer = format!("With {} {}", ClientCount(crossover.clients), crossover_phrase(crossover));
        let metric = crossover.metric.known().map(|metric| metric.name().to_owned());
        let under = (metric.unwrap_or_else(|| crossover.metric.to_string()), crossover.footprint.to_string());
        match answers.iter_mut().find(|known| known.0 == answer) {
            Some(known) => known.1.push(under),
            None => answers.push((answer, vec![under])),
        }
    }
    let sentence = |(answer, under): (String, Vec<(String, String)>)| {
        let mut footprints: Vec<String> = Vec::new();
        for (_, footprint) in &under {
            if !footprints.iter().any(|known| known == footprint) {
                footprints.push(footprint.clone());
            }
        }
        let of = |footprint: &String| {
            let metrics: Vec<_> = under.iter().filter(|u| u.1 == *footprint).map(|u| u.0.clone()).collect();
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

fn crossover_phrase(crossover: &Crossover) -> String {
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

/// One sentence for each path compared with another build, an earlier run or other offsets of itself.
fn variants(comparisons: &[Comparison]) -> Vec<String> {
    let mut pairs: BTreeMap<(&str, &str), Vec<&Comparison>> = BTreeMap::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.reference.contains('@')) {
        pairs.entry((&comparison.reference, &comparison.path)).or_default().push(comparison);
    }
    let sentence = |((reference, path), of_path): ((&str, &str), Vec<&Comparison>)| {
        let other = reference.strip_prefix(path).and_then(|rest| rest.strip_prefix('@')).unwrap_or(reference);
        let by = |metric: Metric| {
            let of_metric = of_path.iter().copied().filter(|c| c.metric.is(metric));
            counted(&of_metric.collect::<Vec<_>>()).map(|counts| format!("{} {counts}", metric.name()))
        };
        let by_metric: Vec<_> = Metric::ALL.iter().filter_map(|metric| by(*metric)).collect();
        format!("{path} against {other}: {}.", by_metric.join("; "))
    };
    pairs.into_iter().map(sentence).collect()
}

/// `equivalent in 2 and undecided in 1 of 3 cells (ratio 0.98 to 1.01)`.
fn counted(comparisons: &[&Comparison]) -> Option<String> {
    let mut judgements: BTreeMap<String, usize> = BTreeMap::new();
    comparisons
        .iter()
        .for_each(|comparison| *judgements.entry(comparison.word.to_string()).or_default() += 1);
    let counts: Vec<_> =
        judgements.iter().map(|(judgement, count)| format!("{judgement} in {count}")).collect();
    let cells = comparisons.len();
    let ratios: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.ratio).collect();
    let least = ratios.iter().copied().reduce(f64::min);
    let ratios = least
        .zip(ratios.iter().copied().reduce(f64::max))
        .map_or_else(String::new, |(least, most)| format!(" (ratio {})", span(least, most)));
    (cells > 0).then(|| format!("{} of {}{ratios}", listed(&counts), plural(cells, "cell")))
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
