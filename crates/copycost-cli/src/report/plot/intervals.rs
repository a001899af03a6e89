//! Ratios with their intervals, one row each, with the line of no difference and the band that counts as equal.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::ink::Ink;
use super::mark::SeriesStyle;
use super::{Canvas, DOTS, Drawn, TEXT, WIDTH, short, stroke, svg, text, width_of};
use crate::report::metric::RecordFigure;

/// A ratio with its interval and its outcome.
#[derive(Debug, Clone)]
pub struct Ratio {
    /// The text to the left.
    pub label: String,
    /// The colour and the shape of the path; hollow if undecided.
    pub look: SeriesStyle,
    /// The ratio with its interval; `None` if there is no usable ratio.
    pub figure: Option<RecordFigure>,
    /// The outcome of the comparison, to the right.
    pub outcome: String,
}

/// A plot of ratios.
#[derive(Debug, Clone)]
pub struct Intervals {
    /// The title above the plot.
    pub title: String,
    /// The horizontal axis of ratios.
    pub x: Axis,
    /// The deviation from 1 that counts as equal: 0.02 means ±2 %.
    pub equal_within: f64,
    /// The ratios, from top to bottom.
    pub ratios: Vec<Ratio>,
}

const ROW: i32 = 22;
const TOP: i32 = 26;

impl Intervals {
    /// Draws the plot as an SVG element.
    pub fn svg(&self) -> String {
        let height = TOP + ROW * self.ratios.len() as i32 + 46;
        svg(&self.title, (WIDTH, height), |canvas| self.draw(canvas, height))
    }

    fn draw(&self, canvas: &Canvas<'_>, height: i32) -> Drawn {
        let heading = text(Ink::Text, TEXT + 1, (HPos::Left, VPos::Top));
        canvas.draw(&Text::new(short(&self.title, 56), (0, 2 * DOTS), heading))?;
        let widest = |of: fn(&Ratio) -> &str| self.ratios.iter().map(|r| width_of(of(r))).max().unwrap_or(0);
        let (left, right) = (widest(|r| &r.label).min(170) + 8, widest(|r| &r.outcome) + 10);
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(TOP * DOTS)
            .margin_left(left * DOTS)
            .margin_right(right * DOTS)
            .margin_bottom(18 * DOTS)
            .x_label_area_size(22 * DOTS)
            .build_cartesian_2d(self.x.clone(), Axis::linear("", 1.0))?;
        let quiet = |anchor| text(Ink::Quiet, TEXT, anchor);
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .bold_line_style(stroke(Ink::Grid, 10))
            .axis_style(stroke(Ink::Grid, 10))
            .x_label_style(quiet((HPos::Center, VPos::Top)))
            .set_all_tick_mark_size(4 * DOTS)
            .draw()?;
        let area = chart.plotting_area().get_pixel_range();
        let at = |ratio: f64| chart.backend_coord(&(ratio, 0.0)).0;
        let band = [(at(1.0 - self.equal_within), area.1.start), (at(1.0 + self.equal_within), area.1.end)];
        canvas.draw(&Rectangle::new(band, Ink::Grid.colour().filled()))?;
        let one = vec![(at(1.0), area.1.start), (at(1.0), area.1.end)];
        canvas.draw(&PathElement::new(one, stroke(Ink::Quiet, 12)))?;
        let middle = ((area.0.start + area.0.end) / 2, (height - 16) * DOTS);
        canvas.draw(&Text::new(self.x.title.clone(), middle, quiet((HPos::Center, VPos::Top))))?;
        for (row, ratio) in self.ratios.iter().enumerate() {
            let y = (TOP + ROW * row as i32 + ROW / 2) * DOTS;
            draw_row(canvas, ratio, y, ((left - 6) * DOTS, area.0.end + 8 * DOTS), &at)?;
        }
        Ok(())
    }
}

/// Draws a ratio at the height `y`. `sides` are the x values at which its label ends and its outcome begins.
fn draw_row(
    canvas: &Canvas<'_>,
    ratio: &Ratio,
    y: i32,
    sides: (i32, i32),
    at: &impl Fn(f64) -> i32,
) -> Drawn {
    let label = text(Ink::Text, TEXT, (HPos::Right, VPos::Center));
    canvas.draw(&Text::new(short(&ratio.label, 25), (sides.0, y), label))?;
    let outcome = text(Ink::Text, TEXT, (HPos::Left, VPos::Center));
    canvas.draw(&Text::new(ratio.outcome.clone(), (sides.1, y), outcome))?;
    let Some(figure) = ratio.figure else { return Ok(()) };
    if let Some((low, high)) = figure.interval {
        let line = vec![(at(low), y), (at(high), y)];
        canvas.draw(&PathElement::new(line, stroke(ratio.look.ink(), 25)))?;
    }
    ratio.look.draw(canvas, (at(figure.value), y), 40)
}
