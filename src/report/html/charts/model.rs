//! Cost models: what a KiB, a call and a page cost here, and which path is the cheapest over size and footprint, by the
//! model and as measured.

use super::{Chart, Content, Plots};
use crate::message::Footprint;
use crate::model::choice::Choice;
use crate::model::fit::Prediction;
use crate::record::{CostModel, ModelCell, PathModel};
use crate::report::listing::Listing;
use crate::report::modelled::{coefficient, miss, notes, sentences, terms};
use crate::report::plot::grid::{Cell, Grid};
use crate::report::set::{Set, place};
use crate::units::{ByteSize, significant};

pub(super) const CHART: Chart =
    Chart { id: "model", title: "What things cost here, and what follows", content };

/// The sizes of the surface, in bytes: those of the model's cells and a little beyond. The measured ones join them.
const SIZES: [usize; 6] = [1024, 4096, 16_384, 65_536, 262_144, 1 << 20];

/// The form of message that both plots are of.
const FORM: &str = "even";

fn content(sets: &[Set]) -> Content {
    let models: Vec<_> = sets.iter().flat_map(|set| &set.models).collect();
    if models.is_empty() {
        return Content::Absent;
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
         intervals do not tell. Above by the model, for eight even fields; below what was measured of these."
            .to_owned(),
    );
    Content::Plots(Plots { panels, caption, table, wide: true })
}

fn rows(model: &CostModel) -> Vec<Footprint> {
    let knows = |footprint: &Footprint| {
        model.models.iter().filter_map(|path| path.model.as_ref()).any(|model| model.knows(*footprint))
    };
    Footprint::ALL.iter().copied().filter(knows).collect()
}

fn both_ends(model: &CostModel) -> impl Iterator<Item = &PathModel> {
    model.models.iter().filter(|path| path.end == "both ends" && path.refused.is_none())
}

fn grid(
    title: &str,
    sizes: &[usize],
    footprints: &[Footprint],
    cell: impl Fn(usize, Footprint) -> Option<Cell>,
) -> String {
    let row = |footprint: &Footprint| sizes.iter().map(|size| cell(*size, *footprint)).collect();
    Grid {
        title: title.to_owned(),
        x_title: format!("message size: {title}"),
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
        let predict =
            |path: &PathModel| Some((path.path.clone(), path.of_even(size, model.layout(), footprint)?));
        let choice = Choice::among(&both_ends(model).filter_map(predict).collect::<Vec<_>>())?;
        let decided = choice.decided();
        Some(winner(&choice, decided))
    };
    Some(grid("the cheapest path by the model", &sizes(model), &rows(model), cell))
}

/// As measured, in the model's own cells.
fn measured(model: &CostModel) -> Option<String> {
    both_ends(model).next()?;
    let cell = |size: usize, footprint: Footprint| {
        let of = |path: &PathModel| {
            let here = |cell: &&ModelCell| {
                cell.message.size == size && cell.message.footprint == footprint.to_string()
            };
            let cell = path.cells.iter().filter(|cell| is_shown(model, cell)).find(here)?;
            Some((path.path.clone(), Prediction { ns: cell.ns, freedom: 1, ..Prediction::default() }))
        };
        let values: Vec<_> = both_ends(model).filter_map(of).collect();
        // Means without their spread: full colour, for they are what was measured.
        Choice::among(&values).map(|choice| winner(&choice, true))
    };
    Some(grid("the cheapest path as measured", &sizes(model), &rows(model), cell))
}

fn is_shown(model: &CostModel, cell: &ModelCell) -> bool {
    cell.message.fields == FORM && cell.message.layout == model.asked.layout
}

/// The columns of both plots, ascending.
fn sizes(model: &CostModel) -> Vec<usize> {
    let cells = both_ends(model).flat_map(|path| &path.cells).filter(|cell| is_shown(model, cell));
    let mut sizes: Vec<_> = cells.map(|cell| cell.message.size).chain(SIZES).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
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
