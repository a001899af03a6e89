//! A table without a format, which HTML, Markdown and the terminal share.

use super::dated;
use super::metric::{RecordFigure, RecordMetric};
use super::set::{RecordSet, SetRow};
use copycost::units::significant;

/// A table of text cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The titles of the columns.
    pub header: Vec<String>,
    /// The rows, each with one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// The cell for an unknown figure.
pub const UNKNOWN: &str = "–";

impl Listing {
    /// Whether a column holds figures, which are aligned to the right.
    pub fn is_figures(&self, column: usize) -> bool {
        let mut values =
            self.rows.iter().filter_map(|row| row.get(column)).filter(|value| *value != UNKNOWN).peekable();
        values.peek().is_some() && values.all(|value| value.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// A table with a line for each row of the sets that has one of the metrics.
    pub fn of_metrics(sets: &[RecordSet], metrics: &[RecordMetric]) -> Self {
        let with_intervals = |metric: &RecordMetric| {
            let mut rows = sets.iter().flat_map(|set| &set.rows);
            rows.any(|row| row.figure(*metric).is_some_and(|figure| figure.interval.is_some()))
        };
        let wide: Vec<bool> = metrics.iter().map(with_intervals).collect();
        let mut header = cell_header(sets);
        for (metric, wide) in metrics.iter().zip(&wide) {
            header.push(metric.title().to_owned());
            if *wide {
                header.push(
                    if *metric == RecordMetric::LatencyMedian { "to p99" } else { "interval" }.to_owned(),
                );
            }
        }
        let dates = sets.iter().any(dated::has_dates);
        header.extend(dates.then(|| "measured, UTC".to_owned()));
        let mut rows = Vec::new();
        for set in sets {
            for row in &set.rows {
                let figures: Vec<_> = metrics.iter().map(|metric| row.figure(*metric)).collect();
                if figures.iter().all(Option::is_none) {
                    continue;
                }
                let mut line = cell(sets, set, row);
                for ((figure, wide), metric) in figures.into_iter().zip(&wide).zip(metrics) {
                    line.push(figure.map_or_else(|| UNKNOWN.to_owned(), |figure| significant(figure.value)));
                    if *wide {
                        line.push(interval(figure, *metric));
                    }
                }
                line.extend(dates.then(|| dated::of_figures(row, metrics)));
                rows.push(line);
            }
        }
        Self { header, rows }
    }
}

fn interval(figure: Option<RecordFigure>, metric: RecordMetric) -> String {
    match figure.and_then(|figure| figure.interval) {
        Some((_, high)) if metric == RecordMetric::LatencyMedian => significant(high),
        Some((low, high)) => format!("{} to {}", significant(low), significant(high)),
        None => UNKNOWN.to_owned(),
    }
}

/// The header of [`cell`].
pub fn cell_header(sets: &[RecordSet]) -> Vec<String> {
    let set = (sets.len() > 1).then_some("set");
    set.into_iter().chain(["path", "size", "clients"]).map(str::to_owned).collect()
}

/// The cells that identify a row: its set if there are several, its path, its size and its clients.
pub fn cell(sets: &[RecordSet], set: &RecordSet, row: &SetRow) -> Vec<String> {
    let label = (sets.len() > 1).then(|| set.label.clone());
    let rest = [row.path.clone(), row.size.to_string(), row.clients.to_string()];
    label.into_iter().chain(rest).collect()
}
