//! One line per path, end and measured cell of `copycost predict`: the data for another fit.

use super::number;
use crate::record::{CostModel, ModelCell, PathModel};
use crate::report::set::RecordSet;

const COLUMNS: [&str; 16] = [
    "set",
    "path",
    "end",
    "size",
    "fields",
    "layout",
    "footprint",
    "clients",
    "settings",
    "held_out",
    "setups",
    "ns_per_message",
    "predicted_ns_per_message",
    "syscalls_per_message",
    "segments_per_message",
    "completions_per_message",
];

/// The names of the columns.
pub(super) fn header() -> Vec<String> {
    COLUMNS.map(str::to_owned).to_vec()
}

/// A line for each cell of each model.
pub(super) fn lines(sets: &[RecordSet]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for set in sets {
        for model in &set.models {
            for path in &model.models {
                lines.extend(path.cells.iter().map(|cell| line(set, model, path, cell)));
            }
        }
    }
    lines
}

fn line(set: &RecordSet, model: &CostModel, path: &PathModel, cell: &ModelCell) -> Vec<String> {
    vec![
        set.label.clone(),
        path.path.clone(),
        path.end.to_string(),
        cell.message.size.to_string(),
        cell.message.fields.clone(),
        cell.message.layout.clone(),
        cell.message.footprint.clone(),
        model.clients.to_string(),
        model.settings.join("; "),
        cell.held_out.to_string(),
        cell.setups_ns.len().to_string(),
        cell.ns.to_string(),
        number(cell.predicted_ns),
        cell.calls.to_string(),
        cell.segments.to_string(),
        cell.notifications.to_string(),
    ]
}
