//! Speed-up against the number of clients: throughput divided by that with the fewest clients, a plot for each size.

use super::{Chart, Content, Plots, all_of, cell_label, of_each_set, series};
use crate::record::MessageSize;
use crate::report::listing::{Listing, UNKNOWN, cell, cell_header};
use crate::report::metric::{RecordFigure, RecordMetric};
use crate::report::plot::axis::Axis;
use crate::report::plot::lines::Lines;
use crate::report::set::{RecordSet, SetRow};
use copycost::units::significant;

pub(super) const CHART: Chart =
    Chart { id: "speedup", title: "Speed-up against the number of clients", content };

fn content(sets: &[RecordSet]) -> Content {
    let clients = all_of(sets, RecordSet::clients);
    if clients.len() < 2 {
        return Content::Missing(
            "These results have one number of clients: `copycost run --clients 1,2,8` shows how paths scale."
                .to_owned(),
        );
    }
    let sizes = all_of(sets, RecordSet::sizes);
    let most =
        sets.iter().flat_map(|set| set.rows.iter().filter_map(|row| of_row(set, row))).fold(1.0, f64::max);
    let panels = sizes.iter().filter_map(|size| panel(sets, *size, &clients, most)).collect();
    Plots::content(panels, of_each_set(sets, best), table(sets))
}

/// The throughput of a row divided by that of its path with the fewest clients.
fn of_row(set: &RecordSet, row: &SetRow) -> Option<f64> {
    let rows = set.rows.iter().filter(|other| (&other.path, other.size) == (&row.path, row.size));
    let base = rows.min_by_key(|row| row.clients)?.figure(RecordMetric::Throughput)?.value;
    let ratio = row.figure(RecordMetric::Throughput)?.value / base;
    ratio.is_finite().then_some(ratio)
}

fn panel(sets: &[RecordSet], size: MessageSize, clients: &[usize], most: f64) -> Option<String> {
    let mut lines =
        series(sets, RecordMetric::Throughput, |row| (row.size == size).then_some(row.clients as f64));
    for line in &mut lines {
        let base = line.points.first()?.1.value;
        line.points.iter_mut().for_each(|point| point.1 = RecordFigure::plain(point.1.value / base));
    }
    let (fewest, last) = (*clients.first()? as f64, *clients.last()? as f64);
    // The ideal line ends at the number of CPUs.
    let cpus =
        sets.iter().filter_map(|set| set.conditions.as_ref()).map(|c| c.cpus).max().filter(|cpus| *cpus > 0);
    let ideal = (cpus.map_or(last, |cpus| last.min(cpus as f64)) / fewest).max(1.0);
    let guide = vec![(fewest, 1.0), (fewest * ideal, ideal), (last, ideal)];
    let title = size.to_string();
    let y = Axis::linear("throughput, times that of the fewest clients", most.max(ideal));
    (!lines.is_empty()).then(|| Lines { title, x: Axis::clients(clients), y, series: lines, guide }.svg())
}

fn best(set: &RecordSet) -> Option<String> {
    let of = |row: &SetRow| Some((row.path.clone(), row.size, row.clients, of_row(set, row)?));
    let all: Vec<_> = set.rows.iter().filter_map(of).filter(|row| row.3 != 1.0).collect();
    let by = |one: &&(String, MessageSize, usize, f64), other: &&(String, MessageSize, usize, f64)| {
        one.3.total_cmp(&other.3)
    };
    let text = |row: &(String, MessageSize, usize, f64)| {
        format!("{} times, {} at {}", significant(row.3), row.0, cell_label(row.1, row.2))
    };
    let (most, least) = (all.iter().max_by(by)?, all.iter().min_by(by)?);
    let cpus = set.conditions.as_ref().map(|conditions| conditions.cpus).filter(|cpus| *cpus > 0);
    let ideal = cpus.map_or_else(
        || " Dashed: proportional to the number of clients.".to_owned(),
        |cpus| format!(" Dashed: proportional to the number of clients, up to the machine's {cpus} CPUs."),
    );
    Some(format!("Highest: {}; lowest: {}.{ideal}", text(most), text(least)))
}

fn table(sets: &[RecordSet]) -> Listing {
    let mut header = cell_header(sets);
    header.push("speed-up".to_owned());
    let line = |set: &RecordSet, row: &SetRow| {
        let ratio = of_row(set, row).map_or_else(|| UNKNOWN.to_owned(), significant);
        cell(sets, set, row).into_iter().chain([ratio]).collect()
    };
    let rows = sets.iter().flat_map(|set| set.rows.iter().map(move |row| line(set, row))).collect();
    Listing { header, rows }
}
