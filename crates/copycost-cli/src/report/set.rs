//! The input of a report: sets of rows. A set holds figures measured under the same conditions and settings, which may
//! be joined by a line in a plot. Two runs, or two placements in one file, are two sets.
//!
//! Files of one machine with different cells measured in the same way are joined. If two files hold the same cell they
//! are different runs, and figures of different runs are shown side by side and never mixed.

mod sides;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::bench_runs::Dated;
use super::metric::{RecordFigure, RecordMetric};
use crate::compare::metric::Metric as Compared;
use crate::record::{
    CellFailure, Comparison, Conditions, CostModel, Crossover, Explanation, Load, LoadCurve, MessageSize,
    Record, Results, WorkloadRecord,
};
use crate::verdict::{headline, leading_metric};

pub use sides::side_by_side;

/// The settings that can differ between the records of a run, in the order of [`SETTING_NAMES`].
pub type Settings = [String; 9];

/// The figures of one path in one cell, from `copycost run` or Criterion.
#[derive(Debug, Clone)]
pub struct SetRow {
    /// The name of the send path.
    pub path: String,
    /// The size of the messages.
    pub size: MessageSize,
    /// The number of clients.
    pub clients: usize,
    /// The record of `copycost run`; `None` for Criterion.
    pub record: Option<Record>,
    /// Figures that do not come from the record, or that extend it by an interval.
    pub figures: BTreeMap<RecordMetric, RecordFigure>,
    /// The dates of Criterion's figures, as far as they are known.
    pub measured: BTreeMap<RecordMetric, Dated>,
}

impl SetRow {
    /// The figure for a metric; `None` if it was not measured.
    pub fn figure(&self, metric: RecordMetric) -> Option<RecordFigure> {
        self.figures.get(&metric).copied().or_else(|| metric.of(self.record.as_ref()?))
    }
}

/// Rows measured under the same conditions and settings.
#[derive(Debug, Clone, Default)]
pub struct RecordSet {
    /// The name that distinguishes the set from the others; empty if there is only one.
    pub label: String,
    /// A sentence about the conditions in which the set differs from the first one; `None` if they are the same.
    pub differs: Option<String>,
    /// The names of the files of the set.
    pub files: Vec<String>,
    /// The conditions of the measurement; `None` for Criterion, which does not record them.
    pub conditions: Option<Conditions>,
    /// The values of the settings, which are the same for all rows.
    pub settings: Settings,
    /// What the messages were if they were not all the same.
    pub workload: Option<WorkloadRecord>,
    /// The measured paths and cells.
    pub rows: Vec<SetRow>,
    /// The cells that could not be measured.
    pub failures: Vec<CellFailure>,
    /// The comparisons of paths with the reference path.
    pub comparisons: Vec<Comparison>,
    /// The sizes from which one path beats another.
    pub crossovers: Vec<Crossover>,
    /// Paths under loads that did not wait, from `copycost run --load`.
    pub load_curves: Vec<LoadCurve>,
    /// The CPU time of paths by class, from `copycost explain`.
    pub explanations: Vec<Explanation>,
    /// The cost models, from `copycost predict`.
    pub models: Vec<CostModel>,
    /// The answer of each run in the set, in one sentence.
    pub answers: Vec<String>,
    /// The verdict, as sentences.
    pub verdict: Vec<String>,
    /// The load for which the user wants the number of cores.
    pub load: Option<Load>,
    /// The command lines of the runs in the set.
    pub commands: Vec<String>,
}

impl RecordSet {
    /// The row of a path in a cell; `None` if it was not measured.
    pub fn row(&self, path: &str, size: MessageSize, clients: usize) -> Option<&SetRow> {
        self.rows.iter().find(|row| (row.path.as_str(), row.size, row.clients) == (path, size, clients))
    }

    /// The paths in the order of the list of all paths. Paths of a later version come last.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !paths.contains(&row.path.as_str()) {
                paths.push(&row.path);
            }
        }
        paths.sort_by_key(|path| place(path));
        paths
    }

    /// The message sizes in bytes, ascending.
    pub fn sizes(&self) -> Vec<MessageSize> {
        ascending(self.rows.iter().map(|row| row.size))
    }

    /// The client counts, ascending.
    pub fn clients(&self) -> Vec<usize> {
        ascending(self.rows.iter().map(|row| row.clients))
    }

    /// The number of client hosts; `None` if the set has no record.
    pub fn client_hosts(&self) -> Option<usize> {
        self.rows.iter().find_map(|row| row.record.as_ref()).map(|record| record.client_hosts)
    }

    /// The cells as (size, clients), ordered by clients and then size.
    pub fn cells(&self) -> Vec<(MessageSize, usize)> {
        let mut cells: Vec<_> = self.rows.iter().map(|row| (row.clients, row.size)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells.into_iter().map(|(clients, size)| (size, clients)).collect()
    }
}

/// The index of a path in the list of all paths, which determines its colour and its marker. Other builds and other
/// offsets of a path have the same index.
pub fn place(path: &str) -> usize {
    let path = path.split('@').next().unwrap_or(path);
    copycost::send::ALL.iter().position(|known| known.name == path).unwrap_or(copycost::send::ALL.len())
}

/// The sets of one file: its records, grouped by their settings.
pub fn of_results(file: &str, results: &Results) -> Vec<RecordSet> {
    let mut sets: Vec<RecordSet> = Vec::new();
    for record in &results.records {
        let settings = settings(record);
        let row = SetRow {
            path: record.path.clone(),
            size: record.size,
            clients: record.clients,
            record: Some(record.clone()),
            figures: BTreeMap::new(),
            measured: BTreeMap::new(),
        };
        match sets.iter_mut().find(|set| set.settings == settings) {
            Some(set) => set.rows.push(row),
            None => sets.push(RecordSet { settings, rows: vec![row], ..RecordSet::default() }),
        }
    }
    if sets.is_empty() {
        sets.push(RecordSet::default());
    }
    for set in &mut sets {
        set.files = vec![file.to_owned()];
        set.conditions = Some(results.conditions.clone());
        set.workload.clone_from(&results.workload);
        set.commands = vec![command_line(&results.conditions.command)];
    }
    // Of their settings, comparisons and failures record only the number of hosts. So they go to the first set with
    // that number.
    let place = |sets: &[RecordSet], hosts: usize| {
        sets.iter().position(|set| set.client_hosts() == Some(hosts)).unwrap_or_default()
    };
    for failure in &results.failures {
        let place = place(&sets, failure.client_hosts);
        sets[place].failures.push(failure.clone());
    }
    for comparison in &results.comparisons {
        let place = place(&sets, comparison.client_hosts);
        sets[place].comparisons.push(comparison.clone());
    }
    for crossover in &results.crossovers {
        let place = place(&sets, crossover.client_hosts);
        sets[place].crossovers.push(crossover.clone());
    }
    sets[0].load_curves.clone_from(&results.load_curves);
    sets[0].explanations.clone_from(&results.explanations);
    sets[0].models.clone_from(&results.models);
    sets[0].verdict.clone_from(&results.verdict);
    // Files of an older version have no answer, but the data to derive it from.
    sets[0].answers.extend(results.answer.clone().or_else(|| headline(results)));
    sets.iter_mut().for_each(|set| set.load = results.load());
    sets.iter_mut().for_each(RecordSet::add_intervals);
    sets
}

impl RecordSet {
    /// The first metric by which the paths are ranked.
    pub fn lead(&self) -> Compared {
        leading_metric(self.rows.iter().filter_map(|row| row.record.as_ref()))
    }

    /// Adds intervals to figures. A record has none itself, but its comparison has an interval of the ratio, which is
    /// multiplied by the figure of the reference.
    fn add_intervals(&mut self) {
        for comparison in &self.comparisons {
            // In the lab the demand of both ends includes that of the relay, which no figure of a record does.
            let metric = match comparison.metric.known() {
                Some(compared @ (Compared::Throughput | Compared::SenderDemand)) => {
                    RecordMetric::from(*compared)
                }
                _ => continue,
            };
            let (size, clients) = (comparison.size, comparison.clients);
            let of = |path: &str| self.row(path, size, clients)?.figure(metric);
            let (Some(figure), Some(reference)) = (of(&comparison.path), of(&comparison.reference)) else {
                continue;
            };
            let Some((low, high)) = comparison.low.zip(comparison.high) else { continue };
            let interval = Some((low * reference.value, high * reference.value));
            let row = self.rows.iter_mut().find(|row| {
                (row.path.as_str(), row.size, row.clients) == (comparison.path.as_str(), size, clients)
            });
            if let Some(row) = row {
                row.figures.insert(metric, RecordFigure { interval, ..figure });
            }
        }
    }
}

/// The names of the [`Settings`].
pub const SETTING_NAMES: [&str; 9] = [
    "transport",
    "placement",
    "layout",
    "fields",
    "buffers",
    "footprint",
    "receive path",
    "send offset",
    "receive offset",
];

fn settings(record: &Record) -> Settings {
    let hosts = if record.client_hosts == 1 { "host" } else { "hosts" };
    let transport = match record.hosts {
        Some(_) => format!("{} with {} client {hosts}", record.transport, record.client_hosts),
        None => record.transport.clone(),
    };
    let [send_offset, receive_offset] = record.offsets_of_run().map(str::to_owned);
    [
        &transport,
        &record.placement,
        &record.layout,
        &record.fields,
        &record.buffers,
        &record.footprint,
        &record.receive,
        &send_offset,
        &receive_offset,
    ]
    .map(Clone::clone)
}

/// The command line with quotes for a shell.
fn command_line(arguments: &[String]) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = |argument: &String| match !argument.is_empty() && argument.chars().all(harmless) {
        true => argument.clone(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn ascending<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
