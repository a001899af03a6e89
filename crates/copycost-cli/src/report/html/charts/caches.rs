//! The effect of sending on the caches: misses and cycles if the machine counts them. Otherwise the reason why it does
//! not, and the pointer chase, which measures the effect indirectly.

use super::{Chart, Content, Plots, all_of, cell_label, leads, named, of_each_set, over_sizes};
use crate::report::conditions::why_not_counted;
use crate::report::listing::{Listing, cell, cell_header};
use crate::report::metric::RecordMetric;
use crate::report::plot::bars::{Bar, BarSegment, Bars};
use crate::report::plot::ink::Ink;
use crate::report::plot::lines::Lines;
use crate::report::set::{RecordSet, SetRow, place};
use copycost::units::{ByteSize, ClientCount, significant};

pub(super) const CHART: Chart = Chart { id: "caches", title: "Caches and cycles", content };

const COUNTED: [RecordMetric; 3] =
    [RecordMetric::CyclesPerByte, RecordMetric::FirstLevelMisses, RecordMetric::LastLevelMisses];

/// The most bars in the plot; the table has the rest.
const MOST_BARS: usize = 24;

fn content(sets: &[RecordSet]) -> Content {
    let fewest = all_of(sets, RecordSet::clients).into_iter().next().unwrap_or(1);
    let mut panels: Vec<_> =
        COUNTED.iter().filter_map(|metric| over_sizes(sets, *metric, fewest)).map(Lines::svg).collect();
    let mut caption = Vec::new();
    let mut table = Listing::of_metrics(sets, &COUNTED);
    if panels.is_empty() {
        caption.push(reason(sets));
        let (bars, listing) = chase(sets);
        if bars.is_empty() {
            let how = "`copycost run --pollution 1MiB` shows from outside what sending does to the caches.";
            return Content::Missing(format!("{} {how}", reason(sets)));
        }
        caption.push(
            "Instead: the time of one step of a pointer chase between messages. Hatched: the time without \
             sending; the rest: the time added because sending evicts data from the caches."
                .to_owned(),
        );
        let title = "time of one access, ns".to_owned();
        panels.push(Bars { title, bars }.svg());
        table = listing;
    } else {
        for metric in COUNTED {
            caption.extend(of_each_set(sets, |set| {
                Some(format!("{}. {}", metric.title(), leads(set, metric)?))
            }));
        }
        caption.push(format!("Plotted for {}.", ClientCount(fewest)));
    }
    Plots::content(panels, caption, table)
}

/// The reasons why nothing was counted, each once.
fn reason(sets: &[RecordSet]) -> String {
    let mut reasons: Vec<String> = sets.iter().map(why_not_counted).collect();
    reasons.dedup();
    reasons.join(" ")
}

fn chase(sets: &[RecordSet]) -> (Vec<Bar>, Listing) {
    let mut header = cell_header(sets);
    header.extend(["ns between messages", "ns without sending", "table"].map(str::to_owned));
    let mut listing = Listing { header, rows: Vec::new() };
    let mut bars = Vec::new();
    for set in sets {
        for row in &set.rows {
            let Some(walk) = row.record.as_ref().and_then(|record| record.pollution) else { continue };
            let (busy, idle) = (walk.ns_per_access, walk.idle_ns_per_access);
            let mut line = cell(sets, set, row);
            line.extend([significant(busy), significant(idle), ByteSize(walk.table_bytes).to_string()]);
            listing.rows.push(line);
            if bars.len() < MOST_BARS && busy.is_finite() && idle.is_finite() && busy >= 0.0 && idle >= 0.0 {
                bars.push(bar(set, row, busy, idle));
            }
        }
    }
    (bars, listing)
}

fn bar(set: &RecordSet, row: &SetRow, busy: f64, idle: f64) -> Bar {
    let ink = Ink::Series(place(&row.path));
    let label = format!("{}, {}", named(&row.path, set), cell_label(row.size, row.clients));
    let segment = |value: f64, hatched| BarSegment { value, ink, hatched };
    let segments = vec![segment(busy.min(idle), true), segment((busy - idle).max(0.0), false)];
    Bar { label, segments, figure: format!("{} ns", significant(busy)) }
}
