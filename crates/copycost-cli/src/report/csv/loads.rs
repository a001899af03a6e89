//! One line per path and load of `copycost run --load` and `--rate`.

use super::number;
use crate::record::{LoadCurve, LoadMetric, LoadPoint};
use crate::report::set::RecordSet;

type LoadColumn = (&'static str, fn(&LoadCurve, &LoadPoint) -> String);

fn latency(point: &LoadPoint, metric: LoadMetric) -> String {
    let ns = metric.quantile().and_then(|quantile| point.latency_at(quantile)?.ns);
    ns.map_or_else(String::new, |ns| ns.to_string())
}

fn end(point: &LoadPoint, metric: LoadMetric, upper: bool) -> String {
    let record = metric.quantile().and_then(|quantile| point.latency_at(quantile));
    let end = record.and_then(|record| if upper { record.high } else { record.low });
    end.map_or_else(String::new, |ns| ns.to_string())
}

/// The columns of a quantile: the latency and its interval in ns.
macro_rules! quantile {
    ($name:literal, $metric:ident) => {{
        let columns: [LoadColumn; 3] = [
            (concat!($name, "_ns"), |_, point| latency(point, LoadMetric::$metric)),
            (concat!($name, "_ns_low"), |_, point| end(point, LoadMetric::$metric, false)),
            (concat!($name, "_ns_high"), |_, point| end(point, LoadMetric::$metric, true)),
        ];
        columns
    }};
}

fn columns() -> Vec<LoadColumn> {
    let mut columns: Vec<LoadColumn> = vec![
        ("path", |_, point| point.path.clone()),
        ("size", |curve, _| curve.size.bytes.to_string()),
        ("workload", |curve, _| curve.size.workload.map_or_else(String::new, |name| name.to_string())),
        ("clients", |curve, _| curve.clients.to_string()),
        ("client_hosts", |curve, _| curve.client_hosts.to_string()),
        ("settings", |curve, _| curve.settings.join(", ")),
        ("arrivals", |curve, _| curve.arrivals.clone()),
        ("saturation_per_second", |curve, _| number(curve.saturation_per_second)),
        ("load", |_, point| number(point.load)),
        ("offered_per_second", |_, point| point.offered_per_second.to_string()),
        ("achieved_per_second", |_, point| point.achieved_per_second.to_string()),
        ("due", |_, point| point.due.to_string()),
        ("received", |_, point| point.received.to_string()),
        ("setups", |_, point| point.setups.to_string()),
        ("state", |_, point| point.state.to_string()),
    ];
    columns.extend(quantile!("p50", P50));
    columns.extend(quantile!("p90", P90));
    columns.extend(quantile!("p99", P99));
    columns.extend(quantile!("p999", P999));
    let rest: [LoadColumn; 8] = [
        ("max_ns", |_, point| point.max_ns.map_or_else(String::new, |ns| ns.to_string())),
        ("generator_late_p50_ns", |_, point| point.lateness.p50.to_string()),
        ("generator_late_p999_ns", |_, point| point.lateness.p999.to_string()),
        ("sender_ns_per_message", |_, point| number(point.sender_ns_per_message.map(|cpu| cpu.value))),
        ("peak_in_flight_bytes", |_, point| {
            point.ledger.as_ref().map_or_else(String::new, |ledger| ledger.peak_in_flight_bytes.to_string())
        }),
        ("notification_p50_ns", |_, point| {
            let ns = point.ledger.as_ref().and_then(|ledger| ledger.notification_p50_ns);
            ns.map_or_else(String::new, |ns| ns.to_string())
        }),
        ("notification_p99_ns", |_, point| {
            let ns = point.ledger.as_ref().and_then(|ledger| ledger.notification_p99_ns);
            ns.map_or_else(String::new, |ns| ns.to_string())
        }),
        ("verdict", |_, point| point.verdict.clone().unwrap_or_default()),
    ];
    columns.extend(rest);
    columns
}

/// The names of the columns.
pub(super) fn header() -> Vec<String> {
    let names = columns().into_iter().map(|(name, _)| name.to_owned());
    ["set".to_owned()].into_iter().chain(names).collect()
}

/// A line for each path at each load.
pub(super) fn lines(sets: &[RecordSet]) -> Vec<Vec<String>> {
    let columns = columns();
    let mut lines = Vec::new();
    for set in sets {
        for curve in &set.load_curves {
            let line = |point: &LoadPoint| {
                let cells = columns.iter().map(|(_, of)| of(curve, point));
                [set.label.clone()].into_iter().chain(cells).collect()
            };
            lines.extend(curve.points.iter().map(line));
        }
    }
    lines
}
