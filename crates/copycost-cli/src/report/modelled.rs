//! Cost models as text and as listings: the coefficients, the checks, and the predictions for the message in question.

use super::listing::{Listing, UNKNOWN};
use super::screen::Screen;
use crate::model::choice::time;
use crate::model::fit::Term;
use crate::model::surface::{self, ModelCrossover, PathStanding};
use crate::record::ModelEnd;
use crate::record::{CostModel, ModelCell, PathModel};
use copycost::message::Fields;
use copycost::units::{ByteSize, ClientCount, significant};

/// The coefficients, the checks and the predictions of each model.
pub(super) fn tables(models: &[CostModel], screen: Screen) -> String {
    models.iter().map(|model| one(model, screen)).collect()
}

fn one(model: &CostModel, screen: Screen) -> String {
    let [coefficients, predictions] = listings(model).map(|listing| columns(&listing, screen));
    let parts: String = all_sentences(model).iter().map(|sentence| screen.wrapped("- ", sentence)).collect();
    format!("{coefficients}\n{parts}\n{predictions}\n{}", screen.wrapped("", &conditions(model)))
}

/// A listing as text, with the figures aligned to the right.
fn columns(listing: &Listing, screen: Screen) -> String {
    screen.listed(&listing.header, &listing.rows, 2)
}

/// The coefficients of each model, and its predictions for the message in question.
pub(super) fn listings(model: &CostModel) -> [Listing; 2] {
    [coefficients(model), predictions(model)]
}

/// Sentences about the coefficients, the crossovers and the accuracy of the models.
pub(super) fn all_sentences(model: &CostModel) -> Vec<String> {
    [sentences(model), crossings(model), remarks(model)].concat()
}

/// The clients and the settings of all cells.
pub(super) fn conditions(model: &CostModel) -> String {
    format!("{}; {}", ClientCount(model.clients), model.settings.join(", "))
}

/// The terms that occur in the model of any path.
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

/// The mean error of a model on held-out cells: `4.1 %`.
pub(super) fn miss(path: &PathModel) -> String {
    path.mean_miss_percent.map_or_else(|| UNKNOWN.to_owned(), |percent| format!("{percent:.1} %"))
}

fn coefficients(model: &CostModel) -> Listing {
    let terms = terms(model);
    let header = ["ns for each", "CPU time of"].map(str::to_owned).into_iter();
    let row = |path: &PathModel| {
        let cells = [path.path.clone(), path.end.to_string()].into_iter();
        cells.chain(terms.iter().map(|term| coefficient(path, *term))).collect()
    };
    Listing {
        header: header.chain(terms.iter().map(ToString::to_string)).collect(),
        rows: model.models.iter().map(row).collect(),
    }
}

/// Sentences about the accuracy of each model, and about what it leaves out.
fn remarks(model: &CostModel) -> Vec<String> {
    let mut remarks = Vec::new();
    for path in &model.models {
        let cell = |cell: &ModelCell| {
            let miss = 100.0 * cell.miss()?;
            Some(format!(
                "{}: {} for {} ({miss:+.1} %)",
                cell.message.text(),
                time(cell.predicted_ns?),
                time(cell.ns)
            ))
        };
        let held_out: Vec<_> = path.cells.iter().filter(|cell| cell.held_out).filter_map(cell).collect();
        if !held_out.is_empty() {
            remarks.push(format!(
                "{}, {}, held out, {} off on average: {}.",
                path.path,
                path.end,
                miss(path),
                held_out.join("; ")
            ));
        }
        if let Some(refused) = &path.refused {
            remarks.push(format!("{}, {}: no prediction: {refused}.", path.path, path.end));
        }
    }
    if model.deciding_end() == ModelEnd::Sender {
        remarks.push("In the lab both ends include the relay and ksoftirqd between them.".to_owned());
    }
    let off = |path: &PathModel| {
        let noise = path.model.as_ref()?.noise;
        let [setups, cells] = [noise.setups, noise.cells].map(|share| 100.0 * share);
        Some(format!("{}, {} {setups:.1} % and {cells:.1} %", path.path, path.end))
    };
    let off: Vec<_> = model.models.iter().filter_map(off).collect();
    if !off.is_empty() {
        remarks.push(format!(
            "Standard deviations of set-ups around their cell, and of cells around the model beyond that: {}.",
            off.join("; ")
        ));
    }
    remarks.extend(notes(model).into_iter().map(|(path, note)| format!("{path}: {note}.")));
    remarks
}

/// What the models leave out: each sentence once per path.
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

fn predictions(model: &CostModel) -> Listing {
    let header = ["", "CPU a message", "from", "to", "ns/KiB"].map(str::to_owned).into_iter();
    let row = |path: &PathModel| {
        let figures = match &path.prediction {
            Some(p) => {
                let kib = model.asked.size as f64 / 1024.0;
                [time(p.ns), time(p.low), time(p.high), significant(p.ns / kib)]
            }
            None => [UNKNOWN; 4].map(str::to_owned),
        };
        [path.path.clone(), path.end.to_string()].into_iter().chain(figures).collect()
    };
    Listing {
        header: [model.asked.text()].into_iter().chain(header).collect(),
        rows: model.models.iter().map(row).collect(),
    }
}

/// The kinds of fields for which paths are compared over size; a message of any size can have them.
pub(super) const FORMS: [Fields; 2] = [Fields::Even, Fields::Single];

/// The sizes at which each path becomes cheaper than the reference: a sentence for each footprint and kind of fields.
pub(super) fn crossings(model: &CostModel) -> Vec<String> {
    let end = model.deciding_end();
    let Some(reference) = model.reference(end) else { return Vec::new() };
    let others: Vec<_> = model.usable(end).filter(|path| path.path != reference.path).collect();
    let mut sentences = Vec::new();
    for footprint in model.footprints(end) {
        for fields in FORMS {
            let part = |path: &&PathModel| {
                let ratio = |size| model.ratio(path, reference, (size, fields, footprint));
                Some(format!("{} {}", path.path, standing(surface::crossover(ratio)?)))
            };
            let parts: Vec<_> = others.iter().filter_map(part).collect();
            if !parts.is_empty() {
                sentences.push(format!(
                    "By the models, CPU time of {}, {footprint}, {fields} fields, up to 1 MiB, compared with \
                     {}: {}.",
                    end.in_words(),
                    reference.path,
                    parts.join("; ")
                ));
            }
        }
    }
    sentences
}

fn standing(crossing: ModelCrossover) -> String {
    // The model is evaluated in steps of 9 %, so whole KiB are exact enough.
    let near = |size: usize| ByteSize((size / 1024).max(1) << 10);
    let standing = match crossing.standing {
        PathStanding::Always => "costs less at every size".to_owned(),
        PathStanding::Never => "costs more at every size".to_owned(),
        PathStanding::From(size) => format!("costs less from {} on", near(size)),
        PathStanding::UpTo(size) => format!("costs less up to {}", near(size)),
    };
    let Some((least, most)) = crossing.undecided else { return standing };
    // The signs below and above the undecided range.
    let (below, above) = match crossing.standing {
        PathStanding::Always => ("less", "less"),
        PathStanding::Never => ("more", "more"),
        PathStanding::From(_) => ("more", "less"),
        PathStanding::UpTo(_) => ("less", "more"),
    };
    let (least, most) = (
        (Some(least) != surface::sizes().next()).then(|| near(least)),
        (Some(most) != surface::sizes().last()).then(|| near(most)),
    );
    match (least, most) {
        (None, None) => "is undecided at every size".to_owned(),
        (Some(least), None) => format!("costs {below} up to {least}, and is undecided from there on"),
        (None, Some(most)) => format!("is undecided up to {most}, and costs {above} from there on"),
        (Some(least), Some(most)) => {
            format!("costs {below} up to {least} and {above} from {most} on, and is undecided between")
        }
    }
}

/// The costs of copying and pinning here: a sentence for each end.
pub(super) fn sentences(model: &CostModel) -> Vec<String> {
    let mut sentences = Vec::new();
    for end in ModelEnd::ALL.iter().copied() {
        let paths: Vec<_> = model.usable(end).collect();
        let costs = |path: &&PathModel| {
            let value = |term| path.model.as_ref()?.coefficient(term).map(|found| found.0);
            let kib =
                [("hot", Term::HotKib), ("l2", Term::L2Kib), ("llc", Term::LlcKib), ("cold", Term::ColdKib)];
            let mut parts: Vec<_> = kib
                .iter()
                .filter_map(|(name, term)| Some(format!("{name} {} ns", significant(value(*term)?))))
                .collect();
            parts.extend(value(Term::Pages).map(|ns| format!("pinning a page {} ns", significant(ns))));
            (!parts.is_empty()).then(|| format!("{} {}", path.path, parts.join(", ")))
        };
        let parts: Vec<_> = paths.iter().filter_map(costs).collect();
        if !parts.is_empty() {
            sentences.push(format!(
                "What a KiB costs here, CPU time of {}: {}.",
                end.in_words(),
                parts.join("; ")
            ));
        }
    }
    sentences
}
