//! The charts of the page, one file each, and their list. A chart is a pure function from sets to plots, a caption
//! computed from the same figures, and a table.

mod caches;
mod comparisons;
mod demand;
mod explained;
mod hosts;
mod lab;
mod latency;
mod ledger;
mod loads;
mod model;
mod speedup;
mod throughput;
mod winners;
mod workload;

use crate::record::MessageSize;
use crate::report::listing::Listing;
use crate::report::metric::RecordMetric;
use crate::report::plot::axis::Axis;
use crate::report::plot::lines::{LineSeries, Lines, SeriesForm};
use crate::report::plot::mark::SeriesStyle;
use crate::report::set::{RecordSet, SetRow, place};
use copycost::units::{ClientCount, significant};

/// Every chart of cells, in the order of the page.
pub static ALL: &[Chart] = &[
    winners::CHART,
    comparisons::CHART,
    throughput::CHART,
    demand::CHART,
    lab::CHART,
    latency::CHART,
    speedup::CHART,
    hosts::CHART,
    caches::CHART,
    ledger::CHART,
];

/// The charts of loads, workloads, explanations and models, which only some results hold.
static OF_OTHER_RESULTS: &[Chart] =
    &[loads::CHART, workload::CHART, explained::CHART, explained::FLAMES, model::CHART];

/// The charts of a page with their contents: those of cells if there are any, and the others if they have content.
pub fn of(sets: &[RecordSet]) -> Vec<(&'static Chart, Content)> {
    let cells = if sets.iter().any(|set| !set.rows.is_empty()) { ALL } else { &[] };
    let drawn = cells.iter().chain(OF_OTHER_RESULTS).map(|chart| (chart, (chart.content)(sets)));
    drawn.filter(|(_, content)| !matches!(content, Content::Absent)).collect()
}

/// A table of every comparison, for other formats.
pub(in crate::report) use comparisons::table as comparison_table;

/// A chart: a section of the page.
#[derive(Debug)]
pub struct Chart {
    /// The anchor of the section in the page.
    pub id: &'static str,
    /// The heading of the section.
    pub title: &'static str,
    /// Computes the content from the sets.
    pub content: fn(&[RecordSet]) -> Content,
}

/// The content of a chart.
#[derive(Debug)]
pub enum Content {
    /// The results are of another kind; the section is omitted.
    Absent,
    /// There is nothing to plot. Holds the reason as a sentence.
    Missing(String),
    /// There are plots.
    Plots(Plots),
}

/// Plots with their caption and their table.
#[derive(Debug, Default)]
pub struct Plots {
    /// The plots as SVG elements.
    pub panels: Vec<String>,
    /// Sentences computed from the figures.
    pub caption: Vec<String>,
    /// The figures of the plots.
    pub table: Listing,
    /// Whether each plot needs the whole width of the page.
    pub wide: bool,
}

/// The most plots of a chart; the table has the rest.
pub const MOST_PANELS: usize = 12;

impl Plots {
    /// Limits the plots to [`MOST_PANELS`], and adds a sentence to the caption if it drops any.
    fn content(mut panels: Vec<String>, mut caption: Vec<String>, table: Listing) -> Content {
        if panels.len() > MOST_PANELS {
            caption
                .push(format!("The first {MOST_PANELS} of {} plots; the table has the rest.", panels.len()));
            panels.truncate(MOST_PANELS);
        }
        Content::Plots(Self { panels, caption, table, wide: false })
    }
}

/// The name of a path's line, with the name of its set if there are several.
fn named(path: &str, set: &RecordSet) -> String {
    if set.label.is_empty() { path.to_owned() } else { format!("{path} · {}", set.label) }
}

/// A line for each path of each set. `at` gives the x value of a row, or `None` if the row is not in this plot.
fn series(sets: &[RecordSet], metric: RecordMetric, at: impl Fn(&SetRow) -> Option<f64>) -> Vec<LineSeries> {
    let mut all = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        for path in set.paths() {
            let rows = set.rows.iter().filter(|row| row.path == path);
            let mut points: Vec<_> = rows.filter_map(|row| Some((at(row)?, row.figure(metric)?))).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            if !points.is_empty() {
                let look = SeriesStyle { place: place(path), set: number };
                all.push(LineSeries { label: named(path, set), look, form: SeriesForm::Joined, points });
            }
        }
    }
    all
}

/// All values of a metric with their intervals, for one axis over all panels, so that they can be compared.
fn reach(sets: &[RecordSet], metric: RecordMetric) -> impl Iterator<Item = f64> + '_ {
    let figures = sets.iter().flat_map(|set| &set.rows).filter_map(move |row| row.figure(metric));
    figures.flat_map(|figure| {
        let ends = figure.interval.unwrap_or((figure.value, figure.value));
        [figure.value, ends.0, ends.1]
    })
}

/// The metric against the message size, for one number of clients.
fn over_sizes(sets: &[RecordSet], metric: RecordMetric, clients: usize) -> Option<Lines> {
    let series = series(sets, metric, |row| (row.clients == clients).then_some(row.size.bytes as f64));
    let (x, y) = (Axis::sizes(&all_of(sets, bytes)), Axis::values(metric.title(), reach(sets, metric)));
    (!series.is_empty()).then(|| Lines {
        title: ClientCount(clients).to_string(),
        x,
        y,
        series,
        guide: Vec::new(),
    })
}

/// The metric against the clients, for one message size.
fn over_clients(sets: &[RecordSet], metric: RecordMetric, size: MessageSize) -> Option<Lines> {
    let series = series(sets, metric, |row| (row.size == size).then_some(row.clients as f64));
    let (x, y) =
        (Axis::clients(&all_of(sets, RecordSet::clients)), Axis::values(metric.title(), reach(sets, metric)));
    (!series.is_empty()).then(|| Lines { title: size.to_string(), x, y, series, guide: Vec::new() })
}

/// The message sizes of a set in bytes; of workloads the means.
fn bytes(set: &RecordSet) -> Vec<usize> {
    set.sizes().into_iter().map(|size| size.bytes).collect()
}

/// The distinct values of `of` over all sets, ascending.
fn all_of<T: Ord>(sets: &[RecordSet], of: fn(&RecordSet) -> Vec<T>) -> Vec<T> {
    let mut values: Vec<_> = sets.iter().flat_map(of).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// `64 KiB, 8 clients`
fn cell_label(size: MessageSize, clients: usize) -> String {
    format!("{}, {}", size, ClientCount(clients))
}

/// A sentence for each set, with the set's name if there are several.
fn of_each_set(sets: &[RecordSet], sentence: impl Fn(&RecordSet) -> Option<String>) -> Vec<String> {
    let labelled = |set: &RecordSet| {
        let sentence = sentence(set)?;
        Some(if set.label.is_empty() { sentence } else { format!("{}: {sentence}", set.label) })
    };
    sets.iter().filter_map(labelled).collect()
}

/// A sentence with the number of cells in which each path is best by the metric, and the widest gap.
fn leads(set: &RecordSet, metric: RecordMetric) -> Option<String> {
    let mut ahead: Vec<(&str, usize)> = set.paths().into_iter().map(|path| (path, 0)).collect();
    let (mut cells, mut widest) = (0, (0.0, String::new()));
    for (size, clients) in set.cells() {
        let mut rows: Vec<(&str, f64)> = set
            .rows
            .iter()
            .filter(|row| (row.size, row.clients) == (size, clients))
            .filter_map(|row| Some((row.path.as_str(), row.figure(metric)?.value)))
            .filter(|row| row.1 > 0.0)
            .collect();
        rows.sort_by(|one, other| one.1.total_cmp(&other.1));
        if metric.more_is_better() {
            rows.reverse();
        }
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
        if rows.len() < 2 {
            continue;
        }
        cells += 1;
        if first.1 == last.1 {
            continue;
        }
        ahead.iter_mut().filter(|path| path.0 == first.0).for_each(|path| path.1 += 1);
        let gap = (first.1 / last.1).max(last.1 / first.1);
        if gap > widest.0 {
            let cell = cell_label(size, clients);
            widest = (gap, format!("{} against {} at {cell}", first.0, last.0));
        }
    }
    ahead.retain(|path| path.1 > 0);
    ahead.sort_by_key(|path| std::cmp::Reverse(path.1));
    let counts: Vec<_> = ahead.iter().map(|(path, count)| format!("{path} in {count}")).collect();
    if cells > 0 && counts.is_empty() {
        return Some("The same for all paths.".to_owned());
    }
    let best = if metric.more_is_better() { "Highest" } else { "Lowest" };
    let of = if cells == 1 { "1 cell".to_owned() } else { format!("{cells} cells") };
    (cells > 0).then(|| {
        format!(
            "{best}: {} of {of}. Widest gap: {} times, {}.",
            counts.join(", "),
            significant(widest.0),
            widest.1
        )
    })
}

/// A sentence about the meaning of the bars in plots of plain figures.
fn spread_note(sets: &[RecordSet], metric: RecordMetric) -> Option<String> {
    let with = sets.iter().flat_map(|set| &set.rows).filter_map(|row| row.figure(metric));
    let with = with.filter(|figure| figure.interval.is_some()).count();
    (with > 0).then(|| match sets.iter().any(|set| set.conditions.is_none()) {
        true => "Bars: 95 % intervals, for Criterion's sets of the mean of its samples.".to_owned(),
        false => "Bars: the interval of the ratio to the reference path.".to_owned(),
    })
}
