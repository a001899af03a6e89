//! Latency and CPU time against the load that was offered: for each cell a plot of each path, and two of all paths.

use super::{Chart, Content, Plots};
use crate::record::{LoadCurve, LoadMetric, LoadPoint};
use crate::report::load_curve;
use crate::report::metric::RecordFigure;
use crate::report::plot::axis::Axis;
use crate::report::plot::lines::{LineSeries, Lines, SeriesForm};
use crate::report::plot::mark::SeriesStyle;
use crate::report::set::{RecordSet, place};

pub(super) const CHART: Chart =
    Chart { id: "loads", title: "Latency and CPU time against the load", content };

/// The lines of a path: the median is drawn strongly, the tail is paler.
const LINES: [(LoadMetric, SeriesForm); 3] = [
    (LoadMetric::P50, SeriesForm::Joined),
    (LoadMetric::P99, SeriesForm::Pale),
    (LoadMetric::P999, SeriesForm::PaleDotted),
];

fn content(sets: &[RecordSet]) -> Content {
    let curves: Vec<(&str, &LoadCurve)> = sets
        .iter()
        .flat_map(|set| set.load_curves.iter().map(move |curve| (set.label.as_str(), curve)))
        .collect();
    if curves.is_empty() {
        return Content::Absent;
    }
    let panels = curves.iter().flat_map(|(set, curve)| panels(set, curve)).collect();
    let mut caption = vec![
        "Latency runs from the moment at which a message was due. A path's strong line is the median, the pale line is \
         the 99th percentile, and the dotted line is the 99.9th. A line ends where the path is saturated."
            .to_owned(),
    ];
    for (set, curve) in &curves {
        let named = |sentence: String| match curves.len() {
            1 => sentence,
            _ => format!("{set} {}: {sentence}", curve.cell()).trim_start().to_owned(),
        };
        let settings = format!("Measured over {}.", curve.settings.join(", "));
        caption.extend([settings].into_iter().chain(load_curve::sentences(curve)).map(named));
    }
    Plots::content(panels, caption, load_curve::of_curves(&curves))
}

/// The load of a point on the axis: percent, or thousands of messages a second.
fn x_of(curve: &LoadCurve, point: &LoadPoint) -> f64 {
    match point.load {
        Some(share) if curve.saturation_per_second.is_some() => 100.0 * share,
        _ => point.offered_per_second / 1e3,
    }
}

fn x_axis(curve: &LoadCurve) -> Axis {
    let most = curve.points.iter().map(|point| x_of(curve, point)).fold(0.0, f64::max);
    let title = match curve.saturation_per_second {
        Some(_) => format!("load, % of what {} carries", curve.reference),
        None => "load, 1000 messages a second".to_owned(),
    };
    Axis::linear(&title, most)
}

fn latency(point: &LoadPoint, metric: LoadMetric) -> Option<RecordFigure> {
    let record = point.latency_at(metric.quantile()?)?;
    let us = |ns: u64| ns as f64 / 1e3;
    let interval = record.low.zip(record.high).map(|(low, high)| (us(low), us(high)));
    Some(RecordFigure { value: us(record.ns?), interval })
}

fn cpu(point: &LoadPoint) -> Option<RecordFigure> {
    let figure = point.sender_ns_per_message?;
    let interval = figure.low.zip(figure.high).map(|(low, high)| (low / 1e3, high / 1e3));
    Some(RecordFigure { value: figure.value / 1e3, interval })
}

fn series(
    curve: &LoadCurve,
    path: &str,
    (label, form): (&str, SeriesForm),
    figure: impl Fn(&LoadPoint) -> Option<RecordFigure>,
) -> Option<LineSeries> {
    let point = |point: &LoadPoint| Some((x_of(curve, point), figure(point)?));
    let points: Vec<_> = curve.of_path(path).filter_map(point).collect();
    let look = SeriesStyle { place: place(path), set: 0 };
    (!points.is_empty()).then(|| LineSeries { label: label.to_owned(), look, form, points })
}

/// A plot of each path with its median and its tail, then the furthest quantile and the CPU time of all paths.
fn panels(set: &str, curve: &LoadCurve) -> Vec<String> {
    let plain = |figure: RecordFigure| RecordFigure { interval: None, ..figure };
    let all = |metric: LoadMetric| curve.points.iter().filter_map(move |point| latency(point, metric));
    let values = LINES.iter().flat_map(|(metric, _)| all(*metric)).map(|figure| figure.value);
    let y = Axis::values("latency, µs", values);
    let cell = match set.is_empty() {
        true => curve.cell(),
        false => format!("{}, {set}", curve.cell()),
    };
    let plot = |what: &str, y: Axis, series: Vec<LineSeries>| {
        let title = format!("{what}, {cell}");
        (!series.is_empty()).then(|| Lines { title, x: x_axis(curve), y, series, guide: Vec::new() }.svg())
    };
    let of_path = |path: &str| {
        let line = |(metric, form): &(LoadMetric, SeriesForm)| {
            series(curve, path, (&metric.to_string(), *form), |point| latency(point, *metric).map(plain))
        };
        plot(path, y.clone(), LINES.iter().filter_map(line).collect())
    };
    let mut panels: Vec<Option<String>> = curve.paths().into_iter().map(of_path).collect();
    let of_all = |figure: &dyn Fn(&LoadPoint) -> Option<RecordFigure>| -> Vec<LineSeries> {
        let line = |path: &str| series(curve, path, (path, SeriesForm::Joined), figure);
        curve.paths().into_iter().filter_map(line).collect()
    };
    let ends = |figure: RecordFigure| {
        let (low, high) = figure.interval.unwrap_or((figure.value, figure.value));
        [low, figure.value, high]
    };
    // The tail of which most points know something; of equals the furthest.
    let tail = LoadMetric::QUANTILES.into_iter().max_by_key(|metric| (all(*metric).count(), *metric));
    if let Some(tail) = tail.filter(|_| curve.paths().len() > 1) {
        let y = Axis::values("latency, µs", all(tail).flat_map(ends));
        panels.push(plot(&format!("{tail} of all paths"), y, of_all(&|point| latency(point, tail))));
    }
    let y = Axis::values(
        "CPU time of the sender, µs/message",
        curve.points.iter().filter_map(cpu).flat_map(ends),
    );
    panels.push(plot("CPU time", y, of_all(&cpu)));
    panels.into_iter().flatten().collect()
}
