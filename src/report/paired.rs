//! Comparisons, crossovers and the verdict, under the terminal's table.

use std::collections::BTreeSet;

use comfy_table::CellAlignment;

use super::table::{plain, trimmed};
use crate::record::{Comparison, Results};
use crate::units::{ByteSize, significant};

/// The metrics in the order of their columns.
const METRICS: [&str; 3] = ["throughput", "demand", "sender-demand"];

/// Columns of the verdict's lines.
const WIDTH: usize = 100;

/// The ratios of each cell, one line a path and its reference.
pub(super) fn comparisons(results: &Results) -> String {
    if results.comparisons.is_empty() {
        return String::new();
    }
    let mut table = plain();
    table.set_header(["path : reference", "size", "clients", "throughput", "CPU, both ends", "CPU, sender"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut seen = BTreeSet::new();
    for comparison in &results.comparisons {
        let key = (comparison.size, comparison.clients, &comparison.path, &comparison.reference);
        if !seen.insert(key) {
            continue;
        }
        let of = |metric: &str| {
            let same = |other: &&Comparison| {
                key == (other.size, other.clients, &other.path, &other.reference) && other.metric == metric
            };
            results.comparisons.iter().find(same).map_or_else(|| "-".to_owned(), figure)
        };
        let cell = [
            format!("{} : {}", comparison.path, comparison.reference),
            ByteSize(comparison.size).to_string(),
            comparison.clients.to_string(),
        ];
        table.add_row(cell.into_iter().chain(METRICS.map(of)));
    }
    format!("\n{}\n", trimmed(&table))
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

/// Why cells are undecided or imprecise: each reason once, where it is not the noise that the interval shows.
pub(super) fn reasons(results: &Results) -> String {
    let undecided = results.comparisons.iter().filter(|comparison| comparison.ratio.is_none());
    let notes: BTreeSet<_> = undecided.filter_map(|comparison| comparison.note.as_deref()).collect();
    notes.into_iter().map(|note| wrapped("? ", note)).collect()
}

/// The sentences, each from a line of its own.
pub(super) fn verdict(results: &Results) -> String {
    if results.verdict.is_empty() {
        return String::new();
    }
    let lines: String = results.verdict.iter().map(|sentence| wrapped("- ", sentence)).collect();
    format!("\nverdict\n{lines}")
}

fn wrapped(mark: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = mark.trim_end().to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &(line + "\n");
            line = " ".repeat(mark.len() - 1);
        }
        line += " ";
        line += word;
    }
    lines + &line + "\n"
}
