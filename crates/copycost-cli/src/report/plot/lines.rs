//! A line plot: points with their intervals, and the name of each series at its end.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::ink::Ink;
use super::mark::SeriesStyle;
use super::{Canvas, DOTS, Drawn, TEXT, WIDTH, short, stroke, svg, text, width_of};
use crate::report::metric::RecordFigure;

/// A line through points of ascending `x`.
#[derive(Debug, Clone)]
pub struct LineSeries {
    /// The name at the end of the line; may be empty.
    pub label: String,
    /// The colour, the shape of markers and the dashes.
    pub look: SeriesStyle,
    /// Whether to draw markers, a line, or both.
    pub form: SeriesForm,
    /// The x values with their figures.
    pub points: Vec<(f64, RecordFigure)>,
}

/// The parts of a series that are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeriesForm {
    /// Markers joined by a line.
    #[default]
    Joined,
    /// Only a line, for computed values.
    Curve,
    /// Only markers, for measured values next to a curve.
    Points,
    /// Only a thin, pale line, for values that matter less than those of another line.
    Pale,
    /// The same, dotted.
    PaleDotted,
}

impl SeriesForm {
    fn has_markers(self) -> bool {
        matches!(self, Self::Joined | Self::Points)
    }
}

/// A line plot.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The title that distinguishes the plot from its neighbours; may be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series, in drawing order.
    pub series: Vec<LineSeries>,
    /// The points of a dashed line for comparison, which the caption explains; may be empty.
    pub guide: Vec<(f64, f64)>,
}

/// The height of a plot in CSS pixels.
const HEIGHT: i32 = 290;

/// The most characters of a name; longer names are cut.
const LONGEST_NAME: usize = 18;

/// The end of a line, the height of its name, and the line itself.
type LineEnd<'a> = ((i32, i32), i32, &'a LineSeries);

impl Lines {
    /// Draws the plot as an SVG element.
    pub fn svg(self) -> String {
        let title = [self.title.as_str(), &self.y.title, "against", &self.x.title].join(" ");
        svg(&title, (WIDTH, HEIGHT), |canvas| self.draw(canvas))
    }

    fn draw(self, canvas: &Canvas<'_>) -> Drawn {
        let Self { title, x, y, series, guide } = self;
        let names = series.iter().map(|series| width_of(&short(&series.label, LONGEST_NAME)));
        let right = names.max().unwrap_or(0) + 26;
        let left = y.labels().map(width_of).max().unwrap_or(0) + 10;
        let x = x.fitting(WIDTH - left - right, |label| width_of(label) + 8);
        let (x_title, y_title) = (x.title.clone(), y.title.clone());
        let heading = text(Ink::Text, TEXT + 1, (HPos::Left, VPos::Top));
        canvas.draw(&Text::new(short(&title, 56), (0, 2 * DOTS), heading))?;
        let quiet = |anchor| text(Ink::Quiet, TEXT, anchor);
        canvas.draw(&Text::new(y_title, (0, 21 * DOTS), quiet((HPos::Left, VPos::Top))))?;
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(44 * DOTS)
            .margin_right(right * DOTS)
            .margin_bottom(18 * DOTS)
            .x_label_area_size(22 * DOTS)
            .y_label_area_size(left * DOTS)
            .build_cartesian_2d(x, y)?;
        let label = |h, v| quiet((h, v));
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(stroke(Ink::Grid, 10))
            .axis_style(stroke(Ink::Grid, 10))
            .x_label_style(label(HPos::Center, VPos::Top))
            .y_label_style(label(HPos::Right, VPos::Center))
            .set_all_tick_mark_size(4 * DOTS)
            .draw()?;
        let area = chart.plotting_area().get_pixel_range();
        let middle = ((area.0.start + area.0.end) / 2, (HEIGHT - 16) * DOTS);
        canvas.draw(&Text::new(x_title, middle, quiet((HPos::Center, VPos::Top))))?;
        let dot = |x: f64, y: f64| chart.backend_coord(&(x, y));
        let guide: Vec<_> = guide.iter().map(|(x, y)| dot(*x, *y)).collect();
        if !guide.is_empty() {
            dashed(canvas, &guide, Ink::Quiet, (3, 4), 12)?;
        }
        draw_all(canvas, &series, &dot, (area.0.end, area.1.end))
    }
}

/// Draws the lines, then all markers above them, then the names in the margin. `corner` is the lower right corner of
/// the plot's area.
fn draw_all(
    canvas: &Canvas<'_>,
    all: &[LineSeries],
    dot: &impl Fn(f64, f64) -> (i32, i32),
    corner: (i32, i32),
) -> Drawn {
    let apart = dodge(all);
    let mut ends: Vec<LineEnd<'_>> = Vec::new();
    for (series, by) in all.iter().zip(&apart) {
        let dot = |x: f64, y: f64| (dot(x, y).0 + by, dot(x, y).1);
        let points: Vec<_> = series.points.iter().map(|(x, figure)| dot(*x, figure.value)).collect();
        draw_series(canvas, series, &points, &dot)?;
        let named = points.last().filter(|_| !series.label.is_empty());
        ends.extend(named.map(|end| (*end, end.1, series)));
    }
    for (series, by) in all.iter().zip(&apart).filter(|(series, _)| series.form.has_markers()) {
        for (x, figure) in &series.points {
            let at = dot(*x, figure.value);
            series.look.draw(canvas, (at.0 + by, at.1), 42)?;
        }
    }
    spread(&mut ends, (TEXT + 3) * DOTS, corner.1);
    ends.iter().try_for_each(|end| name(canvas, end, corner.0))
}

/// The horizontal shift of each series, which keeps their intervals from overlapping.
fn dodge(series: &[LineSeries]) -> Vec<i32> {
    const STEP: i32 = 4 * DOTS;
    let intervals = series.iter().flat_map(|series| &series.points).any(|point| point.1.interval.is_some());
    // Points next to a curve are not shifted.
    let joined = series.iter().all(|series| series.form == SeriesForm::Joined);
    let step = if intervals && joined && series.len() < 8 { STEP } else { 0 };
    (0..series.len() as i32).map(|number| number * step - (series.len() as i32 - 1) * step / 2).collect()
}

fn draw_series(
    canvas: &Canvas<'_>,
    series: &LineSeries,
    points: &[(i32, i32)],
    dot: &impl Fn(f64, f64) -> (i32, i32),
) -> Drawn {
    let ink = series.look.ink();
    for (x, figure) in &series.points {
        let Some((low, high)) = figure.interval else { continue };
        let (low, high) = (dot(*x, low), dot(*x, high));
        canvas.draw(&PathElement::new(vec![low, high], stroke(ink, 12)))?;
        for end in [low, high] {
            let cap = vec![(end.0 - 4 * DOTS, end.1), (end.0 + 4 * DOTS, end.1)];
            canvas.draw(&PathElement::new(cap, stroke(ink, 12)))?;
        }
    }
    let pale = |dashes: Option<(i32, i32)>| {
        let style = ink.colour().mix(0.55).stroke_width((16 * DOTS / 10) as u32);
        match dashes {
            None => canvas.draw(&PathElement::new(points.to_vec(), style)),
            Some((on, off)) => {
                canvas.draw(&DashedPathElement::new(points.iter().copied(), on * DOTS, off * DOTS, style))
            }
        }
    };
    match series.form {
        SeriesForm::Points => return Ok(()),
        SeriesForm::Pale => return pale(None),
        SeriesForm::PaleDotted => return pale(Some((2, 3))),
        SeriesForm::Joined | SeriesForm::Curve => {}
    }
    match series.look.dashes() {
        None => canvas.draw(&PathElement::new(points.to_vec(), stroke(ink, 22))),
        Some(dashes) => dashed(canvas, points, ink, dashes, 20),
    }
}

fn dashed(canvas: &Canvas<'_>, points: &[(i32, i32)], ink: Ink, (on, off): (i32, i32), width: i32) -> Drawn {
    let points = points.iter().copied();
    canvas.draw(&DashedPathElement::new(points, on * DOTS, off * DOTS, stroke(ink, width)))
}

/// Moves overlapping names apart, keeps their order, and keeps all of them above `lowest`.
fn spread(ends: &mut [LineEnd<'_>], gap: i32, lowest: i32) {
    ends.sort_by_key(|end| end.0.1);
    let mut above = i32::MIN / 2;
    for end in ends.iter_mut() {
        end.1 = end.1.max(above + gap);
        above = end.1;
    }
    let mut below = lowest + gap;
    for end in ends.iter_mut().rev() {
        end.1 = end.1.min(below - gap);
        below = end.1;
    }
}

/// Draws a name in the margin, with its marker and a thin line from the end of the series to it.
fn name(canvas: &Canvas<'_>, (end, height, series): &LineEnd<'_>, edge: i32) -> Drawn {
    let at = (edge + 12 * DOTS, *height);
    let hair = vec![(end.0 + 5 * DOTS, end.1), (edge + 6 * DOTS, *height)];
    canvas.draw(&PathElement::new(hair, stroke(Ink::Grid, 10)))?;
    series.look.draw(canvas, at, 35)?;
    let style = text(Ink::Text, TEXT, (HPos::Left, VPos::Center));
    canvas.draw(&Text::new(short(&series.label, LONGEST_NAME), (at.0 + 8 * DOTS, *height), style))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, look: SeriesStyle, values: &[f64]) -> LineSeries {
        let points = values
            .iter()
            .enumerate()
            .map(|(n, value)| (1024.0 * 4f64.powi(n as i32), RecordFigure::plain(*value)));
        LineSeries { label: label.to_owned(), look, form: SeriesForm::Joined, points: points.collect() }
    }

    fn plot(series: Vec<LineSeries>) -> String {
        let values: Vec<_> = series.iter().flat_map(|s| s.points.iter().map(|point| point.1.value)).collect();
        let y = Axis::values("throughput, GB/s", values.into_iter());
        Lines { title: "1 client".into(), x: Axis::sizes(&[1024, 4096]), y, series, guide: Vec::new() }.svg()
    }

    #[test]
    fn a_plot_is_as_it_was_drawn() {
        let mut solid = line("onecopy", SeriesStyle { place: 1, set: 0 }, &[1.0, 3.0]);
        solid.points[1].1.interval = Some((2.5, 3.5));
        insta::assert_snapshot!(plot(vec![
            solid,
            line("x <b>", SeriesStyle { place: 0, set: 1 }, &[2.0, 2.9])
        ]));
    }

    #[test]
    fn names_never_overlap() {
        let all: Vec<_> =
            (0..12).map(|n| line("a path", SeriesStyle { place: n, set: 0 }, &[1.0, 5.0])).collect();
        let mut ends: Vec<LineEnd<'_>> = all.iter().map(|series| ((0, 300), 300, series)).collect();
        spread(&mut ends, 60, 900);
        assert!(ends.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 60), "{ends:?}");
        assert!(ends.last().unwrap().1 <= 900);
    }

    #[test]
    fn every_marker_and_every_dash_can_be_drawn() {
        for set in 0..4 {
            for place in 0..10 {
                let single = line("one point", SeriesStyle { place, set }, &[1.0]);
                assert!(plot(vec![single]).contains("one point"));
            }
        }
        assert!(plot(Vec::new()).contains("<svg"));
    }
}
