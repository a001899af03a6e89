//! A workload: how the sizes of its messages divide the messages, the bytes, and the time in each path's calls.

use super::{Chart, Content, Plots, named, of_each_set};
use crate::record::ClassShares;
use crate::report::listing::Listing;
use crate::report::plot::bars::{Bar, BarSegment, Bars};
use crate::report::plot::ink::{Ink, SERIES};
use crate::report::set::RecordSet;
use crate::report::workload;
use copycost::units::hundredths;

pub(super) const CHART: Chart =
    Chart { id: "workload", title: "The sizes of messages, and the time that each takes", content };

fn content(sets: &[RecordSet]) -> Content {
    let panels: Vec<_> = sets.iter().filter_map(panel).collect();
    if panels.is_empty() {
        return Content::Absent;
    }
    let caption = of_each_set(sets, |set| {
        let sentences = workload::sentences(set);
        (!sentences.is_empty()).then(|| sentences.join(" "))
    });
    let tables: Vec<_> = sets.iter().filter_map(workload::listing).collect();
    // Sets have different paths, so only that of a single one has columns that fit.
    let table = if let [table] = &tables[..] { table.clone() } else { joined(sets) };
    Plots::content(panels, caption, table)
}

/// A bar for the messages, one for the bytes, and one for each path.
fn panel(set: &RecordSet) -> Option<String> {
    let record = set.workload.as_ref()?;
    let bar = |label: String, shares: Vec<f64>| {
        let segment = |(index, share): (usize, &f64)| BarSegment {
            value: 100.0 * share,
            ink: Ink::Series(index % SERIES),
            hatched: index >= SERIES,
        };
        let largest = shares.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
        let figure = largest.and_then(|(index, share)| {
            Some(format!("{} {} %", record.classes.get(index)?.name, hundredths(100.0 * share)))
        });
        Bar {
            label,
            segments: shares.iter().enumerate().map(segment).collect(),
            figure: figure.unwrap_or_default(),
        }
    };
    let shares = |of: fn(&ClassShares) -> f64| record.classes.iter().map(of).collect::<Vec<_>>();
    let mut bars = vec![
        bar("messages".to_owned(), shares(|class| class.messages)),
        bar("bytes".to_owned(), shares(|class| class.bytes)),
    ];
    for (row, classes) in workload::costs(set) {
        let shares = classes.iter().map(|class| class.call_share.unwrap_or(0.0)).collect();
        bars.push(bar(format!("time, {}", named(&row.path, set)), shares));
    }
    let names: Vec<_> = record.classes.iter().map(|class| class.name.clone()).collect();
    let title = format!("shares in %, from the left: {}", names.join(", "));
    Some(Bars { title, bars }.svg())
}

/// The shares of all sets, a line for each size of each path.
fn joined(sets: &[RecordSet]) -> Listing {
    let header = ["set", "path", "size", "% of time"].map(str::to_owned).to_vec();
    let mut rows = Vec::new();
    for set in sets {
        for (row, classes) in workload::costs(set) {
            for class in classes {
                let share = class.call_share.map_or_else(String::new, |share| hundredths(100.0 * share));
                rows.push(vec![set.label.clone(), row.path.clone(), class.name.clone(), share]);
            }
        }
    }
    Listing { header, rows }
}
