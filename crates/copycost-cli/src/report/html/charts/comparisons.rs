//! Comparisons of paths with the reference path, with their intervals.

use super::{Chart, Content, Plots, all_of, of_each_set};
use crate::compare::metric::Metric;
use crate::record::Comparison;
use crate::record::Named;
use crate::report::listing::{Listing, UNKNOWN};
use crate::report::metric::RecordFigure;
use crate::report::plot::axis::Axis;
use crate::report::plot::intervals::{Intervals, Ratio};
use crate::report::plot::mark::SeriesStyle;
use crate::report::plot::short;
use crate::report::set::{RecordSet, place};
use crate::stats::EQUIVALENT_WITHIN;
use crate::stats::Judgement;
use copycost::units::{ClientCount, significant};

pub(super) const CHART: Chart =
    Chart { id: "comparisons", title: "Paths compared with the reference, with intervals", content };

/// The metrics, and the titles of their axes.
const METRICS: [(Metric, &str); 3] = [
    (Metric::Throughput, "throughput, right is faster"),
    (Metric::Demand, "CPU time of both ends, left is cheaper"),
    (Metric::SenderDemand, "CPU time of the sender, left is cheaper"),
];

fn content(sets: &[RecordSet]) -> Content {
    let mut panels = Vec::new();
    for (metric, x_title) in METRICS {
        let x = axis(sets, metric, x_title);
        // Plots of the same clients in different sets come next to each other.
        for clients in all_of(sets, RecordSet::clients) {
            panels.extend(sets.iter().filter_map(|set| panel(set, metric, &x, clients)));
        }
    }
    if panels.is_empty() {
        return Content::Missing(
            "These results hold no ratios with intervals, and figures alone do not show that one path beats another."
                .to_owned(),
        );
    }
    let mut caption = of_each_set(sets, sentence);
    caption.push(format!(
        "Lines are intervals over set-ups, corrected for the number of comparisons; hollow: undecided. The band is \
         ±{} %, within which paths count as equivalent.",
        100.0 * EQUIVALENT_WITHIN
    ));
    Plots::content(panels, caption, table(sets))
}

fn panel(set: &RecordSet, metric: Metric, x: &Axis, clients: usize) -> Option<String> {
    let mut rows: Vec<&Comparison> =
        set.comparisons.iter().filter(|c| c.metric.is(metric) && c.clients == clients).collect();
    let reference = rows.first()?.reference.clone();
    rows.sort_by_key(|c| (place(&c.path), c.size));
    let title = match set.label.as_str() {
        "" => format!("compared with {reference}, {}", ClientCount(clients)),
        label => format!("compared with {reference}, {} · {label}", ClientCount(clients)),
    };
    let ratios = rows.into_iter().map(ratio).collect();
    Some(Intervals { title, x: x.clone(), equal_within: EQUIVALENT_WITHIN, ratios }.svg())
}

/// One axis for all plots of a metric, so that they can be compared.
fn axis(sets: &[RecordSet], metric: Metric, title: &str) -> Axis {
    let all = sets.iter().flat_map(|set| &set.comparisons).filter(|comparison| comparison.metric.is(metric));
    Axis::ratios(title, all.flat_map(|c| [c.ratio, c.low, c.high]).flatten())
}

fn ratio(comparison: &Comparison) -> Ratio {
    let usable = |value: &f64| value.is_finite() && *value > 0.0;
    let interval = comparison.low.zip(comparison.high).filter(|(low, high)| usable(low) && usable(high));
    Ratio {
        label: format!("{} {}", comparison.path, comparison.size),
        look: SeriesStyle {
            place: place(&comparison.path),
            set: usize::from(comparison.word.is(Judgement::Undecided)),
        },
        figure: comparison.ratio.filter(usable).map(|value| RecordFigure { value, interval }),
        outcome: short(&comparison.word.to_string(), 12),
    }
}

fn sentence(set: &RecordSet) -> Option<String> {
    let mut outcomes: Vec<(&Named<Judgement>, usize)> = Vec::new();
    for comparison in set.comparisons.iter().filter(|comparison| comparison.metric.is(Metric::Throughput)) {
        match outcomes.iter_mut().find(|outcome| *outcome.0 == comparison.word) {
            Some(outcome) => outcome.1 += 1,
            None => outcomes.push((&comparison.word, 1)),
        }
    }
    let counts: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    (!counts.is_empty()).then(|| format!("Of the throughputs: {}.", counts.join(", ")))
}

/// A table of every comparison of the sets.
pub(in crate::report) fn table(sets: &[RecordSet]) -> Listing {
    let header = [
        "set", "metric", "path", "beside", "size", "clients", "ratio", "interval", "word", "set-ups", "note",
    ];
    let skipped = usize::from(sets.len() < 2);
    let number = |value: Option<f64>| value.map_or_else(|| UNKNOWN.to_owned(), significant);
    let line = |set: &RecordSet, c: &Comparison| {
        let interval = format!("{} to {}", number(c.low), number(c.high));
        let names = [set.label.clone(), c.metric.to_string(), c.path.clone(), c.reference.clone()];
        let cell = [c.size.to_string(), c.clients.to_string(), number(c.ratio), interval];
        let rest = [c.word.to_string(), c.setups.to_string(), c.note.clone().unwrap_or_default()];
        names.into_iter().chain(cell).chain(rest).skip(skipped).collect()
    };
    let rows = sets.iter().flat_map(|set| set.comparisons.iter().map(move |c| line(set, c))).collect();
    Listing { header: header.into_iter().skip(skipped).map(str::to_owned).collect(), rows }
}
