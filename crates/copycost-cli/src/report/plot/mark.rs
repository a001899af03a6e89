//! Markers: each path has a shape besides its colour, for colour-blind readers and for prints.

use plotters::prelude::*;

use super::ink::Ink;
use super::{Canvas, DOTS, Drawn, stroke};

/// The style of a series: the path determines colour and shape, the set determines line and filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesStyle {
    /// The path's index in the list of all paths, for colour and shape.
    pub place: usize,
    /// The set's number. Set 0 is solid with filled markers; odd sets are dashed, the others dotted, with hollow
    /// markers.
    pub set: usize,
}

impl SeriesStyle {
    /// The colour of the line and of the markers.
    pub fn ink(self) -> Ink {
        Ink::Series(self.place)
    }

    /// The lengths of dashes and gaps in CSS pixels; `None` for a solid line.
    pub fn dashes(self) -> Option<(i32, i32)> {
        match self.set {
            0 => None,
            set if set % 2 == 1 => Some((6, 4)),
            _ => Some((2, 3)),
        }
    }

    /// Draws the marker at `at`; `radius` in tenths of a CSS pixel.
    pub fn draw(self, canvas: &Canvas<'_>, at: (i32, i32), radius: i32) -> Drawn {
        let radius = radius * DOTS / 10;
        let outline = shape(self.place, at, radius);
        let colour = self.ink().colour();
        // A gap around the marker separates overlapping ones.
        canvas.draw(&Polygon::new(shape(self.place, at, radius + DOTS), Ink::Paper.colour().filled()))?;
        if self.set == 0 {
            return canvas.draw(&Polygon::new(outline, colour.filled()));
        }
        let closed: Vec<_> = outline.iter().chain(&outline[..1]).copied().collect();
        canvas.draw(&PathElement::new(closed, stroke(self.ink(), 15)))
    }
}

/// The corners of the shape for a path's index.
fn shape(place: usize, (x, y): (i32, i32), radius: i32) -> Vec<(i32, i32)> {
    let polygon = |corners: usize, turn: f64, scale: f64| {
        let corner = |n: usize| {
            let angle = std::f64::consts::TAU * (n as f64 / corners as f64) + turn.to_radians();
            let reach = f64::from(radius) * scale;
            (x + (angle.sin() * reach).round() as i32, y - (angle.cos() * reach).round() as i32)
        };
        (0..corners).map(corner).collect::<Vec<_>>()
    };
    let star = |points: usize, turn: f64, inner: f64| {
        let (outer, inner) =
            (polygon(points, turn, 1.3), polygon(points, turn + 180.0 / points as f64, inner));
        outer.into_iter().zip(inner).flat_map(|(a, b)| [a, b]).collect::<Vec<_>>()
    };
    // Eight shapes and 14 colours make 56 distinct pairs.
    match place % 8 {
        0 => polygon(24, 0.0, 1.0),
        1 => polygon(4, 45.0, 1.25),
        2 => polygon(3, 0.0, 1.35),
        3 => polygon(4, 0.0, 1.3),
        4 => polygon(3, 180.0, 1.35),
        5 => star(4, 0.0, 0.45),
        6 => star(5, 0.0, 0.6),
        _ => polygon(6, 0.0, 1.15),
    }
}
