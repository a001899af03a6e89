//! Comparisons under the terminal's table, and sentences in its lines.

use std::collections::BTreeSet;

use comfy_table::CellAlignment;

use super::fold::wrapped;
use super::table::{plain, trimmed};
use crate::record::Comparison;
use copycost::units::{ByteSize, significant};

/// The metrics in the order of their columns.
const METRICS: [&str; 3] = ["throughput", "demand", "sender-demand"];

/// The ratios of each cell, one line a path and its reference.
pub(super) fn comparisons(comparisons: &[Comparison]) -> String {
    if comparisons.is_empty() {
        return String::new();
    }
    let mut table = plain();
    table.set_header(["path : reference", "size", "clients", "throughput", "CPU, both ends", "CPU, sender"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut seen = BTreeSet::new();
    for comparison in comparisons {
        let key = (comparison.size, comparison.clients, &comparison.path, &comparison.reference);
        if !seen.insert(key) {
            continue;
        }
        let of = |metric: &str| {
            let same = |other: &&Comparison| {
                key == (other.size, other.clients, &other.path, &other.reference) && other.metric == metric
            };
            comparisons.iter().find(same).map_or_else(|| "-".to_owned(), figure)
        };
        let cell = [
            format!("{} : {}", comparison.path, beside(comparison)),
            ByteSize(comparison.size).to_string(),
            comparison.clients.to_string(),
        ];
        table.add_row(cell.into_iter().chain(METRICS.map(of)));
    }
    format!("\n{}\n", trimmed(&table))
}

/// The reference; of the same path in another build only the build.
fn beside(comparison: &Comparison) -> &str {
    comparison
        .reference
        .strip_prefix(&comparison.path)
        .filter(|build| build.starts_with('@'))
        .unwrap_or(&comparison.reference)
}

/// `0.62 ±1.2% slower`: the interval as the larger of its two sides.
fn figure(comparison: &Comparison) -> String {
    let Comparison { ratio, low, high, word, .. } = comparison;
    let word = if word == "undecided" { "?" } else { word };
    match (ratio, low, high) {
        (Some(ratio), Some(low), Some(high)) => {
            let reach = 100.0 * ((high / ratio).max(ratio / low) - 1.0);
            let reach = if reach >= 10.0 { format!("{reach:.0}") } else { format!("{reach:.1}") };
            format!("{} ±{reach}% {word}", significant(*ratio))
        }
        _ => word.to_owned(),
    }
}

/// Why comparisons have no ratio: each reason once. Those with a wide interval show it.
pub(super) fn reasons(comparisons: &[Comparison]) -> String {
    let without = comparisons.iter().filter(|comparison| comparison.ratio.is_none());
    let notes: BTreeSet<_> = without.filter_map(|comparison| comparison.note.as_deref()).collect();
    notes.into_iter().map(|note| wrapped("? ", note)).collect()
}
