//! Plots as SVG for a page that has a light and a dark theme, by `plotters`.
//!
//! Why plotters: it is the oldest and most used chart crate (Criterion uses it, so every developer of this crate
//! already has it), its SVG backend needs neither fonts nor a system library, and its parts can be used separately.
//! Coordinate systems and shapes come from it; direct labels, intervals and hatching come from here. It does not
//! support themes. So each ink is drawn in a reserved colour, which is then replaced by the name of a CSS variable
//! ([`ink`]).

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

/// The drawing area; its coordinates are dots.
pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Dots per CSS pixel. plotters draws at whole dots; with one dot per pixel, lines would look bent.
pub const DOTS: i32 = 4;

/// The size of text in a plot of [`WIDTH`], in CSS pixels. Scaled with the plot it is 11 on a phone and 12 to 16 on a
/// desktop.
pub const TEXT: i32 = 13;

/// The width of a plot in CSS pixels. Two fit side by side on a desktop, and one keeps readable text on a phone.
pub const WIDTH: i32 = 420;

/// The result of drawing. It never fails in practice, because the target is a string.
pub type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// An SVG element of `width` × `height` CSS pixels, with a title for screen readers.
pub fn svg(title: &str, (width, height): (i32, i32), draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> String {
    let mut text = String::new();
    {
        let size = ((width * DOTS) as u32, (height * DOTS) as u32);
        let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
        // A plot that could not be drawn stays empty; the table below it has the figures.
        let _ = draw(&canvas).and_then(|()| canvas.present());
    }
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    let title = maud::html! { title { (title) } }.into_string();
    format!(
        "<svg class=\"plot\" role=\"img\" viewBox=\"0 0 {} {}\" style=\"min-width:{}px\">{title}\n{}",
        width * DOTS,
        height * DOTS,
        // Smaller plots would have unreadable text. A plot of the usual width fits a phone; a wider one scrolls in its
        // box.
        if width > WIDTH { width * 5 / 6 } else { width * 3 / 4 },
        ink::themed(body)
    )
}

/// The style of text in an ink; `size` is in CSS pixels.
pub fn text(ink: Ink, size: i32, anchor: (HPos, VPos)) -> TextStyle<'static> {
    // plotters writes the size divided by 1.24 as the font size.
    let font = ("inherit", f64::from(size * DOTS) * 1.24).into_font();
    font.color(&ink.colour()).pos(Pos::new(anchor.0, anchor.1))
}

/// The style of a line; `width` is in tenths of a CSS pixel.
pub fn stroke(ink: Ink, width: i32) -> ShapeStyle {
    ink.colour().stroke_width((width * DOTS / 10) as u32)
}

/// The approximate width of `text` at the size [`TEXT`], in CSS pixels. The reader's font is unknown, so this is the
/// width in DejaVu Sans, the widest of the usual fonts.
pub fn width_of(text: &str) -> i32 {
    // A bound against overflow; no longer text fits into a plot.
    let characters = text.chars().take(10_000).count() as i32;
    (characters * TEXT * 63 + 99) / 100
}

/// `text`, cut to at most `most` characters.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
