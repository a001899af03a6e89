//! A flame graph: which function called which, and how much of the time lies in each, by `inferno`.
//!
//! inferno draws a whole document with a script. Here only its frames are taken, which need none: their titles say the
//! figures. Colours are those of the classes, by the way of [`ink`](super::ink): reserved colours become variables.

use std::fmt::Write as _;

use inferno::flamegraph::{self, Direction, Options, color::Color, color::PaletteMap};

use super::ink::Ink;

/// The width of the drawing in units, which are CSS pixels on a desk.
const WIDTH: usize = 1100;

/// The height of a frame.
const FRAME: usize = 17;

/// Frames narrower than this share of the width, in percent, are left out: a file for a report has to stay small.
const NARROWEST: f64 = 0.25;

/// The frames' own element in inferno's document.
const FRAMES: (&str, &str) = ("<svg id=\"frames\"", "</svg>");

/// As an SVG element; `ink` says the colour of a function. `None` where there is nothing to draw.
pub fn svg(title: &str, folded: &[String], ink: impl Fn(&str) -> Ink) -> Option<String> {
    let mut palette = PaletteMap::default();
    let mut deepest = 0;
    for line in folded {
        let stack = line.rsplit_once(' ')?.0;
        deepest = deepest.max(stack.split(';').count());
        for name in stack.split(';') {
            let reserved = ink(name).colour();
            palette.insert(name, Color { r: reserved.0, g: reserved.1, b: reserved.2 });
        }
    }
    let mut options = Options::default();
    options.palette_map = Some(&mut palette);
    options.direction = Direction::Inverted;
    options.image_width = Some(WIDTH);
    options.frame_height = FRAME;
    options.min_width = NARROWEST;
    options.no_javascript = true;
    options.font_size = 11;
    let mut document = Vec::new();
    flamegraph::from_lines(&mut options, folded.iter().map(String::as_str), &mut document).ok()?;
    let document = String::from_utf8(document).ok()?;
    let body = &document[document.find(FRAMES.0)?..];
    let body = &body[body.find('>')? + 1..body.find(FRAMES.1)?];
    let (frames, lowest) = frames(body);
    let title = maud::html! { title { (title) } }.into_string();
    let (top, height) = lowest;
    // Below this the names cannot be read: then it scrolls in its box.
    Some(format!(
        "<svg class=\"plot flame\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" style=\"min-width:800px\">{title}\
         <svg y=\"-{top}\" width=\"{WIDTH}\" height=\"{}\" overflow=\"visible\">{frames}</svg></svg>",
        height + top
    ))
}

/// The frames in as few bytes as they need, and where they begin and how high they are.
fn frames(body: &str) -> (String, (usize, usize)) {
    let mut out = String::with_capacity(body.len() / 2);
    let (mut first, mut last) = (usize::MAX, 0);
    for group in body.split("<g>").skip(1) {
        let value = |name: &str| {
            let from = group.find(&format!(" {name}=\"")).map(|at| at + name.len() + 3)?;
            group[from..].split('"').next()
        };
        let inside = |tag: &str| {
            let from = group.rfind(&format!("<{tag}"))?;
            let rest = &group[from..];
            rest[rest.find('>')? + 1..].split('<').next()
        };
        let rect = (value("x"), value("y"), value("width"), value("height"), value("fill"));
        let (Some(x), Some(y), Some(width), Some(height), Some(fill)) = rect else { continue };
        let (Some(title), Some(text)) = (inside("title"), inside("text")) else { continue };
        let at: usize = y.parse().unwrap_or(0);
        (first, last) = (first.min(at), last.max(at + FRAME));
        let _ = write!(
            out,
            "<g><title>{title}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\"/>",
            variable(fill)
        );
        if !text.is_empty() {
            let _ = write!(out, "<text x=\"{x}\" dx=\"3\" y=\"{}\">{text}</text>", at + FRAME - 5);
        }
        out.push_str("</g>");
    }
    let first = if first == usize::MAX { 0 } else { first };
    (out, (first, last.saturating_sub(first)))
}

/// `rgb(1,2,33)`, a reserved colour, as what it stands for.
fn variable(fill: &str) -> String {
    let number = fill.strip_prefix("rgb(1,2,").and_then(|rest| rest.strip_suffix(')'));
    number
        .and_then(|number| number.trim().parse().ok())
        .map_or_else(|| "var(--grid)".to_owned(), Ink::variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn frames_have_their_figures_and_no_script() {
        let folded = lines(&[
            "sender;entry;a_long_name_of_a_function 90",
            "sender;<b>\"&;deep 10",
            "receiver;recv 100",
        ]);
        let svg =
            svg("onecopy", &folded, |name| if name == "recv" { Ink::Tint(2) } else { Ink::Grid }).unwrap();
        assert!(svg.contains("recv (100 samples, 50.00%)") && svg.contains("fill=\"var(--t2)\""), "{svg}");
        assert!(!svg.contains("<script") && !svg.contains("<style") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("a_long_name_of_a_function</text>"), "{svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert_eq!(svg.matches("<g>").count(), 8, "{svg}");
    }

    #[test]
    fn what_is_no_stack_is_no_drawing() {
        assert!(svg("", &[], |_| Ink::Grid).is_none());
        assert!(svg("", &lines(&["no_count"]), |_| Ink::Grid).is_none());
    }

    #[test]
    fn narrow_frames_are_left_out() {
        let folded = lines(&["sender;wide 9999", "sender;narrow 1"]);
        assert!(!svg("", &folded, |_| Ink::Grid).unwrap().contains("narrow"));
    }
}
