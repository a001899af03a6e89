//! Comparisons under the terminal's table, and sentences in its lines.

use std::collections::BTreeSet;

use comfy_table::CellAlignment;

use super::screen::Screen;
use super::set::RecordSet;
use super::table::trimmed;
use crate::compare::verdict::VAGUE;
use crate::record::Comparison;
use copycost::units::{ByteSize, hundredths, significant};

/// The metrics in the order of their columns, and what their ratios are called above 1 and below.
const METRICS: [(&str, &str, [&str; 2]); 3] = [
    ("throughput", "throughput", ["faster", "slower"]),
    ("sender-demand", "CPU time, sender", ["less", "more"]),
    ("demand", "CPU time, both ends", ["less", "more"]),
];

/// The ratios of each cell, one line a path and its reference.
pub(super) fn comparisons(comparisons: &[Comparison], screen: Screen) -> String {
    // What failed in every metric is not beside anything.
    let shown: Vec<&Comparison> = comparisons.iter().filter(|one| has_ratio(comparisons, one)).collect();
    let Some(first) = shown.first() else { return String::new() };
    let one_reference =
        shown.iter().all(|one| one.reference == first.reference && beside(one) == one.reference);
    let one_count = shown.iter().all(|one| one.clients == first.clients);
    let names =
        if one_reference { format!("beside {}", first.reference) } else { "path : reference".to_owned() };
    let metrics: Vec<_> = METRICS
        .into_iter()
        .filter(|metric| shown.iter().any(|one| one.metric == metric.0 && one.ratio.is_some()))
        .collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut seen = BTreeSet::new();
    for comparison in &shown {
        if !seen.insert(key(comparison)) {
            continue;
        }
        let of = |(metric, _, words): &(&str, &str, [&str; 2])| {
            let same = |other: &&&Comparison| key(other) == key(comparison) && other.metric == *metric;
            shown.iter().find(same).map_or_else(|| "-".to_owned(), |one| figure(one, *words))
        };
        let name = if one_reference {
            comparison.path.clone()
        } else {
            format!("{} : {}", comparison.path, beside(comparison))
        };
        let clients = (!one_count).then(|| comparison.clients.to_string());
        let cell = [name, ByteSize(comparison.size).to_string()].into_iter().chain(clients);
        rows.push(cell.chain(metrics.iter().map(of)).collect());
    }
    let clients = (!one_count).then(|| "clients".to_owned());
    let titles = metrics.iter().map(|(_, title, _)| (*title).to_owned());
    let mut header: Vec<String> =
        [names, "size".to_owned()].into_iter().chain(clients).chain(titles).collect();
    let mut left_out = Vec::new();
    // A table that fills the line to its last column is wrapped.
    while width(&header, &rows) >= screen.columns && header.len() > 3 {
        left_out.extend(header.pop());
        rows.iter_mut().for_each(|row| row.truncate(header.len()));
    }
    let mut table = screen.table();
    table.set_header(&header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows.iter().for_each(|row| {
        table.add_row(row);
    });
    let mut text = format!("\n{}\n", trimmed(&table));
    text += &screen.left_out(&left_out);
    text
}

/// What a line of the table stands for.
fn key(comparison: &Comparison) -> (usize, usize, usize, &str, &str) {
    let Comparison { size, clients, client_hosts, path, reference, .. } = comparison;
    (*size, *clients, *client_hosts, path, reference)
}

fn has_ratio(comparisons: &[Comparison], of: &Comparison) -> bool {
    comparisons.iter().any(|one| one.ratio.is_some() && key(one) == key(of))
}

/// Columns that a table takes, with a blank on each side of a cell.
fn width(header: &[String], rows: &[Vec<String>]) -> usize {
    let longest = |column: usize| {
        let words = rows.iter().filter_map(|row| row.get(column)).chain(header.get(column));
        2 + words.map(|word| word.chars().count()).max().unwrap_or(0)
    };
    (0..header.len()).map(longest).sum()
}

/// The reference; of the same path in another build only the build.
fn beside(comparison: &Comparison) -> &str {
    comparison
        .reference
        .strip_prefix(&comparison.path)
        .filter(|build| build.starts_with('@'))
        .unwrap_or(&comparison.reference)
}

/// `0.62 (0.60 to 0.64) slower`
fn figure(comparison: &Comparison, [better, worse]: [&str; 2]) -> String {
    let Comparison { ratio, low, high, word, .. } = comparison;
    let word = match word.as_str() {
        "faster" => better,
        "slower" => worse,
        "equivalent" => "equal",
        _ => "?",
    };
    let usable = |value: &f64| value.is_finite() && *value > 0.0;
    let (Some(ratio), Some(low), Some(high)) =
        (ratio.filter(usable), low.filter(usable), high.filter(usable))
    else {
        return word.to_owned();
    };
    let short = |value: f64| if value < 0.005 { significant(value) } else { hundredths(value) };
    if high / low > VAGUE {
        return format!("{} (too few set-ups)", short(ratio));
    }
    format!("{} ({} to {}) {word}", short(ratio), short(low), short(high))
}

/// Why comparisons have no ratio: each reason once. Those with a wide interval show it, and what failed has its own line.
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
            size: 1024,
            clients: 1,
            client_hosts: 1,
            path: "zerocopy".into(),
            reference: "onecopy".into(),
            metric: "throughput".into(),
            ratio,
            low,
            high,
            word: word.into(),
            setups: 8,
            note: None,
        }
    }

    const WORDS: [&str; 2] = ["faster", "slower"];

    #[test]
    fn an_interval_is_printed_as_it_is() {
        let wide = compared(Some(0.22), Some(0.06), Some(0.83), "slower");
        assert_eq!(figure(&wide, WORDS), "0.22 (0.06 to 0.83) slower");
        let useless = compared(Some(0.22), Some(1e-30), Some(1.4e28), "undecided");
        assert_eq!(figure(&useless, WORDS), "0.22 (too few set-ups)");
        assert_eq!(figure(&compared(None, None, None, "undecided"), WORDS), "?");
    }

    proptest! {
        #[test]
        fn no_file_makes_a_figure_without_a_meaning(
            ratio: Option<f64>, low: Option<f64>, high: Option<f64>, word in "faster|slower|equivalent|undecided|x"
        ) {
            let text = figure(&compared(ratio, low, high, &word), WORDS);
            for bad in ["inf", "NaN", "±"] {
                prop_assert!(!text.contains(bad), "{}", text);
            }
            prop_assert!(text.chars().count() <= 40, "{}", text);
        }
    }
}
