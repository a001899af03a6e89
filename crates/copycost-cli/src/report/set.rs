//! What a report is made of: sets of rows. A set holds what was measured under the same conditions and settings, so
//! that its figures may stand on one line of a plot; two runs, or two placements in one file, are two sets.
//!
//! Files of one machine that measured different cells in the same way are joined. Where two files hold the same
//! cell they are different runs, and figures of different runs are shown side by side, never mixed.

mod sides;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::dated::Dated;
use super::metric::{RecordFigure, RecordMetric};
use crate::compare::metric::Metric as Compared;
use crate::compare::verdict::{headline, lead};
use crate::record::{
    CellFailure, Comparison, Conditions, CostModel, Crossover, Explanation, Load, Record, Results,
};

pub use sides::side_by_side;

/// What can differ between the records of a run, in the order in which it is told.
pub type Settings = [String; 9];

/// One path in one cell, whoever measured it.
#[derive(Debug, Clone)]
pub struct SetRow {
    /// The send path.
    pub path: String,
    /// The message's size in bytes.
    pub size: usize,
    /// The clients.
    pub clients: usize,
    /// What `copycost run` wrote; Criterion has no such thing.
    pub record: Option<Record>,
    /// Figures that no record holds.
    pub figures: BTreeMap<RecordMetric, RecordFigure>,
    /// When each of them was measured, where that is known.
    pub measured: BTreeMap<RecordMetric, Dated>,
}

impl SetRow {
    /// The figure, from the record or beside it.
    pub fn figure(&self, metric: RecordMetric) -> Option<RecordFigure> {
        self.figures.get(&metric).copied().or_else(|| metric.of(self.record.as_ref()?))
    }
}

/// Rows measured under the same conditions and settings.
#[derive(Debug, Clone, Default)]
pub struct RecordSet {
    /// What tells it from the other sets; empty where there is only one.
    pub label: String,
    /// Why its figures do not stand on one line with those of the first set, where their conditions differ.
    pub differs: Option<String>,
    /// The files it was read from.
    pub files: Vec<String>,
    /// Where it was measured; `None` for Criterion, which does not say.
    pub conditions: Option<Conditions>,
    /// How it was measured.
    pub settings: Settings,
    /// What was measured.
    pub rows: Vec<SetRow>,
    /// What could not be.
    pub failures: Vec<CellFailure>,
    /// Paths beside the reference path.
    pub comparisons: Vec<Comparison>,
    /// Sizes from which one path beats another.
    pub crossovers: Vec<Crossover>,
    /// Where the CPU time of paths goes.
    pub explanations: Vec<Explanation>,
    /// Cost models.
    pub models: Vec<CostModel>,
    /// The answer in one sentence, of each run that is joined here.
    pub answers: Vec<String>,
    /// The answer, in sentences.
    pub verdict: Vec<String>,
    /// The load for which a reader wants cores.
    pub load: Option<Load>,
    /// The command lines that measured it.
    pub commands: Vec<String>,
}

impl RecordSet {
    /// The row of a path in a cell.
    pub fn row(&self, path: &str, size: usize, clients: usize) -> Option<&SetRow> {
        self.rows.iter().find(|row| (row.path.as_str(), row.size, row.clients) == (path, size, clients))
    }

    /// The paths, in the order of the list of all paths; those of a later version follow.
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

    /// The message sizes, ascending.
    pub fn sizes(&self) -> Vec<usize> {
        ascending(self.rows.iter().map(|row| row.size))
    }

    /// The client counts, ascending.
    pub fn clients(&self) -> Vec<usize> {
        ascending(self.rows.iter().map(|row| row.clients))
    }

    /// How many hosts receive; `None` where nothing was measured, or Criterion did.
    pub fn client_hosts(&self) -> Option<usize> {
        self.rows.iter().find_map(|row| row.record.as_ref()).map(|record| record.client_hosts)
    }

    /// The cells, by clients and then size.
    pub fn cells(&self) -> Vec<(usize, usize)> {
        let mut cells: Vec<_> = self.rows.iter().map(|row| (row.clients, row.size)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells.into_iter().map(|(clients, size)| (size, clients)).collect()
    }
}

/// A path's place among all paths; its colour and its marker follow from it. Another build of it or another offset has the
/// colour of the path.
pub fn place(path: &str) -> usize {
    let path = path.split('@').next().unwrap_or(path);
    copycost::send::ALL.iter().position(|known| known.name == path).unwrap_or(copycost::send::ALL.len())
}

/// The sets of one file: its records, parted by their settings.
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
        set.commands = vec![command_line(&results.conditions.command)];
    }
    // Comparisons and failures do not say their settings, but for the number of hosts; a run has one of each, and it is
    // its first.
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
    sets[0].explanations.clone_from(&results.explanations);
    sets[0].models.clone_from(&results.models);
    sets[0].verdict.clone_from(&results.verdict);
    // Files of a version that kept none have what it is drawn from.
    sets[0].answers.extend(results.answer.clone().or_else(|| headline(results)));
    sets.iter_mut().for_each(|set| set.load = results.load());
    sets.iter_mut().for_each(RecordSet::add_intervals);
    sets
}

impl RecordSet {
    /// By what its paths are ranked first.
    pub fn lead(&self) -> Compared {
        lead(self.rows.iter().filter_map(|row| row.record.as_ref()))
    }

    /// A record has no interval of its own. Its comparison has: that of its ratio, which is laid on the reference.
    fn add_intervals(&mut self) {
        for comparison in &self.comparisons {
            // In the lab the demand of both ends has the relay's in it, and no figure of a record has.
            let metric = match comparison.metric.parse() {
                Ok(compared @ (Compared::Throughput | Compared::SenderDemand)) => {
                    RecordMetric::from(compared)
                }
                _ => continue,
            };
            let (size, clients) = (comparison.size, comparison.clients);
            let of = |path: &str| self.row(path, size, clients)?.figure(metric);
            let (Some(own), Some(reference)) = (of(&comparison.path), of(&comparison.reference)) else {
                continue;
            };
            let Some((low, high)) = comparison.low.zip(comparison.high) else { continue };
            let interval = Some((low * reference.value, high * reference.value));
            let row = self.rows.iter_mut().find(|row| {
                (row.path.as_str(), row.size, row.clients) == (comparison.path.as_str(), size, clients)
            });
            if let Some(row) = row {
                row.figures.insert(metric, RecordFigure { interval, ..own });
            }
        }
    }
}

/// The words of [`Settings`], for a sentence.
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

/// As a shell takes it.
fn command_line(words: &[String]) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = |word: &String| match !word.is_empty() && word.chars().all(harmless) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn ascending(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
