//! Cost models: the cost of a KiB, a call and a page, the cheapest path by size and footprint, and the curves of paths
//! with their measured points.

use super::{Chart, Content, Plots};
use crate::model::choice::Choice;
use crate::model::surface;
use crate::record::{CostModel, ModelCell, PathModel};
use crate::report::listing::Listing;
use crate::report::metric::RecordFigure;
use crate::report::modelled::{FORMS, coefficient, crossings, miss, notes, sentences, terms};
use crate::report::plot::axis::Axis;
use crate::report::plot::grid::{Grid, GridCell};
use crate::report::plot::lines::{LineSeries, Lines, SeriesForm};
use crate::report::plot::mark::SeriesStyle;
use crate::report::set::{RecordSet, place};
use crate::stats::{Estimate, Interval, Pair};
use copycost::message::{Fields, Footprint};
use copycost::units::{ByteSize, significant};

pub(super) const CHART: Chart = Chart {
    id: "model",
    title: "What a KiB, a call and a page cost here, and which path is cheapest",
    content,
};

/// The columns of the surface and the ticks of the curves, in bytes.
const SIZES: [usize; 6] = [1024, 4096, 16_384, 65_536, 262_144, 1 << 20];

/// The most paths with drawn intervals; those of more paths would hide each other.
const MOST_BANDS: usize = 3;

/// The error probability of the interval of a measured ratio.
const ALPHA: f64 = 0.05;

fn content(sets: &[RecordSet]) -> Content {
    let models: Vec<_> = sets.iter().flat_map(|set| &set.models).collect();
    if models.is_empty() {
        return Content::Absent;
    }
    let (mut panels, mut caption) = (Vec::new(), Vec::new());
    let mut table = Listing::default();
    for model in &models {
        panels.extend(surface(model));
        panels.extend(curves(model));
        caption.extend(sentences(model));
        caption.extend(crossings(model));
        caption.extend(notes(model).into_iter().map(|(path, note)| format!("{path}: {note}.")));
        add(&mut table, model);
    }
    if panels.is_empty() {
        return Content::Missing("No model is good enough to show.".to_owned());
    }
    caption.push(
        "The map: the cheapest path by the model, and how many times as much the next one costs; hatched: \
         undecided. The curves: the cost of each path by the model as a multiple of the reference's (below 1 \
         is cheaper), with its interval dashed. The points: measured, with intervals over set-ups; hollow: \
         the model was not fitted to them."
            .to_owned(),
    );
    Content::Plots(Plots { panels, caption, table, wide: true })
}

/// The fields and footprints of messages in the plots, with their names: `cold, even`.
fn kinds(model: &CostModel) -> Vec<(String, Fields, Footprint)> {
    let footprints = model.footprints(model.deciding_end());
    let kind = |footprint: &Footprint| FORMS.map(|form| (format!("{footprint}, {form}"), form, *footprint));
    footprints.iter().flat_map(kind).collect()
}

/// A map of the cheapest path by size and footprint, according to the model.
fn surface(model: &CostModel) -> Option<String> {
    let end = model.deciding_end();
    model.usable(end).next()?;
    let kinds = kinds(model);
    let cell = |size: usize, fields, footprint| {
        let predict =
            |path: &PathModel| Some((path.path.clone(), path.of(size, fields, model.layout(), footprint)?));
        let choice = Choice::among(&model.usable(end).filter_map(predict).collect::<Vec<_>>())?;
        let times = |(_, ratio): &(String, Interval)| format!("{}×", significant(ratio.ratio));
        let (decided, figure) = (choice.decided(), choice.next.as_ref().map(times).unwrap_or_default());
        Some(GridCell { place: place(&choice.path), name: choice.path, figure, decided })
    };
    let row = |(_, fields, footprint): &(String, Fields, Footprint)| {
        SIZES.iter().map(|size| cell(*size, *fields, *footprint)).collect()
    };
    let grid = Grid {
        title: "the cheapest path by the model".to_owned(),
        x_title: format!("message size; by the CPU time of {}", end.in_words()),
        columns: SIZES.iter().map(|size| ByteSize(*size).to_string()).collect(),
        rows: kinds.iter().map(|(name, ..)| name.clone()).collect(),
        cells: kinds.iter().map(row).collect(),
    };
    Some(grid.svg())
}

/// A plot for each kind of fields and footprint: the cost of each path as a ratio to the reference, against size.
fn curves(model: &CostModel) -> Vec<String> {
    let end = model.deciding_end();
    let Some(reference) = model.reference(end) else { return Vec::new() };
    let others: Vec<_> = model.usable(end).filter(|path| path.path != reference.path).collect();
    let panel = |(name, fields, footprint): (String, Fields, Footprint)| {
        let mut series = Vec::new();
        for path in &others {
            let ratio = |size| model.ratio(path, reference, (size, fields, footprint));
            let all: Vec<_> = surface::sizes().filter_map(|size| Some((size as f64, ratio(size)?))).collect();
            let look = |set| SeriesStyle { place: place(&path.path), set };
            let curve = |label: &str, set, of: fn(&Interval) -> f64| LineSeries {
                label: label.to_owned(),
                look: look(set),
                form: SeriesForm::Curve,
                points: all.iter().map(|(size, ratio)| (*size, RecordFigure::plain(of(ratio)))).collect(),
            };
            series.push(curve(&path.path, 0, |ratio| ratio.ratio));
            if others.len() <= MOST_BANDS {
                series.extend([curve("", 2, |ratio| ratio.low), curve("", 2, |ratio| ratio.high)]);
            }
            for held_out in [false, true] {
                let shown =
                    |cell: &&ModelCell| cell.held_out == held_out && is_of(cell, model, fields, footprint);
                let points = path.cells.iter().filter(shown).filter_map(|cell| measured(cell, reference));
                series.push(LineSeries {
                    label: String::new(),
                    look: look(usize::from(held_out)),
                    form: SeriesForm::Points,
                    points: points.collect(),
                });
            }
        }
        series.retain(|series| !series.points.is_empty());
        let values = series.iter().flat_map(|series| &series.points).flat_map(|(_, figure)| {
            let ends = figure.interval.unwrap_or((figure.value, figure.value));
            [ends.0, ends.1]
        });
        let title = format!("CPU time of {}, times that of {}", end.in_words(), reference.path);
        let y = Axis::ratios(&title, values.collect::<Vec<_>>().into_iter());
        let guide = SIZES.map(|size| (size as f64, 1.0)).to_vec();
        Lines { title: format!("{name} fields"), x: Axis::sizes(&SIZES), y, series, guide }.svg()
    };
    if others.is_empty() { Vec::new() } else { kinds(model).into_iter().map(panel).collect() }
}

fn is_of(cell: &ModelCell, model: &CostModel, fields: Fields, footprint: Footprint) -> bool {
    let message = &cell.message;
    message.layout == model.asked.layout
        && message.fields == fields.to_string()
        && message.footprint == footprint.to_string()
}

/// The ratio of a cell to the same cell of the reference, paired by set-up.
fn measured(cell: &ModelCell, reference: &PathModel) -> Option<(f64, RecordFigure)> {
    let other = reference.cells.iter().find(|other| other.message == cell.message)?;
    let pair = |(path, reference): (&f64, &f64)| Pair { path: *path, reference: *reference };
    let pairs: Vec<_> = cell.setups_ns.iter().zip(&other.setups_ns).map(pair).collect();
    let figure = match Estimate::new(&pairs) {
        Ok(estimate) => {
            let Interval { ratio, low, high, .. } = estimate.interval(ALPHA);
            RecordFigure { interval: Some((low, high)), ..RecordFigure::plain(ratio) }
        }
        Err(_) => RecordFigure::plain(cell.ns / other.ns),
    };
    Some((cell.message.size as f64, figure))
}

fn add(table: &mut Listing, model: &CostModel) {
    let terms = terms(model);
    let header = ["path", "end", "miss, held out"].map(str::to_owned).into_iter();
    table.header = header.chain(terms.iter().map(|term| format!("ns a {term}"))).collect();
    for path in &model.models {
        let cells = [path.path.clone(), path.end.to_string(), miss(path)].into_iter();
        table.rows.push(cells.chain(terms.iter().map(|term| coefficient(path, *term))).collect());
    }
}
