//! Message latency against the number of clients, a plot for each size.

use super::{Chart, Content, Plots, all_of, leads, of_each_set, over_clients};
use crate::report::listing::Listing;
use crate::report::metric::RecordMetric;
use crate::report::plot::lines::Lines;
use crate::report::set::RecordSet;

pub(super) const CHART: Chart =
    Chart { id: "latency", title: "Message latency against the number of clients", content };

fn content(sets: &[RecordSet]) -> Content {
    let sizes = all_of(sets, RecordSet::sizes);
    let panels = |metric| sizes.iter().filter_map(move |size| over_clients(sets, metric, *size));
    let (median, mean): (Vec<_>, Vec<_>) =
        (panels(RecordMetric::LatencyMedian).collect(), panels(RecordMetric::LatencyMean).collect());
    let mut caption = Vec::new();
    let mut metrics = Vec::new();
    for (metric, panels, note) in [
        (RecordMetric::LatencyMedian, &median, "Lines: the median; bars reach up to the 99th percentile."),
        (
            RecordMetric::LatencyMean,
            &mean,
            "Lines: the mean, as Criterion measures it, with its 95 % interval.",
        ),
    ] {
        if !panels.is_empty() {
            metrics.push(metric);
            caption.extend(of_each_set(sets, |set| leads(set, metric)));
            caption.push(note.to_owned());
        }
    }
    if metrics.is_empty() {
        return Content::Missing(
            "No latency in these results: `copycost run --latency` and `cargo bench --bench latency` measure it."
                .to_owned(),
        );
    }
    caption.push(
        "From the request for one message to its last byte at the client, with TCP_NODELAY.".to_owned(),
    );
    let panels = median.into_iter().chain(mean).map(Lines::svg).collect();
    Plots::content(panels, caption, Listing::of_metrics(sets, &metrics))
}
