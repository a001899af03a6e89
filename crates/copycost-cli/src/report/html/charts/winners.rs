//! A map of the best path by size and clients, with undecided cells marked.

use super::{Chart, Content, Plots, of_each_set};
use crate::compare::metric::Metric;
use crate::record::MessageSize;
use crate::report::listing::Listing;
use crate::report::plot::grid::{Grid, GridCell};
use crate::report::set::{RecordSet, place};
use crate::report::winner;
use copycost::units::{ClientCount, significant};

pub(super) const CHART: Chart = Chart { id: "winners", title: "Which path is ahead where", content };

fn content(sets: &[RecordSet]) -> Content {
    let with_rows = || sets.iter().filter(|set| set.paths().len() > 1);
    if with_rows().next().is_none() {
        return Content::Missing("These results have one path: there is nothing to be ahead of.".to_owned());
    }
    let mut caption = of_each_set(sets, sentence);
    let figure = |set: &RecordSet| match set.lead() {
        Metric::Throughput => "The number is the throughput, divided by that of the second-best path.",
        _ => "The number is the sender's CPU time with the second-best path, divided by that with the best.",
    };
    let mut figures: Vec<_> = with_rows().map(figure).collect();
    figures.dedup();
    caption.extend(figures.into_iter().map(str::to_owned));
    caption.push("Hatched with a hollow marker: undecided, or the sender was not the limit.".to_owned());
    Plots::content(with_rows().map(map).collect(), caption, table(sets))
}

fn map(set: &RecordSet) -> String {
    let (sizes, clients) = (set.sizes(), set.clients());
    let cell = |size: MessageSize, clients: usize| {
        let winner = winner::of_cell(set, size, clients)?;
        let figure = winner.lead.map_or_else(|| "alone".to_owned(), |lead| format!("{}×", significant(lead)));
        Some(GridCell {
            place: place(winner.path),
            name: winner.path.to_owned(),
            figure,
            decided: winner.decided,
        })
    };
    let row = |clients: &usize| sizes.iter().map(|size| cell(*size, *clients)).collect();
    Grid {
        title: format!("The path that is ahead in each cell {}", set.label),
        x_title: if set.label.is_empty() {
            "message size".to_owned()
        } else {
            format!("message size · {}", set.label)
        },
        columns: sizes.iter().map(|size| size.to_string()).collect(),
        rows: clients.iter().map(|clients| ClientCount(*clients).to_string()).collect(),
        cells: clients.iter().map(row).collect(),
    }
    .svg()
}

fn sentence(set: &RecordSet) -> Option<String> {
    let winners: Vec<_> =
        set.cells().into_iter().filter_map(|(size, clients)| winner::of_cell(set, size, clients)).collect();
    let shown = winners.iter().filter(|winner| winner.decided).count();
    let mut paths: Vec<(&str, usize)> = set.paths().into_iter().map(|path| (path, 0)).collect();
    for winner in winners.iter().filter(|winner| winner.decided) {
        paths.iter_mut().filter(|path| path.0 == winner.path).for_each(|path| path.1 += 1);
    }
    paths.retain(|path| path.1 > 0);
    let counts: Vec<_> = paths.iter().map(|(path, count)| format!("{path} in {count}")).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let why = match (shown, set.conditions.is_some(), set.comparisons.is_empty()) {
        (_, false, _) => {
            " Criterion measures one path after the other, so a drift of the machine is in the lead."
        }
        (0, true, true) => " These results hold no comparisons with intervals.",
        _ => "",
    };
    Some(format!("The lead is shown in {shown} of {} cells{counts}.{why}", winners.len()))
}

fn table(sets: &[RecordSet]) -> Listing {
    let mut header: Vec<String> =
        ["size", "clients", "ahead", "times the next", "shown"].map(str::to_owned).to_vec();
    if sets.len() > 1 {
        header.insert(0, "set".to_owned());
    }
    let mut rows = Vec::new();
    for set in sets {
        for (size, clients) in set.cells() {
            let Some(winner) = winner::of_cell(set, size, clients) else { continue };
            let lead = winner.lead.map_or_else(|| crate::report::listing::UNKNOWN.to_owned(), significant);
            let shown = if winner.decided { "yes" } else { "no" };
            let label = (sets.len() > 1).then(|| set.label.clone());
            let cell = [size.to_string(), clients.to_string()];
            let rest = [winner.path.to_owned(), lead, shown.to_owned()];
            rows.push(label.into_iter().chain(cell).chain(rest).collect());
        }
    }
    Listing { header, rows }
}
