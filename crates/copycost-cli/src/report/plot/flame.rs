//! A flame graph, drawn by `inferno`: which function called which, and the share of time in each.
//!
//! inferno draws a whole document with a script. Only its frames are used here, which need no script because their
//! titles hold the figures. The colours are those of the classes; reserved colours become CSS variables, as in
//! [`ink`](super::ink).

use inferno::flamegraph::{self, Direction, Options, color::Color, color::PaletteMap};

use super::ink::Ink;

/// The width of the drawing in CSS pixels, unless the page scales it.
const WIDTH: usize = 1100;

/// The height of a frame in CSS pixels.
const FRAME: usize = 17;

/// The narrowest frame, in percent of the width. Narrower ones are omitted to keep the file small.
const NARROWEST: f64 = 0.25;

/// The most frames of a stack, more than any kernel has. The limit keeps a malicious file from making a huge drawing.
const DEEPEST: usize = 256;

/// The most samples of a stack, so that sums over all stacks of a file do not overflow.
const MOST_SAMPLES: u64 = 1 << 32;

/// The element with the frames in inferno's document.
const FRAMES: (&str, &str) = ("<svg id=\"frames\"", "</svg>");

/// Draws folded stacks as an SVG element. `ink` gives the colour of a function. `None` if a stack is invalid or there
/// is none.
pub fn svg(title: &str, folded: &[String], ink: impl Fn(&str) -> Ink) -> Option<String> {
    let mut palette = PaletteMap::default();
    let mut deepest = 0;
    for line in folded {
        let (stack, count) = line.rsplit_once(' ')?;
        if count.parse::<u64>().ok()? > MOST_SAMPLES || stack.split(';').nth(DEEPEST).is_some() {
            return None;
        }
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
    let (frames, height) = frames(body);
    let title = maud::html! { title { (title) } }.into_string();
    // A minimum width, because a scaled-down graph would be unreadable; on a narrow page it scrolls in its box.
    Some(format!(
        "<svg class=\"plot flame\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" style=\"min-width:{WIDTH}px\">{title}{frames}</svg>"
    ))
}

/// The frames in a compact form, the uppermost at 0, and their total height.
fn frames(body: &str) -> (String, usize) {
    let groups = || body.split("<g>").skip(1);
    let value = |group: &'_ str, name: &str| {
        let from = group.find(&format!(" {name}=\""))? + name.len() + 3;
        group[from..].split('"').next().map(str::to_owned)
    };
    let inside = |group: &'_ str, tag: &str| {
        let rest = &group[group.rfind(&format!("<{tag}"))?..];
        rest[rest.find('>')? + 1..].split('<').next().map(str::to_owned)
    };
    let top = |group: &str| value(group, "y").and_then(|y| y.parse::<usize>().ok());
    let first = groups().filter_map(top).min().unwrap_or(0);
    let frame = |group: &str| {
        let (x, width, height) = (value(group, "x")?, value(group, "width")?, value(group, "height")?);
        let (y, fill) = (top(group)? - first, variable(&value(group, "fill")?));
        let (title, text) = (inside(group, "title")?, inside(group, "text")?);
        let text = match text.as_str() {
            "" => String::new(),
            text => format!("<text x=\"{x}\" dx=\"3\" y=\"{}\">{text}</text>", y + FRAME - 5),
        };
        let rect =
            format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"/>");
        Some((y + FRAME, format!("<g><title>{title}</title>{rect}{text}</g>")))
    };
    let drawn: Vec<_> = groups().filter_map(frame).collect();
    let height = drawn.iter().map(|(lowest, _)| *lowest).max().unwrap_or(0);
    (drawn.into_iter().map(|(_, frame)| frame).collect(), height)
}

/// The CSS variable for a reserved colour such as `rgb(1,2,33)`.
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
    fn invalid_stacks_are_not_drawn() {
        assert!(svg("", &[], |_| Ink::Grid).is_none());
        for line in ["no_count", "a -1", "a 18446744073709551615", "a b", &format!("{}a 1", "a;".repeat(300))]
        {
            assert!(svg("", &lines(&[line]), |_| Ink::Grid).is_none(), "{line}");
        }
    }

    #[test]
    fn narrow_frames_are_left_out() {
        let folded = lines(&["sender;wide 9999", "sender;narrow 1"]);
        assert!(!svg("", &folded, |_| Ink::Grid).unwrap().contains("narrow"));
    }
}
