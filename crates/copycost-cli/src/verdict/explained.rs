//! Explanations in sentences: where a path spends its CPU time, and where it spends more than another.

use std::collections::BTreeMap;

use crate::profile::classes::Class;
use crate::profile::threads::ThreadRole;
use crate::record::{ALL, ClassDifference, ExplainedPath, Explanation};
use copycost::send::{self, Release};
use copycost::units::{signed, significant};

/// The most classes that a sentence names.
const NAMED: usize = 4;

/// One sentence for each path compared with the first, or one for the only path.
pub fn sentences(explanation: &Explanation) -> Vec<String> {
    match explanation.paths.split_first() {
        Some((first, [])) => vec![alone(explanation, first)],
        Some((first, others)) => others.iter().map(|other| compared(explanation, other, first)).collect(),
        None => Vec::new(),
    }
}

/// One sentence: the most that zero copy can save the first path that copies, which is what its sender copies. `None`
/// means that the sender has no samples, or that no path copies.
pub fn headline(explanation: &Explanation) -> Option<String> {
    let copies = |path: &&ExplainedPath| {
        send::by_name(&path.path).is_some_and(|known| known.release == Release::OnReturn)
    };
    let path = explanation.paths.iter().find(copies)?;
    let sender =
        path.ends.iter().find(|end| is_of(&end.end, &[ThreadRole::Sender]) && !end.classes.is_empty())?;
    let copying = sender
        .classes
        .iter()
        .filter(|record| [Class::Copy, Class::Hazard].iter().any(|class| class.to_string() == record.class));
    let copying: f64 = copying.map(|record| record.ns_per_kib.value).sum();
    let share = 100.0 * copying / sender.demand.value;
    share.is_finite().then(|| {
        format!(
            "Copying is {share:.0} % of the CPU time of {}'s sender: zero copy can save it no more.",
            path.path
        )
    })
}

/// The roles whose time counts, and their name. In the lab this is only the sender, because only the sender's time is
/// meaningful there (`lab/mod.rs`).
fn ends(explanation: &Explanation) -> (&'static [ThreadRole], &'static str) {
    let in_a_lab = explanation.settings.first().is_some_and(|way| way == "lab");
    if in_a_lab {
        (&[ThreadRole::Sender], "at the sender")
    } else {
        (&[ThreadRole::Sender, ThreadRole::Receiver], "at both ends")
    }
}

fn is_of(end: &str, roles: &[ThreadRole]) -> bool {
    roles.iter().any(|role| role.to_string() == end)
}

fn spent(path: &ExplainedPath, roles: &[ThreadRole]) -> f64 {
    path.ends.iter().filter(|end| is_of(&end.end, roles)).map(|end| end.demand.value).sum()
}

/// ` at the receiver` if only the receiver's threads have samples; empty if all roles have samples.
fn where_sampled(path: &ExplainedPath, roles: &[ThreadRole]) -> String {
    let ends = path.ends.iter().filter(|end| is_of(&end.end, roles));
    let (with, without): (Vec<_>, Vec<_>) = ends.partition(|end| !end.classes.is_empty());
    match with.as_slice() {
        [only] if !without.is_empty() => format!(" at the {}", only.end),
        _ => String::new(),
    }
}

fn alone(explanation: &Explanation, path: &ExplainedPath) -> String {
    let (roles, place) = ends(explanation);
    let mut classes: BTreeMap<&str, f64> = BTreeMap::new();
    for record in path.ends.iter().filter(|end| is_of(&end.end, roles)).flat_map(|end| &end.classes) {
        *classes.entry(&record.class).or_default() += record.ns_per_kib.value;
    }
    let parts = most(classes.into_iter(), significant);
    let place_of_parts = where_sampled(path, roles);
    let parts = match parts.is_empty() {
        true => String::new(),
        false => format!(", most of it{place_of_parts}: {parts}"),
    };
    format!("{} spends {} ns/KiB {place}{parts}.", path.path, significant(spent(path, roles)))
}

fn compared(explanation: &Explanation, other: &ExplainedPath, first: &ExplainedPath) -> String {
    let (roles, place) = ends(explanation);
    let [other_ns, first_ns] = [other, first].map(|path| spent(path, roles));
    let less_or_more = if other_ns < first_ns { "less" } else { "more" };
    let mut classes: BTreeMap<&str, f64> = BTreeMap::new();
    let of_other = |d: &&ClassDifference| d.path == other.path && is_of(&d.end, roles) && d.decided;
    for difference in explanation.differences.iter().filter(of_other).filter(|d| d.class != ALL) {
        *classes.entry(&difference.class).or_default() += difference.ns_per_kib.value;
    }
    let parts = match (most(classes.into_iter(), signed).as_str(), &explanation.missing) {
        ("", Some(_)) => String::new(),
        ("", None) => format!("; no class{} differs beyond its interval", where_sampled(other, roles)),
        (parts, _) => format!("{}: {parts}", where_sampled(other, roles).replacen(" at", "; at", 1)),
    };
    let shown = explanation.differences.iter().filter(of_other).any(|d| d.class == ALL);
    let doubt = if shown { "" } else { ", but no interval confirms this" };
    format!(
        "{} spends {} ns/KiB {less_or_more} {place} than {} ({} and {}){doubt}{parts}.",
        other.path,
        significant((other_ns - first_ns).abs()),
        first.path,
        significant(other_ns),
        significant(first_ns),
    )
}

/// The classes with the largest absolute values, as `class value`.
fn most<'a>(classes: impl Iterator<Item = (&'a str, f64)>, format: impl Fn(f64) -> String) -> String {
    let mut classes: Vec<_> = classes.filter(|(_, value)| *value != 0.0).collect();
    classes.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
    let parts: Vec<_> =
        classes.iter().take(NAMED).map(|(class, value)| format!("{class} {}", format(*value))).collect();
    parts.join(", ")
}
