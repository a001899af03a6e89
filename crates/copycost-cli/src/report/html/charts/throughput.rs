//! Throughput against message size, a plot for each number of clients.

use super::{Chart, Content, Plots, all_of, leads, of_each_set, over_sizes, spread_note};
use crate::report::listing::Listing;
use crate::report::metric::RecordMetric;
use crate::report::plot::lines::Lines;
use crate::report::set::RecordSet;

pub(super) const CHART: Chart = Chart { id: "throughput", title: "Throughput against message size", content };

fn content(sets: &[RecordSet]) -> Content {
    let metric = RecordMetric::Throughput;
    let clients = all_of(sets, RecordSet::clients);
    let panels: Vec<_> =
        clients.iter().filter_map(|n| over_sizes(sets, metric, *n)).map(Lines::svg).collect();
    if panels.is_empty() {
        return Content::Missing("Nothing was measured.".to_owned());
    }
    let mut caption = of_each_set(sets, |set| leads(set, metric));
    caption.extend(spread_note(sets, metric));
    Plots::content(panels, caption, Listing::of_metrics(sets, &[metric]))
}
