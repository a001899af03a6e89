//! The verdict at the beginning of a report: that of the run, or weaker sentences from the figures if the run has none.

use super::cores;
use super::metric::RecordMetric;
use super::set::RecordSet;
use super::winner;
use crate::record::MessageSize;
use crate::verdict::crossovers;
use copycost::units::Rate;

/// The sentences for a set; never empty.
pub fn sentences(set: &RecordSet) -> Vec<String> {
    if !set.verdict.is_empty() {
        return cores::sentences(set).into_iter().chain(set.verdict.iter().cloned()).collect();
    }
    let mut sentences: Vec<String> =
        set.clients().into_iter().filter_map(|clients| ahead(set, clients)).collect();
    sentences.extend(crossovers(&set.crossovers));
    if sentences.is_empty() {
        return vec!["Nothing was measured.".to_owned()];
    }
    if set.comparisons.is_empty() {
        sentences.push(match set.conditions {
            None => "Not a verdict: Criterion measures one path after the other, and such figures differ by 20 % and \
                     more on a shared machine. `copycost run` interleaves them."
                .to_owned(),
            Some(_) => "Not a verdict: these results hold no comparison with intervals.".to_owned(),
        });
    }
    sentences
}

/// A sentence about the best path at each size, for one number of clients.
fn ahead(set: &RecordSet, clients: usize) -> Option<String> {
    let mut parts: Vec<(String, Vec<MessageSize>)> = Vec::new();
    let mut best: Option<(f64, MessageSize)> = None;
    for size in set.sizes() {
        let Some(winner) = winner::of_cell(set, size, clients) else { continue };
        let rate = set.row(winner.path, size, clients).and_then(|row| row.figure(RecordMetric::Throughput));
        let rate = rate.map_or(0.0, |figure| figure.value * 1e9);
        if best.is_none_or(|best| rate > best.0) {
            best = Some((rate, size));
        }
        match parts.iter_mut().find(|part| part.0 == winner.path) {
            Some(part) => part.1.push(size),
            None => parts.push((winner.path.to_owned(), vec![size])),
        }
    }
    let (rate, size) = best?;
    let alone = parts.len() == 1 && set.sizes().len() > 1;
    let sizes = |sizes: &[MessageSize]| match alone {
        true => "every size".to_owned(),
        false => sizes.iter().map(|size| size.to_string()).collect::<Vec<_>>().join(", "),
    };
    let parts: Vec<_> = parts.iter().map(|(path, at)| format!("{path} is ahead at {}", sizes(at))).collect();
    let noun = if clients == 1 { "client" } else { "clients" };
    Some(format!("{clients} {noun}: {}; the most is {} at {}.", parts.join(", "), Rate(rate), size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Conditions, Crossover, Results};
    use crate::report::set;
    use crate::verdict;

    #[test]
    fn a_crossover_reads_the_same_with_a_stored_verdict_and_without() {
        let crossover = |low, high| Crossover {
            path: "zerocopy".into(),
            against: "onecopy".into(),
            clients: 2,
            client_hosts: 1,
            metric: "throughput".into(),
            footprint: "cold".into(),
            low,
            high,
            most: 1 << 20,
        };
        let cases = [
            (Some(1 << 20), None, "zerocopy never beats onecopy up to 1 MiB"),
            (Some(65_536), None, "up to 64 KiB; from there to 1 MiB it is undecided"),
            (None, None, "whether zerocopy beats onecopy is undecided up to 1 MiB"),
            (Some(1024), Some(4096), "from a size between 1 KiB and 4 KiB on"),
            (None, Some(1024), "from 1 KiB on, the smallest size that was sure"),
        ];
        for (low, high, part) in cases {
            let mut results =
                Results { crossovers: vec![crossover(low, high)], ..Results::new(Conditions::default()) };
            let reported =
                |results: &Results| sentences(&set::of_results("r.json", results).remove(0))[0].clone();
            let without = reported(&results);
            results.verdict = verdict::of(&results);
            assert_eq!(without, reported(&results));
            assert!(without.contains(part), "{without}");
        }
    }
}
