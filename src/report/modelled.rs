//! Cost models for a terminal: what each thing costs, how well it was checked, what it says of the message asked about.

use comfy_table::CellAlignment;

use super::fold::wrapped;
use super::table::{plain, trimmed};
use crate::model::choice::time;
use crate::model::fit::Term;
use crate::record::{CostModel, ModelCell, PathModel};
use crate::units::significant;

/// The coefficients, the checks and the predictions of each model.
pub(super) fn tables(models: &[CostModel]) -> String {
    models
        .iter()
        .map(|model| format!("{}\n{}\n{}", coefficients(model), checks(model), predictions(model)))
        .collect()
}

/// The terms that any path has.
pub(super) fn terms(model: &CostModel) -> Vec<Term> {
    let has = |term: &Term| {
        model.models.iter().filter_map(|path| path.model.as_ref()).any(|m| m.terms.contains(term))
    };
    Term::ALL.iter().copied().filter(has).collect()
}

/// `812 ±45`
pub(super) fn coefficient(path: &PathModel, term: Term) -> String {
    let found = path.model.as_ref().and_then(|model| model.coefficient(term));
    found.map_or_else(String::new, |(value, reach)| format!("{} ±{}", significant(value), significant(reach)))
}

/// `4.1 %`, with the worst cell.
pub(super) fn miss(path: &PathModel) -> String {
    path.mean_miss_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %"))
}

fn coefficients(model: &CostModel) -> String {
    let mut table = plain();
    let terms = terms(model);
    let header = ["ns for each", ""].map(str::to_owned).into_iter();
    table.set_header(header.chain(terms.iter().map(ToString::to_string)));
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for path in &model.models {
        let cells = [path.path.clone(), path.end.clone()].into_iter();
        table.add_row(cells.chain(terms.iter().map(|term| coefficient(path, *term))));
    }
    format!("{}\n", trimmed(&table))
}

fn checks(model: &CostModel) -> String {
    let mut text = String::new();
    for path in &model.models {
        let cell = |cell: &ModelCell| {
            let miss = 100.0 * cell.miss()?;
            Some(format!(
                "{}: {} for {} ({miss:+.1} %)",
                cell.message.words(),
                time(cell.predicted_ns?),
                time(cell.ns)
            ))
        };
        let held_out: Vec<_> = path.cells.iter().filter(|cell| cell.held_out).filter_map(cell).collect();
        if !held_out.is_empty() {
            let line = format!(
                "{}, {}, held out, {} off on average: {}",
                path.path,
                path.end,
                miss(path),
                held_out.join("; ")
            );
            text += &wrapped("- ", &line);
        }
        if let Some(refused) = &path.refused {
            text += &wrapped("! ", &format!("{}, {}: no prediction: {refused}", path.path, path.end));
        }
    }
    for (path, note) in notes(model) {
        text += &wrapped("- ", &format!("{path}: {note}."));
    }
    text
}

/// What was left out of the models: each sentence once a path.
pub(super) fn notes(model: &CostModel) -> Vec<(String, String)> {
    let mut notes: Vec<(String, String)> = Vec::new();
    for path in &model.models {
        for note in path.model.iter().flat_map(|model| &model.notes) {
            let note = (path.path.clone(), note.clone());
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

fn predictions(model: &CostModel) -> String {
    let mut table = plain();
    table.set_header([
        model.asked.words(),
        String::new(),
        "CPU a message".into(),
        "from".into(),
        "to".into(),
        "ns/KiB".into(),
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for path in &model.models {
        let figures = match &path.prediction {
            Some(p) => {
                let kib = model.asked.size as f64 / 1024.0;
                [time(p.ns), time(p.low), time(p.high), significant(p.ns / kib)]
            }
            None => ["-"; 4].map(str::to_owned),
        };
        table.add_row([path.path.clone(), path.end.clone()].into_iter().chain(figures));
    }
    format!(
        "{}\n{}",
        trimmed(&table),
        wrapped("", &format!("clients {}; {}", model.clients, model.settings.join(", ")))
    )
}

/// What copying and pinning cost here: a sentence for each end.
pub(super) fn sentences(model: &CostModel) -> Vec<String> {
    let mut sentences = Vec::new();
    for end in ["sender", "both ends"] {
        let paths: Vec<_> =
            model.models.iter().filter(|path| path.end == end && path.refused.is_none()).collect();
        let say = |path: &&PathModel| {
            let value = |term| path.model.as_ref()?.coefficient(term).map(|found| found.0);
            let kib =
                [("hot", Term::HotKib), ("l2", Term::L2Kib), ("llc", Term::LlcKib), ("cold", Term::ColdKib)];
            let mut parts: Vec<_> = kib
                .iter()
                .filter_map(|(word, term)| Some(format!("{word} {} ns", significant(value(*term)?))))
                .collect();
            parts.extend(value(Term::Pages).map(|ns| format!("pinning a page {} ns", significant(ns))));
            (!parts.is_empty()).then(|| format!("{} {}", path.path, parts.join(", ")))
        };
        let said: Vec<_> = paths.iter().filter_map(say).collect();
        if !said.is_empty() {
            sentences.push(format!(
                "What a KiB costs here, CPU time of {}: {}.",
                if end == "sender" { "the sender" } else { end },
                said.join("; ")
            ));
        }
    }
    sentences
}
