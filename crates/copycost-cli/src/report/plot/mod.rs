//! Plots as SVG for a page that has a light and a dark theme, by `plotters`.
//!
//! Why plotters: it is the oldest and most used of the chart crates (Criterion draws with it, so every developer of
//! this crate has it already), its SVG backend needs neither fonts nor a system library, and its parts can be taken
//! one by one: the coordinate systems and the shapes from it, the reading aids (direct labels, intervals, hatching)
//! from here. It knows no themes. So each ink is drawn in a reserved colour, which is then replaced by the name of a
//! CSS variable ([`ink`]).

pub mod axis;
pub mod bars;
pub mod flame;
pub mod grid;
pub mod ink;
pub mod intervals;
pub mod lines;
pub mod mark;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use ink::Ink;

/// Where shapes are drawn, in dots.
pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Dots for each CSS pixel. plotters draws at whole dots; with one a pixel lines would look bent.
pub const DOTS: i32 = 4;

/// The size of text in CSS pixels, in a plot of [`WIDTH`]: on a phone 11, on a desk 12 to 16.
pub const TEXT: i32 = 13;

/// The width of a plot in CSS pixels: two stand side by side on a desk, and on a phone one keeps readable text.
pub const WIDTH: i32 = 420;

/// What can go wrong in drawing; nothing does, for the target is a string.
pub type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// An SVG element of `width` × `height` CSS pixels that says what it is to those who cannot see it.
pub fn svg(title: &str, (width, height): (i32, i32), draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> String {
    let mut text = String::new();
    {
        let size = ((width * DOTS) as u32, (height * DOTS) as u32);
        let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
        // A plot that could not be drawn is left empty; the table under it has the figures.
        let _ = draw(&canvas).and_then(|()| canvas.present());
    }
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    let title = maud::html! { title { (title) } }.into_string();
    format!(
        "<svg class=\"plot\" role=\"img\" viewBox=\"0 0 {} {}\" style=\"min-width:{}px\">{title}\n{}",
        width * DOTS,
        height * DOTS,
        // Below this text would be too small to read. One of the usual width fits a phone, a wider one scrolls in its box.
        if width > WIDTH { width * 5 / 6 } else { width * 3 / 4 },
        ink::themed(body)
    )
}

/// Text in an ink; `size` in CSS pixels.
pub fn text(ink: Ink, size: i32, anchor: (HPos, VPos)) -> TextStyle<'static> {
    // plotters divides by 1.24 what it writes as the font's size.
    let font = ("inherit", f64::from(size * DOTS) * 1.24).into_font();
    font.color(&ink.colour()).pos(Pos::new(anchor.0, anchor.1))
}

/// A line of `width` tenths of a CSS pixel.
pub fn stroke(ink: Ink, width: i32) -> ShapeStyle {
    ink.colour().stroke_width((width * DOTS / 10) as u32)
}

/// About how wide `text` is at [`TEXT`], in CSS pixels. No font is known here; DejaVu Sans, the widest of the usual ones,
/// needs this.
pub fn width_of(text: &str) -> i32 {
    // Nothing longer has a place.
    let characters = text.chars().take(10_000).count() as i32;
    (characters * TEXT * 63 + 99) / 100
}

/// `text`, cut to so many characters.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
