//! Cost models: what a KiB, a call and a page cost here, and which path is the cheapest over size and footprint, by the
//! model and as measured.

use super::{Chart, Content, Plots};
use crate::message::Footprint;
use crate::model::choice::Choice;
use crate::model::fit::Prediction;
use crate::record::{CostModel, ModelCell};
use crate::report::listing::Listing;
use crate::report::modelled::{coefficient, miss, notes, sentences, terms};
use crate::report::plot::grid::{Cell, Grid};
use crate::report::set::{Set, place};
use crate::units::{ByteSize, significant};

pub(super) const CHART: Chart =
    Chart { id: "model", title: "What things cost here, and what follows", content };

/// The sizes of the surface, in bytes: those of the model's cells and a little beyond.
const SIZES: [usize; 6] = [1024, 4096, 16_384, 65_536, 262_144, 1 << 20];

fn content(sets: &[Set]) -> Content {
    let models: Vec<_> = sets.iter().flat_map(|set| &set.models).collect();
    if models.is_empty() {
        return Content::Missing("No cost model was fitted: `copycost predict -o FILE` does.".to_owned());
    }
    let (mut panels, mut caption) = (Vec::new(), Vec::new());
    let mut table = Listing::default();
    for model in &models {
        panels.extend(surface(model));
        panels.extend(measured(model));
        caption.extend(sentences(model));
        caption.extend(notes(model).into_iter().map(|(path, note)| format!("{path}: {note}.")));
        add(&mut table, model);
    }
    if panels.is_empty() {
        return Content::Missing("No model is good enough to be shown.".to_owned());
    }
    caption.push(
        "The cheapest path by CPU time of both ends, and how many times as much the next one costs; hatched where the \
         intervals do not tell. Left by the model, for eight even fields; right what was measured for it."
            .to_owned(),
    );
    Plots::content(panels, caption, table)
}

fn rows(model: &CostModel) -> Vec<Footprint> {
    let knows = |footprint: &Footprint| {
        model.models.iter().filter_map(|path| path.model.as_ref()).any(|model| model.knows(*footprint))
    };
    Footprint::ALL.iter().copied().filter(knows).collect()
}

fn both_ends(model: &CostModel) -> impl Iterator<Item = &crate::record::PathModel> {
    model.models.iter().filter(|path| path.end == "both ends" && path.refused.is_none())
}

fn grid(
    title: String,
    sizes: &[usize],
    footprints: &[Footprint],
    cell: impl Fn(usize, Footprint) -> Option<Cell>,
) -> String {
    let row = |footprint: &Footprint| sizes.iter().map(|size| cell(*size, *footprint)).collect();
    Grid {
        title,
        x_title: "message size".to_owned(),
        columns: sizes.iter().map(|size| ByteSize(*size).to_string()).collect(),
        rows: footprints.iter().map(ToString::to_string).collect(),
        cells: footprints.iter().map(row).collect(),
    }
    .svg()
}

fn winner(choice: &Choice, decided: bool) -> Cell {
    let figure =
        choice.next.as_ref().map_or_else(String::new, |(_, ratio)| format!("{}×", significant(ratio.ratio)));
    Cell { place: place(&choice.path), name: choice.path.clone(), figure, decided }
}

/// By the model.
fn surface(model: &CostModel) -> Option<String> {
    both_ends(model).next()?;
    let cell = |size, footprint| {
        let predict = |path: &crate::record::PathModel| {
            Some((path.path.clone(), path.of_even(size, model.layout(), footprint)?))
        };
        let choice = Choice::among(&both_ends(model).filter_map(predict).collect::<Vec<_>>())?;
        let decided = choice.decided();
        Some(winner(&choice, decided))
    };
    Some(grid("the cheapest path by the model".to_owned(), &SIZES, &rows(model), cell))
}

/// As measured, in the model's own cells; of several cells of a size and a footprint the one with the most fields.
fn measured(model: &CostModel) -> Option<String> {
    let footprints = rows(model);
    let mut sizes: Vec<usize> =
        both_ends(model).flat_map(|path| &path.cells).map(|cell| cell.message.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of = |path: &crate::record::PathModel, size: usize, footprint: Footprint| {
        let here = |cell: &&ModelCell| {
            cell.message.size == size
                && cell.message.footprint == footprint.to_string()
                && cell.message.layout == model.asked.layout
        };
        let cells = || path.cells.iter().filter(here);
        let even = cells().find(|cell| cell.message.fields == "even").or_else(|| cells().next())?;
        Some((path.path.clone(), Prediction { ns: even.ns, freedom: 1, ..Prediction::default() }))
    };
    let cell = |size, footprint| {
        let values: Vec<_> = both_ends(model).filter_map(|path| of(path, size, footprint)).collect();
        // Means without their spread: full colour, for they are what was measured.
        Choice::among(&values).map(|choice| winner(&choice, true))
    };
    (!sizes.is_empty()).then(|| grid("the cheapest path as measured".to_owned(), &sizes, &footprints, cell))
}

fn add(table: &mut Listing, model: &CostModel) {
    let terms = terms(model);
    let header = ["path", "end", "miss, held out"].map(str::to_owned).into_iter();
    table.header = header.chain(terms.iter().map(|term| format!("ns a {term}"))).collect();
    for path in &model.models {
        let cells = [path.path.clone(), path.end.clone(), miss(path)].into_iter();
        table.rows.push(cells.chain(terms.iter().map(|term| coefficient(path, *term))).collect());
    }
}
