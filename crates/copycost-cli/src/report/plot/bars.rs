//! A horizontal bar chart with segmented bars.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ink::Ink;
use super::{Canvas, DOTS, Drawn, TEXT, WIDTH, short, stroke, svg, text, width_of};

/// A part of a bar.
#[derive(Debug, Clone)]
pub struct BarSegment {
    /// The length of the segment, in the unit of the plot.
    pub value: f64,
    /// The colour of the segment.
    pub ink: Ink,
    /// Whether the segment is hatched.
    pub hatched: bool,
}

/// A bar with its name and its figure.
#[derive(Debug, Clone)]
pub struct Bar {
    /// The text to the left of the bar.
    pub label: String,
    /// The segments, from left to right.
    pub segments: Vec<BarSegment>,
    /// The text to the right of the bar.
    pub figure: String,
}

/// A bar chart.
#[derive(Debug, Clone)]
pub struct Bars {
    /// The quantity that the plot shows, with its unit.
    pub title: String,
    /// The bars, from top to bottom.
    pub bars: Vec<Bar>,
}

/// The height of a row in CSS pixels.
const ROW: i32 = 23;

impl Bars {
    /// Draws the plot as an SVG element.
    pub fn svg(&self) -> String {
        svg(&self.title, (WIDTH, 28 + ROW * self.bars.len() as i32), |canvas| self.draw(canvas))
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Drawn {
        let quiet = text(Ink::Quiet, TEXT, (HPos::Left, VPos::Top));
        canvas.draw(&Text::new(self.title.clone(), (0, 2 * DOTS), quiet))?;
        let longest = |of: fn(&Bar) -> &str| self.bars.iter().map(|bar| width_of(of(bar))).max().unwrap_or(0);
        let left = longest(|bar| &bar.label).min(WIDTH / 2) + 8;
        let room = (WIDTH - left - longest(|bar| &bar.figure) - 8).max(WIDTH / 8);
        let length = |bar: &Bar| bar.segments.iter().map(|segment| segment.value).sum::<f64>();
        let most = self.bars.iter().map(length).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        for (row, bar) in self.bars.iter().enumerate() {
            let top = (26 + ROW * row as i32) * DOTS;
            let middle = top + ROW * DOTS / 2;
            let style = text(Ink::Text, TEXT, (HPos::Right, VPos::Center));
            canvas.draw(&Text::new(short(&bar.label, 32), ((left - 6) * DOTS, middle), style))?;
            let mut x = left * DOTS;
            for segment in &bar.segments {
                let end = x + (segment.value / most * f64::from(room * DOTS)).round() as i32;
                let corners = [(x, top + 3 * DOTS), (end, top + (ROW - 3) * DOTS)];
                canvas.draw(&Rectangle::new(corners, segment.ink.colour().filled()))?;
                if segment.hatched {
                    canvas.draw(&Rectangle::new(corners, Ink::Hatch.colour().filled()))?;
                }
                x = end;
            }
            let edge = [(left * DOTS, top), (left * DOTS, top + ROW * DOTS)];
            canvas.draw(&PathElement::new(edge.to_vec(), stroke(Ink::Quiet, 10)))?;
            let style = text(Ink::Text, TEXT, (HPos::Left, VPos::Center));
            canvas.draw(&Text::new(bar.figure.clone(), (x + 5 * DOTS, middle), style))?;
        }
        Ok(())
    }
}
