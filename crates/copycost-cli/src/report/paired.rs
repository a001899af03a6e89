//! The comparisons below the terminal's table, and the reasons for missing ratios.

use crate::compare::metric::Metric;
use crate::stats::Judgement;
use std::collections::BTreeSet;

use super::screen::Screen;
use super::set::RecordSet;
use crate::record::{Comparison, MessageSize};
use crate::verdict::VAGUE;
use copycost::units::{hundredths, significant};

/// The metrics in the order of their columns: id, title, and the labels of ratios above and below 1.
const METRICS: [(Metric, &str, [&str; 2]); 3] = [
    (Metric::Throughput, "throughput", ["faster", "slower"]),
    (Metric::SenderDemand, "CPU time, sender", ["less", "more"]),
    (Metric::Demand, "CPU time, both ends", ["less", "more"]),
];

/// The ratios of each cell, one line per path and reference.
pub(super) fn comparisons(comparisons: &[Comparison], screen: Screen) -> String {
    // A comparison that failed in every metric has no line.
    let shown: Vec<&Comparison> = comparisons.iter().filter(|one| has_ratio(comparisons, one)).collect();
    let Some(first) = shown.first() else { return String::new() };
    let one_reference =
        shown.iter().all(|one| one.reference == first.reference && reference_label(one) == one.reference);
    let one_count = shown.iter().all(|one| one.clients == first.clients);
    let names =
        if one_reference { format!("beside {}", first.reference) } else { "path : reference".to_owned() };
    let metrics: Vec<_> = METRICS
        .into_iter()
        .filter(|metric| shown.iter().any(|one| one.metric.is(metric.0) && one.ratio.is_some()))
        .collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut seen = BTreeSet::new();
    for comparison in &shown {
        if !seen.insert(key(comparison)) {
            continue;
        }
        let of = |(metric, _, labels): &(Metric, &str, [&str; 2])| {
            let same = |other: &&&Comparison| key(other) == key(comparison) && other.metric.is(*metric);
            shown.iter().find(same).map_or_else(|| "-".to_owned(), |one| figure(one, *labels))
        };
        let name = if one_reference {
            comparison.path.clone()
        } else {
            format!("{} : {}", comparison.path, reference_label(comparison))
        };
        let clients = (!one_count).then(|| comparison.clients.to_string());
        let cell = [name, comparison.size.to_string()].into_iter().chain(clients);
        rows.push(cell.chain(metrics.iter().map(of)).collect());
    }
    let clients = (!one_count).then(|| "clients".to_owned());
    let titles = metrics.iter().map(|(_, title, _)| (*title).to_owned());
    let mut header: Vec<String> =
        [names, "size".to_owned()].into_iter().chain(clients).chain(titles).collect();
    let mut left_out = Vec::new();
    // A table that fills the last column of the line would be wrapped.
    while width(&header, &rows) >= screen.columns && header.len() > 3 {
        left_out.extend(header.pop());
        rows.iter_mut().for_each(|row| row.truncate(header.len()));
    }
    format!("\n{}{}", screen.listed(&header, &rows, 1), screen.left_out(&left_out))
}

/// The identity of a line of the table.
fn key(comparison: &Comparison) -> (MessageSize, usize, usize, &str, &str) {
    let Comparison { size, clients, client_hosts, path, reference, .. } = comparison;
    (*size, *clients, *client_hosts, path, reference)
}

fn has_ratio(comparisons: &[Comparison], of: &Comparison) -> bool {
    comparisons.iter().any(|one| one.ratio.is_some() && key(one) == key(of))
}

/// The width of a table in columns, with a blank on each side of a cell.
pub(super) fn width(header: &[String], rows: &[Vec<String>]) -> usize {
    let longest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(header.get(column));
        2 + cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..header.len()).map(longest).sum()
}

/// The reference's name; only the build if it is the same path in another build.
fn reference_label(comparison: &Comparison) -> &str {
    comparison
        .reference
        .strip_prefix(&comparison.path)
        .filter(|build| build.starts_with('@'))
        .unwrap_or(&comparison.reference)
}

fn figure(comparison: &Comparison, labels: [&str; 2]) -> String {
    let Comparison { ratio, low, high, word, .. } = comparison;
    ratio_text((*ratio, *low, *high), word.known().copied(), labels)
}

/// `0.62 (0.60 to 0.64) slower`, of a ratio with the ends of its interval. The labels are for better and for worse.
pub(super) fn ratio_text(
    (ratio, low, high): (Option<f64>, Option<f64>, Option<f64>),
    word: Option<Judgement>,
    [better, worse]: [&str; 2],
) -> String {
    let outcome = match word {
        Some(Judgement::Faster) => better,
        Some(Judgement::Slower) => worse,
        Some(Judgement::Equivalent) => "equal",
        Some(Judgement::Undecided) | None => "?",
    };
    let usable = |value: &f64| value.is_finite() && *value > 0.0;
    let (Some(ratio), Some(low), Some(high)) =
        (ratio.filter(usable), low.filter(usable), high.filter(usable))
    else {
        return outcome.to_owned();
    };
    let short = |value: f64| if value < 0.005 { significant(value) } else { hundredths(value) };
    if high / low > VAGUE {
        return format!("{} (too few set-ups)", short(ratio));
    }
    format!("{} ({} to {}) {outcome}", short(ratio), short(low), short(high))
}

/// The reasons for missing ratios, each once. Failed cells are not included, because they have their own lines.
pub(super) fn reasons(set: &RecordSet, screen: Screen) -> String {
    let failed = |comparison: &&Comparison| {
        set.failures.iter().any(|failure| {
            (failure.size, failure.clients, failure.client_hosts)
                == (comparison.size, comparison.clients, comparison.client_hosts)
                && [&comparison.path, &comparison.reference].contains(&&failure.path)
        })
    };
    let without =
        set.comparisons.iter().filter(|comparison| comparison.ratio.is_none() && !failed(comparison));
    let notes: BTreeSet<_> = without.filter_map(|comparison| comparison.note.as_deref()).collect();
    notes.into_iter().map(|note| screen.wrapped("? ", note)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compared(ratio: Option<f64>, low: Option<f64>, high: Option<f64>, word: &str) -> Comparison {
        Comparison {
            ratio,
            low,
            high,
            word: word.into(),
            ..Comparison::example("zerocopy", "onecopy", "throughput")
        }
    }

    const LABELS: [&str; 2] = ["faster", "slower"];

    #[test]
    fn wide_intervals_are_printed_and_useless_ones_are_not() {
        let wide = compared(Some(0.22), Some(0.06), Some(0.83), "slower");
        assert_eq!(figure(&wide, LABELS), "0.22 (0.06 to 0.83) slower");
        let useless = compared(Some(0.22), Some(1e-30), Some(1.4e28), "undecided");
        assert_eq!(figure(&useless, LABELS), "0.22 (too few set-ups)");
        assert_eq!(figure(&compared(None, None, None, "undecided"), LABELS), "?");
    }

    proptest! {
        #[test]
        fn no_file_makes_a_figure_without_a_meaning(
            ratio: Option<f64>, low: Option<f64>, high: Option<f64>, word in "faster|slower|equivalent|undecided|x"
        ) {
            let text = figure(&compared(ratio, low, high, &word), LABELS);
            for bad in ["inf", "NaN", "±"] {
                prop_assert!(!text.contains(bad), "{}", text);
            }
            prop_assert!(text.chars().count() <= 40, "{}", text);
        }
    }
}
