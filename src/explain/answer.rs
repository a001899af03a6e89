//! The answer in a sentence: what a path spends its time on, or what it spends more on than another.

use std::collections::BTreeMap;

use crate::record::{ClassDifference, ExplainedPath, Explanation};
use crate::units::significant;

/// So many classes are named.
const NAMED: usize = 4;

/// A sentence for each path beside the first, or for the only one.
pub fn sentences(explanation: &Explanation) -> Vec<String> {
    match explanation.paths.split_first() {
        Some((first, [])) => vec![alone(first)],
        Some((first, others)) => others.iter().map(|other| beside(explanation, other, first)).collect(),
        None => Vec::new(),
    }
}

fn both(path: &ExplainedPath) -> f64 {
    path.ends.iter().map(|end| end.demand.value).sum()
}

fn alone(path: &ExplainedPath) -> String {
    let mut classes: BTreeMap<&str, f64> = BTreeMap::new();
    for record in path.ends.iter().flat_map(|end| &end.classes) {
        *classes.entry(&record.class).or_default() += record.ns_per_kib.value;
    }
    let parts = most(classes.into_iter(), significant);
    let parts = if parts.is_empty() { String::new() } else { format!(", most of it: {parts}") };
    format!("{} spends {} ns/KiB at both ends{parts}.", path.path, significant(both(path)))
}

fn beside(explanation: &Explanation, other: &ExplainedPath, first: &ExplainedPath) -> String {
    let more = both(other) - both(first);
    let word = if more < 0.0 { "less" } else { "more" };
    let mut classes: BTreeMap<&str, f64> = BTreeMap::new();
    let of_other = |d: &&ClassDifference| d.path == other.path && d.decided;
    for difference in explanation.differences.iter().filter(of_other) {
        *classes.entry(&difference.class).or_default() += difference.ns_per_kib.value;
    }
    let parts = most(classes.into_iter(), |value| {
        format!("{}{}", if value < 0.0 { "-" } else { "+" }, significant(value.abs()))
    });
    let parts = match (parts.as_str(), &explanation.missing) {
        ("", Some(_)) => String::new(),
        ("", None) => "; no class differs beyond its interval".to_owned(),
        (parts, _) => format!(": {parts}"),
    };
    format!(
        "{} spends {} ns/KiB {word} at both ends than {} ({} and {}){parts}.",
        other.path,
        significant(more.abs()),
        first.path,
        significant(both(other)),
        significant(both(first)),
    )
}

/// The largest, with their signs.
fn most<'a>(classes: impl Iterator<Item = (&'a str, f64)>, say: impl Fn(f64) -> String) -> String {
    let mut classes: Vec<_> = classes.filter(|(_, value)| *value != 0.0).collect();
    classes.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
    let words: Vec<_> =
        classes.iter().take(NAMED).map(|(class, value)| format!("{class} {}", say(*value))).collect();
    words.join(", ")
}
