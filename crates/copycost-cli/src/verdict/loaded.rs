//! Loads that did not wait, in sentences: which path has the shorter tail at the highest load, and from where on one is
//! too slow.

use std::collections::BTreeSet;

use super::headline::LONGEST;
use super::{limits, listed};
use crate::record::{
    LoadComparison, LoadCurve, LoadMetric, LoadPoint, LoadState, Results, load_text, pinned_text, rate_text,
};
use crate::stats::Judgement;
use copycost::units::{hundredths, significant};

/// So many times the reference's tail is too slow.
const TOO_SLOW: f64 = 2.0;

/// The answer in one sentence; `None` without loads.
pub fn headline(results: &Results) -> Option<String> {
    match results.load_curves.as_slice() {
        [] => None,
        [curve] => Some(answer(curve)),
        curves => {
            let leaders: BTreeSet<Option<&str>> = curves.iter().map(leader).collect();
            let leaders: Vec<_> = leaders.into_iter().collect();
            let cells = curves.len();
            Some(match leaders.as_slice() {
                [Some(path)] => {
                    format!(
                        "{path} has the shortest tail at the highest load in all {cells} cells, see below."
                    )
                }
                [None] => format!("No path has a shorter tail than the reference in any of {cells} cells."),
                _ => "It depends on the cell (size, clients), see below.".to_owned(),
            })
        }
    }
}

/// The sentences of the verdict; empty without loads.
pub fn sentences(results: &Results) -> Vec<String> {
    if results.load_curves.is_empty() {
        return Vec::new();
    }
    let several = results.load_curves.len() > 1;
    let of_curve = |curve: &LoadCurve| {
        let cell = format!("{}: ", curve.cell());
        let named = move |sentence| if several { format!("{cell}{sentence}") } else { sentence };
        of_curve(curve).into_iter().map(named).collect::<Vec<_>>()
    };
    let mut sentences: Vec<String> = results.load_curves.iter().flat_map(of_curve).collect();
    let points = || results.load_curves.iter().flat_map(|curve| &curve.points);
    let settings = results.load_curves.first().map(|curve| curve.settings.as_slice()).unwrap_or_default();
    if settings.first().is_some_and(|transport| transport == "lab") {
        sentences.push(limits::LAB.to_owned());
    }
    sentences.extend(limits::copied(points().map(|point| limits::Sent {
        path: &point.path,
        ledger: point.ledger.as_ref(),
        verdict: point.verdict.as_deref(),
        reason: point.verdict_reason.as_deref(),
    })));
    sentences.push(limits::TLS.to_owned());
    let setups = points().map(|point| point.setups).max().unwrap_or_default();
    let arrivals = results.load_curves.first().map_or("", |curve| &curve.arrivals);
    sentences.push(format!(
        "{}; {}, {arrivals} arrivals; {setups} set-ups a cell, ratios with intervals of 95 % for the run as a whole, by the \
         bootstrap over set-ups.",
        limits::build_and_machine(&results.conditions, settings.first().map_or("", |way| way)),
        settings.get(1..).unwrap_or_default().join(", "),
    ));
    sentences
}

fn is_carried(point: &LoadPoint) -> bool {
    point.state.is(LoadState::Carried)
}

/// The highest load that the reference carried.
fn highest(curve: &LoadCurve) -> Option<&LoadPoint> {
    let carried = curve.of_path(&curve.reference).filter(|point| is_carried(point));
    carried.max_by(|one, other| one.offered_per_second.total_cmp(&other.offered_per_second))
}

/// The comparison of `path` with the reference at the load of `at` by this figure, if it has a ratio.
fn compared<'a>(
    curve: &'a LoadCurve,
    path: &str,
    at: &LoadPoint,
    metric: LoadMetric,
) -> Option<&'a LoadComparison> {
    curve.comparisons.iter().find(|one| {
        one.path == path
            && one.reference == curve.reference
            && one.offered_per_second == at.offered_per_second
            && one.metric.is(metric)
            && one.ratio.is_some()
    })
}

/// The comparison by the furthest quantile that both have.
fn tail<'a>(curve: &'a LoadCurve, path: &str, at: &LoadPoint) -> Option<&'a LoadComparison> {
    LoadMetric::QUANTILES.into_iter().rev().find_map(|metric| compared(curve, path, at, metric))
}

fn is_lower(comparison: &LoadComparison) -> bool {
    comparison.word.is(Judgement::Faster)
}

/// The paths beside the reference.
fn others(curve: &LoadCurve) -> impl Iterator<Item = &str> {
    curve.paths().into_iter().filter(|path| *path != curve.reference)
}

/// The path with the shortest tail, of those that are sure to have a shorter one than the reference.
fn best(curve: &LoadCurve) -> Option<&LoadComparison> {
    let at = highest(curve)?;
    others(curve)
        .filter_map(|path| tail(curve, path, at))
        .filter(|comparison| is_lower(comparison))
        .min_by(|one, other| one.ratio.unwrap_or(1.0).total_cmp(&other.ratio.unwrap_or(1.0)))
}

fn leader(curve: &LoadCurve) -> Option<&str> {
    best(curve).map(|comparison| comparison.path.as_str())
}

/// `At 80 % load of 64 KiB messages`
fn at_load(curve: &LoadCurve, point: &LoadPoint) -> String {
    let what = match &curve.size.workload {
        Some(name) => format!("the {name}"),
        None => format!("{} messages", curve.size),
    };
    match point.load {
        Some(_) => format!("At {} load of {what}", point.load_text()),
        None => format!("At {} of {what}", point.load_text()),
    }
}

/// `; CPU is 1.26`; `of` is whose, where the sentence has not said it.
fn cpu(curve: &LoadCurve, path: &str, at: &LoadPoint, of: &str) -> String {
    let Some(comparison) = compared(curve, path, at, LoadMetric::SenderCpu) else { return String::new() };
    match comparison.word.known() {
        Some(Judgement::Equivalent) => "; CPU is the same".to_owned(),
        Some(Judgement::Faster | Judgement::Slower) => {
            format!("; CPU is {}{of}", hundredths(comparison.ratio.unwrap_or(1.0)))
        }
        _ => "; no difference in CPU shown".to_owned(),
    }
}

fn answer(curve: &LoadCurve) -> String {
    let reference = &curve.reference;
    let Some(at) = highest(curve) else { return nothing_carried(curve) };
    let begin = at_load(curve, at);
    let saturated = |path: &&str| {
        let mut points =
            curve.of_path(path).filter(|point| point.offered_per_second == at.offered_per_second);
        points.any(|point| point.state.is(LoadState::Saturated))
    };
    let sentences = match best(curve) {
        Some(best) => ratio_sentences(curve, at, best),
        None => {
            let left: Vec<&str> = others(curve).filter(|path| !saturated(path)).collect();
            let gone: Vec<String> = others(curve).filter(saturated).map(str::to_owned).collect();
            match (left.as_slice(), gone.as_slice()) {
                ([], []) => vec![format!("{begin} {}.", own_tail(reference, at))],
                ([], gone) => {
                    let is = if gone.len() == 1 { "is" } else { "are" };
                    let gone = format!("{} {is} saturated", listed(gone));
                    vec![
                        format!("{begin} {gone}, and {}.", own_tail(reference, at)),
                        format!("{begin} {gone}, and {reference} is not."),
                    ]
                }
                ([one], _) => match tail(curve, one, at) {
                    Some(found) => ratio_sentences(curve, at, found),
                    None => vec![format!("{begin} {}.", own_tail(reference, at))],
                },
                (several, _) => {
                    let metric =
                        several.iter().find_map(|path| Some(tail(curve, path, at)?.metric.to_string()));
                    let metric = metric.unwrap_or_else(|| "latency".to_owned());
                    vec![format!("{begin} no path is shown to have a lower {metric} than {reference}.")]
                }
            }
        }
    };
    let fits = |sentence: &&String| sentence.chars().count() <= LONGEST;
    let shortest = sentences.last().cloned().unwrap_or_default();
    sentences.iter().find(fits).cloned().unwrap_or(shortest)
}

/// `At 80 % load of the mix kv, zerocopy's p99.9 is 0.80 of onecopy's; CPU is the same.`
fn ratio_sentence(curve: &LoadCurve, at: &LoadPoint, found: &LoadComparison) -> String {
    ratio_sentences(curve, at, found).remove(0)
}

/// The same, and without the CPU time.
fn ratio_sentences(curve: &LoadCurve, at: &LoadPoint, found: &LoadComparison) -> Vec<String> {
    let LoadComparison { path, reference, metric, .. } = found;
    let begin = at_load(curve, at);
    let decided = [Judgement::Faster, Judgement::Slower].iter().any(|word| found.word.is(*word));
    let (text, cpu) = if decided {
        let ratio = hundredths(found.ratio.unwrap_or(1.0));
        (format!("{begin}, {path}'s {metric} is {ratio} of {reference}'s"), cpu(curve, path, at, ""))
    } else {
        let shown = if found.word.is(Judgement::Equivalent) { "" } else { " shown" };
        let text = format!("{begin}, no difference of {path} to {reference} in {metric}{shown}");
        (text, cpu(curve, path, at, " times as much"))
    };
    vec![format!("{text}{cpu}."), format!("{text}.")]
}

/// `onecopy's p99 is 250 µs`
fn own_tail(path: &str, at: &LoadPoint) -> String {
    let known = LoadMetric::QUANTILES.into_iter().rev().find_map(|metric| {
        let ns = at.latency_at(metric.quantile()?)?.ns?;
        Some(format!("{path}'s {metric} is {} µs", significant(ns as f64 / 1e3)))
    });
    known.unwrap_or_else(|| format!("{path} had too few messages for a latency"))
}

fn nothing_carried(curve: &LoadCurve) -> String {
    let reference = &curve.reference;
    let points: Vec<_> = curve.of_path(reference).collect();
    match points.iter().find(|point| point.state.is(LoadState::Invalid)) {
        Some(point) if point.due == 0 => {
            "No answer: no message was due in the measured time (--seconds gives more).".to_owned()
        }
        Some(_) => "No answer: messages were asked for too late, see below.".to_owned(),
        None if points.is_empty() => format!("No answer: {reference} could not be measured."),
        None => format!("No answer: {reference} carried none of these loads."),
    }
}

fn of_curve(curve: &LoadCurve) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(at) = highest(curve) {
        sentences
            .extend(others(curve).filter_map(|path| Some(ratio_sentence(curve, at, tail(curve, path, at)?))));
    }
    for path in curve.paths() {
        let saturated: Option<&LoadPoint> = curve
            .of_path(path)
            .filter(|point| point.state.is(LoadState::Saturated))
            .min_by(|one, other| one.offered_per_second.total_cmp(&other.offered_per_second));
        sentences.extend(saturated.map(|point| {
            format!(
                "{path} is saturated from {} on: {} messages a second of {} arrived.",
                load_or_rate(point),
                rate_text(point.achieved_per_second),
                rate_text(point.offered_per_second)
            )
        }));
    }
    sentences.extend(others(curve).filter_map(|path| too_slow(curve, path)));
    sentences.extend(curve.paths().into_iter().filter_map(|path| pinned(curve, path)));
    sentences
}

/// `80 % load`, or `20,000/s`.
fn load_or_rate(point: &LoadPoint) -> String {
    let load = if point.load.is_some() { " load" } else { "" };
    format!("{}{load}", point.load_text())
}

/// From which load on the tail of `path` is sure to be more than twice the reference's.
fn too_slow(curve: &LoadCurve, path: &str) -> Option<String> {
    let first = curve
        .comparisons
        .iter()
        .filter(|one| one.path == path && one.reference == curve.reference)
        .filter(|one| one.metric.is(LoadMetric::P999) && one.low.is_some_and(|low| low > TOO_SLOW))
        .min_by(|one, other| one.offered_per_second.total_cmp(&other.offered_per_second))?;
    let load = load_text(first.load, first.offered_per_second);
    Some(format!("{path}'s p99.9 is more than twice {}'s from {load} on.", curve.reference))
}

/// What zero copy took in memory and in time until it was released, at the highest load that the path carried.
fn pinned(curve: &LoadCurve, path: &str) -> Option<String> {
    let carried = curve.of_path(path).filter(|point| is_carried(point));
    let point = carried.max_by(|one, other| one.offered_per_second.total_cmp(&other.offered_per_second))?;
    let ledger = point.ledger.as_ref().filter(|ledger| ledger.completed > 0)?;
    let bytes = pinned_text(ledger.peak_in_flight_bytes);
    let us = |ns: Option<u64>| ns.map(|ns| significant(ns as f64 / 1e3));
    let (p50, p99) = (us(ledger.notification_p50_ns)?, us(ledger.notification_p99_ns)?);
    Some(format!(
        "At {} {path} had up to {bytes} pinned; memory came back after {p50} µs (median), {p99} µs (p99).",
        load_or_rate(point)
    ))
}
