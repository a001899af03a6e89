//! The messages of a run of several sizes: the share of each size in the messages, in the bytes, and in the time of each
//! path's calls.

use super::listing::{Listing, UNKNOWN};
use super::screen::Screen;
use super::set::{RecordSet, SetRow};
use crate::record::{ClassCost, WorkloadRecord};
use copycost::units::{hundredths, thousands};

/// A share as a percentage, without its unit.
fn percent(share: f64) -> String {
    hundredths(100.0 * share)
}

/// The rows whose calls are known for each size, of the fewest clients.
pub fn costs<'a>(set: &'a RecordSet) -> impl Iterator<Item = (&'a SetRow, &'a [ClassCost])> {
    let fewest = set.clients().first().copied();
    let rows = set.rows.iter().filter(move |row| Some(row.clients) == fewest);
    let with_costs = |row: &'a SetRow| Some((row, row.record.as_ref()?.classes.as_slice()));
    rows.filter_map(with_costs).filter(|(_, classes)| !classes.is_empty())
}

/// The table of a set; `None` if its messages all have the same size.
pub fn listing(set: &RecordSet) -> Option<Listing> {
    let workload = set.workload.as_ref()?;
    let costs: Vec<_> = costs(set).collect();
    let mut header = vec!["size".to_owned(), "% of messages".to_owned(), "% of bytes".to_owned()];
    header.extend(costs.iter().map(|(row, _)| format!("% of time, {}", row.path)));
    let row = |(index, class): (usize, &crate::record::ClassShares)| {
        let of_path = |(_, classes): &(&SetRow, &[ClassCost])| {
            let share = classes.get(index).and_then(|class| class.call_share);
            share.map_or_else(|| UNKNOWN.to_owned(), percent)
        };
        let shares = [class.name.clone(), percent(class.messages), percent(class.bytes)];
        shares.into_iter().chain(costs.iter().map(of_path)).collect()
    };
    Some(Listing { header, rows: workload.classes.iter().enumerate().map(row).collect() })
}

/// What a reader must know of the table, and what a path that chooses has decided for each size.
pub fn sentences(set: &RecordSet) -> Vec<String> {
    let Some(workload) = &set.workload else { return Vec::new() };
    let mut sentences = vec![about(workload)];
    if costs(set).next().is_some() {
        sentences.push(
            "Time is that in the calls of one message in 13, with the waiting for room in the send buffer."
                .to_owned(),
        );
    }
    for (row, classes) in costs(set) {
        let decided = |class: &ClassCost| {
            let reason = class.reason.as_ref()?;
            let method = match class.by_reference? {
                share if share > 0.99 => "by reference".to_owned(),
                share if share < 0.01 => "copied".to_owned(),
                share => format!("{} % by reference", percent(share)),
            };
            Some((class.name.clone(), format!("{method} ({reason})")))
        };
        let mut groups: Vec<(String, String)> = Vec::new();
        for (name, decided) in classes.iter().filter_map(decided) {
            match groups.last_mut() {
                // Neighbours with the same decision are named after the largest.
                Some(last) if last.1 == decided => last.0 = name,
                _ => groups.push((name, decided)),
            }
        }
        let up_to =
            |name: &str| if name.starts_with("up to") { name.to_owned() } else { format!("to {name}") };
        let decided: Vec<_> =
            groups.iter().map(|(name, decided)| format!("{} {decided}", up_to(name))).collect();
        if !decided.is_empty() {
            sentences.push(format!("{} decided: {}.", row.path, decided.join(", ")));
        }
    }
    sentences
}

fn about(workload: &WorkloadRecord) -> String {
    let WorkloadRecord { name, kind, messages, bytes, .. } = workload;
    let mean = *bytes as f64 / (*messages).max(1) as f64;
    let what = match kind.as_str() {
        "trace" => format!("The trace {name} has {} messages", thousands(*messages)),
        _ => format!("A deck of the mix {name} has {} messages", thousands(*messages)),
    };
    format!("{what} of {} bytes on average.", thousands(mean.round() as u64))
}

/// The table and its sentences for a screen; empty if all messages have the same size.
pub(super) fn table(set: &RecordSet, screen: Screen) -> String {
    let Some(mut listing) = listing(set) else { return String::new() };
    let mut left_out = Vec::new();
    let width = |listing: &Listing| {
        let of = |column: usize| {
            let cells = listing.rows.iter().map(|row| row[column].chars().count());
            2 + cells.chain([listing.header[column].chars().count()]).max().unwrap_or(0)
        };
        (0..listing.header.len()).map(of).sum::<usize>()
    };
    while width(&listing) >= screen.columns && listing.header.len() > 3 {
        left_out.extend(listing.header.pop());
        listing.rows.iter_mut().for_each(|row| row.truncate(listing.header.len()));
    }
    let mut text =
        format!("\n{}{}", screen.listed(&listing.header, &listing.rows, 1), screen.left_out(&left_out));
    sentences(set).iter().for_each(|sentence| text += &screen.wrapped("", sentence));
    text
}
