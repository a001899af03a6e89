//! Service demand against message size, for the sender, the receiver and the whole system. Plotted for the fewest
//! clients, where connections disturb each other least; the table has all.

use super::{Chart, Content, Plots, all_of, leads, of_each_set, over_sizes};
use crate::report::listing::Listing;
use crate::report::metric::RecordMetric;
use crate::report::plot::lines::Lines;
use crate::report::set::RecordSet;
use copycost::units::ClientCount;

pub(super) const CHART: Chart =
    Chart { id: "demand", title: "Service demand: CPU time for each KiB moved", content };

/// The metrics of separate ends and of the system. Criterion measures only the sum of both ends.
const APART: [RecordMetric; 3] =
    [RecordMetric::SenderDemand, RecordMetric::ReceiverDemand, RecordMetric::SystemDemand];

fn content(sets: &[RecordSet]) -> Content {
    let has = |metric: &RecordMetric| {
        sets.iter().flat_map(|set| &set.rows).any(|row| row.figure(*metric).is_some())
    };
    let mut metrics: Vec<_> = APART.into_iter().filter(has).collect();
    // The sum adds nothing if both parts are known, but a set may have only the sum.
    let only_sum = sets.iter().flat_map(|set| &set.rows);
    let only_sum = only_sum
        .filter(|row| row.figure(RecordMetric::SenderDemand).is_none())
        .any(|row| row.figure(RecordMetric::BothDemand).is_some());
    if only_sum {
        metrics.insert(0, RecordMetric::BothDemand);
    }
    let clients = all_of(sets, RecordSet::clients);
    let Some(fewest) =
        clients.iter().copied().find(|n| metrics.iter().any(|m| over_sizes(sets, *m, *n).is_some()))
    else {
        return Content::Missing(missing(sets));
    };
    let panel = |metric: &RecordMetric| {
        let lines = over_sizes(sets, *metric, fewest)?;
        Some(Lines { title: format!("{}, {}", end_name(*metric), lines.title), ..lines }.svg())
    };
    let panels = metrics.iter().filter_map(panel).collect();
    let shown = metrics.first().copied().unwrap_or(RecordMetric::BothDemand);
    let mut caption = of_each_set(sets, |set| Some(format!("{}. {}", end_name(shown), leads(set, shown)?)));
    if clients.len() > 1 {
        caption.push(format!("Plotted for {}; the table has all.", ClientCount(fewest)));
    }
    caption.extend(without_system(sets));
    Plots::content(panels, caption, Listing::of_metrics(sets, &metrics))
}

fn end_name(metric: RecordMetric) -> &'static str {
    match metric {
        RecordMetric::SenderDemand => "Sender",
        RecordMetric::ReceiverDemand => "Receiver",
        RecordMetric::SystemDemand => "System",
        _ => "Both ends",
    }
}

/// The reason why the system's CPU time is missing, if it is.
fn without_system(sets: &[RecordSet]) -> Option<String> {
    let records = || sets.iter().flat_map(|set| &set.rows).filter_map(|row| row.record.as_ref());
    let without = || records().filter(|record| record.cpu.system_ns_per_kib.is_none());
    let reason = without().find_map(|record| record.cpu.missing.get("system"))?;
    let (count, all) = (without().count(), records().count());
    Some(format!("No figure of the system for {count} of {all}: {reason}."))
}

fn missing(sets: &[RecordSet]) -> String {
    let mut records = sets.iter().flat_map(|set| &set.rows).filter_map(|row| row.record.as_ref());
    let reason = records.find_map(|record| record.cpu.missing.get("sender").cloned());
    reason.map_or_else(
        || {
            "No CPU time in these results: `cargo bench --bench cost` and `copycost run` measure it."
                .to_owned()
        },
        |reason| format!("No CPU time in these results: {reason}."),
    )
}
