//! The lab: the sender's CPU time against message size, a plot for each footprint. A dashed line marks the size from
//! which the path that sends by reference is cheaper.
//!
//! The line follows from the cells of the plot by the rule of [`crate::compare::crossover`]: it is at the smallest size
//! from which the path wins at every size measured.

use super::{Chart, Content, Plots, over_sizes, reach};
use crate::compare::metric::Metric;
use crate::report::listing::Listing;
use crate::report::metric::RecordMetric;
use crate::report::plot::lines::Lines;
use crate::report::set::RecordSet;
use crate::stats::Judgement;
use crate::verdict::LAB;
use copycost::units::{ByteSize, ClientCount};

pub(super) const CHART: Chart = Chart {
    id: "lab",
    title: "In the lab: what sending costs the sender, and from which size zero copy is cheaper",
    content,
};

fn content(sets: &[RecordSet]) -> Content {
    let in_lab: Vec<&RecordSet> = sets.iter().filter(|set| set.settings[0] == "lab").collect();
    if in_lab.is_empty() {
        return Content::Absent;
    }
    let (mut panels, mut caption) = (Vec::new(), vec![LAB.to_owned()]);
    for set in &in_lab {
        let footprint = &set.settings[5];
        for clients in set.clients() {
            let of_set = std::slice::from_ref(*set);
            let Some(lines) = over_sizes(of_set, RecordMetric::SenderDemand, clients) else { continue };
            let title = format!("{footprint}, {}", ClientCount(clients));
            let found = crossing(set, clients, Metric::SenderDemand);
            let guide = found.as_ref().map(|found| found.guide(of_set)).unwrap_or_default();
            panels.push(Lines { title: title.clone(), guide, ..lines }.svg());
            let sender = crossing_text(found.as_ref(), "by the sender's CPU time");
            let sum = crossing_text(
                crossing(set, clients, Metric::Demand).as_ref(),
                "by that of sender, receiver, relay and ksoftirqd together",
            );
            caption.push(format!("{title}: {sender}; {sum}."));
        }
    }
    caption.push("Dashed: the smallest size from which it is cheaper at every size measured.".to_owned());
    Plots::content(
        panels,
        caption,
        Listing::of_metrics(sets, &[RecordMetric::SenderDemand, RecordMetric::LabSum]),
    )
}

/// The first path that sends by reference, and the sizes between which it begins to win.
struct Found {
    path: String,
    against: String,
    low: Option<usize>,
    high: Option<usize>,
}

fn crossing(set: &RecordSet, clients: usize, metric: Metric) -> Option<Found> {
    let by_reference = |path: &&str| {
        let mut records =
            set.rows.iter().filter(|row| row.path == **path).filter_map(|row| row.record.as_ref());
        records.any(|record| record.lab.as_ref().is_some_and(|lab| lab.probe == BY_REFERENCE))
    };
    let compared = |path: &&str| set.comparisons.iter().any(|comparison| comparison.path == **path);
    let path = set.paths().into_iter().filter(by_reference).find(compared)?.to_owned();
    let of_path = |comparison: &&crate::record::Comparison| {
        comparison.path == path && comparison.clients == clients && comparison.metric.is(metric)
    };
    let mut cells: Vec<_> = set.comparisons.iter().filter(of_path).collect();
    cells.sort_by_key(|comparison| comparison.size);
    let against = cells.first()?.reference.clone();
    let wins = cells.iter().rev().take_while(|comparison| comparison.word.is(Judgement::Faster)).count();
    let (below, above) = cells.split_at(cells.len() - wins);
    let size = |comparison: &&crate::record::Comparison| comparison.size.bytes;
    Some(Found { path, against, low: below.last().map(size), high: above.first().map(size) })
}

/// The text of [`copycost::send::Copies::ByReference`].
const BY_REFERENCE: &str = "by reference (probed)";

impl Found {
    /// The points of a vertical line from the bottom to the top of the plot.
    fn guide(&self, sets: &[RecordSet]) -> Vec<(f64, f64)> {
        let Some(high) = self.high else { return Vec::new() };
        let values: Vec<f64> = reach(sets, RecordMetric::SenderDemand).collect();
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        vec![(high as f64, least), (high as f64, most)]
    }
}

fn crossing_text(found: Option<&Found>, by: &str) -> String {
    let Some(Found { path, against, low, high }) = found else {
        return format!("no path that sends by reference was compared {by}");
    };
    match (low, high) {
        (Some(low), Some(high)) => {
            format!(
                "{path} beats {against} from a size between {} and {} on, {by}",
                ByteSize(*low),
                ByteSize(*high)
            )
        }
        (None, Some(high)) => {
            format!("{path} beats {against} from {} on, the smallest measured, {by}", ByteSize(*high))
        }
        (Some(low), None) => {
            format!(
                "no size from which {path} beats {against} {by} was found: at {}, the largest, it does not \
                 or is undecided",
                ByteSize(*low)
            )
        }
        (None, None) => format!("{path} and {against} were not compared {by}"),
    }
}
