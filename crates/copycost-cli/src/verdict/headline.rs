//! The headline: what to do, in one sentence of at most [`LONGEST`] characters.
//!
//! It names only paths that were measured and compared, and says so if no difference is shown. The verdict holds what
//! does not fit.

use crate::record::MessageSize;
use std::collections::BTreeSet;

use super::ranking::SizeAnswer;
use super::{answers, by_hosts, is_ranked, leading_metric, limits, listed, of_paths};
use crate::compare::metric::Metric;
use crate::record::{BASELINE, Comparison, OLD, Results};
use crate::stats::Judgement;
use copycost::units::{ClientCount, significant};

/// The most characters of the sentence, which fit on one line of a usual terminal.
pub const LONGEST: usize = 100;

/// The headline of a run; `None` if there was nothing to compare. With several numbers of client hosts, it gives their
/// common answer, or says that it depends.
pub fn headline(results: &Results) -> Option<String> {
    let mut sentences: Vec<_> = by_hosts(results).iter().filter_map(|(_, part)| of_hosts(part)).collect();
    sentences.dedup();
    match sentences.len() {
        0 | 1 => sentences.pop(),
        _ => Some("It depends on the number of client hosts, see below.".to_owned()),
    }
}

fn of_hosts(results: &Results) -> Option<String> {
    if of_paths(results).next().is_some() {
        return Some(paths(results));
    }
    let (builds, offsets): (Vec<_>, Vec<_>) =
        results.comparisons.iter().partition(|comparison| comparison.is_of_builds());
    match (builds.as_slice(), offsets.as_slice()) {
        ([first, ..], _) => Some(sides(&builds, build(&first.reference))),
        ([], [first, ..]) => Some(sides(&offsets, &first.reference)),
        ([], []) => {
            super::crossovers(&results.crossovers).into_iter().next().map(|sentence| shortened(&sentence))
        }
    }
}

/// The path to use, and where that holds.
fn paths(results: &Results) -> String {
    let metric = leading_metric(&results.records);
    let clients: BTreeSet<usize> = of_paths(results).map(|comparison| comparison.clients).collect();
    let by = |metric: Metric| -> Vec<(usize, String)> {
        let of = |clients: &usize| Some((*clients, recommended(&answers(results, *clients, metric))?));
        clients.iter().filter_map(of).collect()
    };
    let recommendations = by(metric);
    let place = place(results);
    let Some((first, rest)) = recommendations.split_first() else { return no_answer(results) };
    let main = if rest.iter().all(|other| other.1 == first.1) {
        first.1.clone()
    } else {
        let each =
            recommendations.iter().map(|(clients, path)| format!("with {} {path}", ClientCount(*clients)));
        each.collect::<Vec<_>>().join("; ")
    };
    let opening = match (clients.len(), first.0) {
        (1, clients) if clients > 1 => format!("{place} with {}", ClientCount(clients)),
        _ => place.to_owned(),
    };
    let only_size = of_paths(results).map(|comparison| comparison.size).collect::<BTreeSet<_>>();
    let opening = match only_size.iter().next() {
        Some(size) if only_size.len() == 1 => format!("{opening}, {size}"),
        _ => opening,
    };
    let mut sentence = format!("{opening}: {main}");
    if sentence.chars().count() >= LONGEST {
        let on = match (only_size.len(), recommendations.len()) {
            (_, 1) => "the size",
            (1, _) => "the number of clients",
            _ => "size and number of clients",
        };
        let forms =
            [opening.as_str(), place].map(|opening| format!("{opening}: it depends on {on}, see below."));
        let short = forms.into_iter().find(|form| form.chars().count() <= LONGEST);
        return short.unwrap_or_else(|| format!("It depends on {on}, see below."));
    }
    // Adds the longest form of each note that fits.
    let by_cpu = other_by_cpu(metric, &recommendations, &by(Metric::Demand));
    for forms in [cores(results), by_cpu.into_iter().collect(), cannot_win(results, &main)] {
        let fits = |note: &&String| sentence.chars().count() + note.chars().count() < LONGEST;
        if let Some(note) = forms.iter().find(fits) {
            sentence += note;
        }
    }
    sentence + "."
}

/// Where the run was measured, and by which metric.
fn place(results: &Results) -> &'static str {
    match results.records.first().map(|record| record.transport.as_str()) {
        Some("lab") => "In the lab, by the sender's CPU time",
        Some("mpi") => "Over many hosts",
        Some("remote") if leading_metric(&results.records) == Metric::SenderDemand => {
            "Between two hosts, by the sender's CPU time"
        }
        Some("remote") => "Between two hosts",
        _ => "Over loopback",
    }
}

/// `flatten to 4 KiB, onecopy from 16 KiB`; `None` without answers.
fn recommended(answers: &[(MessageSize, SizeAnswer)]) -> Option<String> {
    let mut parts: Vec<(MessageSize, MessageSize, String)> = Vec::new();
    for (size, answer) in answers {
        let label = label(answer);
        match parts.last_mut() {
            Some(part) if part.2 == label => part.1 = *size,
            _ => parts.push((*size, *size, label)),
        }
    }
    let count = parts.len();
    if count == 1 {
        let (_, _, label) = parts.pop()?;
        return Some(if label.starts_with(NO_DIFFERENCE) { label } else { format!("use {label}") });
    }
    let part = |(number, (first, last, label)): (usize, &(MessageSize, MessageSize, String))| {
        let (from, to) = (first, last);
        match number {
            0 => format!("{label} to {to}"),
            number if number + 1 == count => format!("{label} from {from}"),
            _ if first == last => format!("{label} at {from}"),
            _ => format!("{label} from {from} to {to}"),
        }
    };
    let parts: Vec<_> = parts.iter().enumerate().map(part).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

const NO_DIFFERENCE: &str = "no difference";

fn label(answer: &SizeAnswer) -> String {
    if answer.is_vague() {
        return format!("{NO_DIFFERENCE} shown (too few set-ups)");
    }
    let leaders = answer.leaders();
    match leaders.as_slice() {
        [best] => best.clone(),
        all if all.len() < answer.compared() => all.join(" or "),
        _ if answer.is_tie() => NO_DIFFERENCE.to_owned(),
        _ => format!("{NO_DIFFERENCE} shown"),
    }
}

/// Says why there is no answer: the reference failed, the others failed, or there are too few set-ups.
fn no_answer(results: &Results) -> String {
    let mut references: Vec<String> =
        of_paths(results).map(|comparison| comparison.reference.clone()).collect();
    references.dedup();
    let failed = |name: &str| results.failures.iter().any(|failure| failure.path == name);
    match references.as_slice() {
        [reference] if failed(reference) => {
            format!("No answer: {reference}, with which the others are compared, could not be measured.")
        }
        _ if !results.failures.is_empty() => "No answer: nothing was left to compare.".to_owned(),
        _ => "No answer: too few set-ups to compare (--seconds and --budget give more).".to_owned(),
    }
}

/// Says that CPU time of both ends recommends another path.
fn other_by_cpu(metric: Metric, by_metric: &[(usize, String)], by_cpu: &[(usize, String)]) -> Option<String> {
    if metric != Metric::Throughput || by_metric == by_cpu {
        return None;
    }
    match by_cpu {
        [] => None,
        [(_, other)] if by_metric.len() == 1 => Some(format!("; by CPU time {other}")),
        _ => None,
    }
}

/// Says that loopback copies zero-copy sends, unless such a path is recommended; in two lengths.
fn cannot_win(results: &Results, main: &str) -> Vec<String> {
    let on_loopback = results.records.iter().all(|record| record.transport == super::LOOPBACK);
    let copied = limits::copied_paths(&results.records);
    let named = copied.iter().any(|path| main.contains(path.as_str()));
    if !on_loopback || copied.is_empty() || named {
        return Vec::new();
    }
    ["; zero copy cannot win here (try --over lab)", "; zero copy: try --over lab"].map(str::to_owned).into()
}

/// The cores of the sender at the requested load, for the reference and the path that needs least; in three lengths.
fn cores(results: &Results) -> Vec<String> {
    cores_at(results).unwrap_or_default()
}

fn cores_at(results: &Results) -> Option<Vec<String>> {
    let load = results.load()?;
    let sizes: BTreeSet<MessageSize> = results.records.iter().map(|record| record.size).collect();
    let clients: BTreeSet<usize> = results.records.iter().map(|record| record.clients).collect();
    if sizes.len() > 1 || clients.len() > 1 {
        return None;
    }
    let reference = &of_paths(results).next()?.reference;
    let of = |path: &str| {
        let record = results.records.iter().find(|record| record.path == path)?;
        Some(load.cores(record.cpu.sender_ns_per_kib?, record.size.bytes))
    };
    let reference_cores = of(reference)?;
    let others = of_paths(results).filter(|comparison| comparison.path != *reference);
    let least = others
        .filter(|comparison| is_ranked(results, comparison))
        .filter_map(|comparison| Some((of(&comparison.path)?, &comparison.path)))
        .min_by(|one, other| one.0.total_cmp(&other.0))?;
    let (cores, other) = (significant(reference_cores), significant(least.0));
    Some(vec![
        format!(" ({cores} cores at {load} with {reference}, {other} with {})", least.1),
        format!(" ({cores} cores at {load}; {} {other})", least.1),
        format!(" ({cores} cores at {load})"),
    ])
}

/// `the other build`, `the earlier run`.
fn build(reference: &str) -> &str {
    match reference.rsplit_once('@').map(|(_, build)| build) {
        Some(OLD) => "the other build",
        Some(BASELINE) => "the earlier run",
        _ => reference,
    }
}

/// One sentence about the differences from `side`: another build, an earlier run, or another offset.
fn sides(comparisons: &[&Comparison], side: &str) -> String {
    let of_throughput: Vec<_> =
        comparisons.iter().filter(|comparison| comparison.metric.is(Metric::Throughput)).collect();
    let part = |judgement: Judgement, begins: &str| {
        let found: Vec<_> = of_throughput.iter().filter(|comparison| comparison.word.is(judgement)).collect();
        let named = |comparison: &&&&Comparison| format!("{} {}", comparison.path, comparison.size.at());
        let names: Vec<_> = found.iter().map(named).collect();
        let all = format!("{begins} than {side}: {}", listed(&names));
        match found.len() {
            0 => None,
            // Names the cells if they fit, and counts them otherwise.
            _ if all.chars().count() < LONGEST => Some(all),
            count => Some(format!("{begins} than {side} in {count} of {} cells", of_throughput.len())),
        }
    };
    let parts: Vec<_> = [part(Judgement::Slower, "Slower"), part(Judgement::Faster, "Faster")]
        .into_iter()
        .flatten()
        .collect();
    let text = parts.join("; ") + ".";
    match parts.len() {
        0 if of_throughput.iter().all(|comparison| comparison.ratio.is_none()) => {
            format!("No answer: there is no interval for a comparison with {side}.")
        }
        0 if of_throughput.iter().all(|comparison| comparison.word.is(Judgement::Equivalent)) => {
            format!("No difference to {side}: within 2 % in every cell.")
        }
        0 => format!("No difference to {side} shown."),
        _ if text.chars().count() <= LONGEST => text,
        _ => shortened(&format!("Slower than {side} in some cells and faster in others, see below.")),
    }
}

/// The first whole words of `sentence` that fit into [`LONGEST`].
fn shortened(sentence: &str) -> String {
    if sentence.chars().count() <= LONGEST {
        return sentence.to_owned();
    }
    let mut out = String::new();
    for word in sentence.split(' ') {
        if out.chars().count() + 1 + word.chars().count() + 1 > LONGEST {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out += word;
    }
    out + "…"
}
