//! Throughput and the server's CPU time against the number of client hosts, a pair of plots for each cell.

use super::{Chart, Content, Plots, all_of, cell_label, named, reach};
use crate::record::MessageSize;
use crate::report::listing::{Listing, UNKNOWN, cell, cell_header};
use crate::report::metric::RecordMetric;
use crate::report::plot::axis::Axis;
use crate::report::plot::lines::{LineSeries, Lines, SeriesForm};
use crate::report::plot::mark::SeriesStyle;
use crate::report::set::{RecordSet, SetRow, place};
use copycost::units::significant;

pub(super) const CHART: Chart =
    Chart { id: "hosts", title: "Throughput and server demand against the number of client hosts", content };

const METRICS: [RecordMetric; 2] = [RecordMetric::Throughput, RecordMetric::SenderDemand];

fn content(sets: &[RecordSet]) -> Content {
    let hosts = all_of(sets, |set| set.client_hosts().into_iter().collect());
    let records = || sets.iter().flat_map(|set| &set.rows).filter_map(|row| row.record.as_ref());
    if records().all(|record| record.hosts.is_none()) {
        return Content::Absent;
    }
    if hosts.len() < 2 {
        return Content::Missing(
            "These results have one number of client hosts: `copycost run --over mpi --client-hosts 1,2,4` shows how \
             paths scale with them."
                .to_owned(),
        );
    }
    let mut cells: Vec<_> = sets.iter().flat_map(RecordSet::cells).collect();
    cells.sort_unstable();
    cells.dedup();
    let panels = cells.iter().flat_map(|cell| METRICS.map(|metric| panel(sets, metric, *cell, &hosts)));
    let caption = least_even(sets).into_iter().collect();
    Plots::content(panels.flatten().collect(), caption, table(sets))
}

/// Whether two sets differ only in the number of client hosts. Such sets form one line.
fn alike(one: &RecordSet, other: &RecordSet) -> bool {
    one.files == other.files && one.settings[1..] == other.settings[1..]
}

fn panel(
    sets: &[RecordSet],
    metric: RecordMetric,
    (size, clients): (MessageSize, usize),
    hosts: &[usize],
) -> Option<String> {
    let firsts: Vec<_> =
        (0..sets.len()).filter(|n| !sets[..*n].iter().any(|before| alike(before, &sets[*n]))).collect();
    let mut series = Vec::new();
    for (number, first) in firsts.iter().enumerate() {
        let group: Vec<&RecordSet> = sets.iter().filter(|set| alike(set, &sets[*first])).collect();
        let mut paths: Vec<&str> = group.iter().flat_map(|set| set.paths()).collect();
        paths.sort_by_key(|path| place(path));
        paths.dedup();
        for path in paths {
            let point = |set: &&RecordSet| {
                let figure = set.row(path, size, clients)?.figure(metric)?;
                Some((set.client_hosts()? as f64, figure))
            };
            let mut points: Vec<_> = group.iter().filter_map(point).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            if points.len() > 1 {
                let label = if firsts.len() > 1 { named(path, &sets[*first]) } else { path.to_owned() };
                series.push(LineSeries {
                    label,
                    look: SeriesStyle { place: place(path), set: number },
                    form: SeriesForm::Joined,
                    points,
                });
            }
        }
    }
    let what =
        if metric == RecordMetric::SenderDemand { "server's CPU time, ns/KiB" } else { metric.title() };
    let (x, y) = (Axis::hosts(hosts), Axis::values(what, reach(sets, metric)));
    let title = cell_label(size, clients);
    (!series.is_empty()).then(|| Lines { title, x, y, series, guide: Vec::new() }.svg())
}

fn fairness(row: &SetRow) -> Option<f64> {
    row.record.as_ref()?.hosts.as_ref()?.fairness_jain
}

fn least_even(sets: &[RecordSet]) -> Option<String> {
    let rows = sets.iter().flat_map(|set| set.rows.iter().map(move |row| (set, row)));
    let (jain, set, row) = rows
        .filter_map(|(set, row)| Some((fairness(row)?, set, row)))
        .min_by(|one, other| one.0.total_cmp(&other.0))?;
    let (cell, hosts) = (cell_label(row.size, row.clients), set.client_hosts().unwrap_or(1));
    Some(format!(
        "Lowest fairness among the hosts by Jain's index (1: all equal): {}, {} at {cell} with {hosts} \
         hosts.",
        significant(jain),
        row.path
    ))
}

fn table(sets: &[RecordSet]) -> Listing {
    let mut header = cell_header(sets);
    header.extend(
        ["client hosts", "throughput, GB/s", "server, ns/KiB", "Jain's index", "least/most"]
            .map(str::to_owned),
    );
    let line = |set: &RecordSet, row: &SetRow| {
        let shown = |value: Option<f64>| value.map_or_else(|| UNKNOWN.to_owned(), significant);
        let of = |metric| shown(row.figure(metric).map(|figure| figure.value));
        let least = row.record.as_ref().and_then(|record| record.hosts.as_ref()?.fairness_min_over_max);
        let hosts = set.client_hosts().map_or_else(|| UNKNOWN.to_owned(), |hosts| hosts.to_string());
        let figures = [hosts, of(METRICS[0]), of(METRICS[1]), shown(fairness(row)), shown(least)];
        cell(sets, set, row).into_iter().chain(figures).collect()
    };
    let rows = sets.iter().flat_map(|set| set.rows.iter().map(move |row| line(set, row))).collect();
    Listing { header, rows }
}
