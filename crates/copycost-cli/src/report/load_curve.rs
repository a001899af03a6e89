//! Paths under loads that did not wait: a table of latencies at each load, the comparisons, and remarks.

use std::collections::BTreeSet;

use super::listing::{Listing, UNKNOWN};
use super::paired::{ratio_text, width};
use super::screen::Screen;
use super::set::RecordSet;
use crate::record::{LoadCurve, LoadMetric, LoadPoint, LoadState, load_text, pinned_text, rate_text};
use copycost::units::significant;

/// The curves of a set for a screen; empty without curves.
pub(super) fn tables(set: &RecordSet, screen: Screen) -> String {
    set.load_curves.iter().map(|curve| table(curve, screen)).collect()
}

fn table(curve: &LoadCurve, screen: Screen) -> String {
    let mut text = format!("\n{}", screen.wrapped("", &cell(curve)));
    text += &fitted(listing(curve), &["max", "notified", "p90"], screen);
    let compared = comparisons(curve);
    if !compared.rows.is_empty() {
        text += "\n";
        text += &fitted(compared, &["p90", "p99", "p50"], screen);
    }
    sentences(curve).iter().for_each(|sentence| text += &screen.wrapped("- ", sentence));
    text
}

/// The listing on a screen, without as many of the columns of these titles as it takes.
fn fitted(mut listing: Listing, omissions: &[&str], screen: Screen) -> String {
    let mut left_out = Vec::new();
    for title in omissions {
        // A table that fills the last column of the line would be wrapped.
        if width(&listing.header, &listing.rows) < screen.columns {
            break;
        }
        let Some(place) = listing.header.iter().position(|header| header == title) else { continue };
        left_out.push(listing.header.remove(place));
        listing.rows.iter_mut().for_each(|row| drop(row.remove(place)));
    }
    screen.listed(&listing.header, &listing.rows, 2) + &screen.left_out(&left_out)
}

/// What the figures of a curve are.
pub(super) fn cell(curve: &LoadCurve) -> String {
    format!("{}: latency in µs, from when a message was due to its last byte", curve.cell())
}

fn us(ns: u64) -> String {
    significant(ns as f64 / 1e3)
}

type Column = (&'static str, fn(&LoadPoint) -> String);

fn latency(point: &LoadPoint, metric: LoadMetric) -> String {
    let record = metric.quantile().and_then(|quantile| point.latency_at(quantile)?.ns);
    record.map_or_else(|| UNKNOWN.to_owned(), us)
}

const COLUMNS: [Column; 13] = [
    ("load", LoadPoint::load_text),
    ("path", |point| point.path.clone()),
    ("due/s", |point| rate_text(point.offered_per_second)),
    ("got/s", |point| rate_text(point.achieved_per_second)),
    ("p50", |point| latency(point, LoadMetric::P50)),
    ("p90", |point| latency(point, LoadMetric::P90)),
    ("p99", |point| latency(point, LoadMetric::P99)),
    ("p99.9", |point| latency(point, LoadMetric::P999)),
    ("max", |point| point.max_ns.map_or_else(|| UNKNOWN.to_owned(), us)),
    ("CPU/msg", |point| {
        let cpu = point.sender_ns_per_message;
        cpu.map_or_else(|| UNKNOWN.to_owned(), |cpu| significant(cpu.value / 1e3))
    }),
    ("pinned", |point| {
        let ledger = point.ledger.as_ref();
        ledger.map_or_else(String::new, |ledger| pinned_text(ledger.peak_in_flight_bytes))
    }),
    ("notified", |point| {
        let at = point.ledger.as_ref().and_then(|ledger| ledger.notification_p50_ns);
        at.map_or_else(String::new, us)
    }),
    ("state", |point| match point.state.known() {
        Some(LoadState::Carried) => String::new(),
        _ => point.state.to_string(),
    }),
];

/// A line for each path at each load.
pub(super) fn listing(curve: &LoadCurve) -> Listing {
    of_curves(&[("", curve)])
}

/// The same for several curves with the names of their sets.
pub(super) fn of_curves(curves: &[(&str, &LoadCurve)]) -> Listing {
    let mut header: Vec<String> = ["set", "size", "clients"].map(str::to_owned).to_vec();
    header.extend(COLUMNS.iter().map(|(title, _)| (*title).to_owned()));
    let line = |(set, curve): &(&str, &LoadCurve), point: &LoadPoint| {
        let cell = match curves.len() {
            1 => [String::new(), String::new(), String::new()],
            _ => [(*set).to_owned(), curve.size.to_string(), curve.clients.to_string()],
        };
        cell.into_iter().chain(COLUMNS.iter().map(|(_, of)| of(point))).collect()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for one in curves {
        rows.extend(one.1.points.iter().map(|point| line(one, point)));
    }
    // Columns that are empty in every row.
    for place in (0..header.len()).rev() {
        if rows.iter().all(|row| row[place].is_empty()) {
            header.remove(place);
            rows.iter_mut().for_each(|row| drop(row.remove(place)));
        }
    }
    Listing { header, rows }
}

/// A line for each path at each load that it and its reference carried.
pub(super) fn comparisons(curve: &LoadCurve) -> Listing {
    let metrics: Vec<LoadMetric> = LoadMetric::QUANTILES
        .into_iter()
        .chain([LoadMetric::SenderCpu])
        .filter(|metric| curve.comparisons.iter().any(|one| one.metric.is(*metric) && one.ratio.is_some()))
        .collect();
    let one_reference = curve.comparisons.iter().all(|one| one.reference == curve.reference);
    let name = match one_reference {
        true => format!("beside {}", curve.reference),
        false => "path : reference".to_owned(),
    };
    let mut header = vec!["load".to_owned(), name];
    header.extend(metrics.iter().map(|metric| metric.title()));
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut seen = BTreeSet::new();
    for comparison in &curve.comparisons {
        let load = load_text(comparison.load, comparison.offered_per_second);
        if !seen.insert((load.clone(), &comparison.path, &comparison.reference)) {
            continue;
        }
        let of = |metric: &LoadMetric| {
            let found = curve.comparisons.iter().find(|other| {
                (&other.path, &other.reference) == (&comparison.path, &comparison.reference)
                    && other.offered_per_second == comparison.offered_per_second
                    && other.metric.is(*metric)
            });
            let labels =
                if *metric == LoadMetric::SenderCpu { ["less", "more"] } else { ["lower", "higher"] };
            found.map_or_else(
                || UNKNOWN.to_owned(),
                |found| ratio_text((found.ratio, found.low, found.high), found.word.known().copied(), labels),
            )
        };
        let name = match one_reference {
            true => comparison.path.clone(),
            false => format!("{} : {}", comparison.path, comparison.reference),
        };
        rows.push([load, name].into_iter().chain(metrics.iter().map(of)).collect());
    }
    Listing { header, rows }
}

/// The loads of the paths for which `text` has the same words: `onecopy at 20 % and 50 %, zerocopy at 20 %: ...`.
fn grouped(curve: &LoadCurve, text: impl Fn(&LoadPoint) -> Vec<String>) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for point in &curve.points {
        let at = format!("{} at {}", point.path, point.load_text());
        for text in text(point) {
            match groups.iter_mut().find(|group| group.0 == text) {
                Some(group) => group.1.push(at.clone()),
                None => groups.push((text, vec![at.clone()])),
            }
        }
    }
    groups.into_iter().map(|(text, at)| format!("{}: {text}.", at.join(", "))).collect()
}

/// What a reader must know of the table.
pub(super) fn sentences(curve: &LoadCurve) -> Vec<String> {
    let mut sentences = Vec::new();
    let arrivals = match curve.arrivals.as_str() {
        "fixed" => "The gaps between two messages of a client are all the same.",
        _ => "Messages are due at random, as if many independent users asked.",
    };
    sentences.extend(curve.saturation_per_second.map(|rate| {
        format!(
            "100 % load is {} messages a second: the most that {} carries when each is asked for alone.",
            rate_text(rate),
            curve.reference
        )
    }));
    sentences.push(arrivals.to_owned());
    sentences.push(match curve.points.iter().any(|point| point.ledger.is_some()) {
        true => "CPU/msg is the sender's CPU time in µs; pinned is the most memory in flight, and notified the median time in \
                 µs until it came back."
            .to_owned(),
        false => "CPU/msg is the sender's CPU time in µs.".to_owned(),
    });
    sentences.extend(grouped(curve, |point| match point.state.known() {
        Some(LoadState::Saturated) => Vec::new(),
        _ => point.reason.iter().cloned().collect(),
    }));
    sentences.extend(grouped(curve, |point| {
        let missing = |record: &crate::record::QuantileRecord| {
            let name = LoadMetric::QUANTILES
                .into_iter()
                .find(|metric| metric.quantile() == Some(record.quantile))
                .map_or_else(|| record.quantile.to_string(), |metric| metric.to_string());
            // The number of messages differs from point to point.
            let why = record.missing.as_deref()?.split(", and there were").next()?.to_owned();
            Some(format!("no {name}, for {why}"))
        };
        point.latency.iter().filter_map(missing).collect()
    }));
    sentences.extend(grouped(curve, |point| {
        point.sender_missing.iter().map(|why| format!("no CPU time: {why}")).collect()
    }));
    sentences.extend(grouped(curve, |point| point.flags.clone()));
    sentences
}
