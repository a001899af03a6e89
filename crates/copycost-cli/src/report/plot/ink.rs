//! The inks of plots: reserved colours that become CSS variables, and the values of the variables in both themes.
//!
//! The first seven colours of series are those of Okabe and Ito, which people with any form of colour blindness can
//! distinguish. Some are darkened or lightened for enough contrast with the page (3 to 1, WCAG 1.4.11). The others
//! belong to paths that are seldom compared, and their markers distinguish them too.

use plotters::style::RGBColor;

/// The number of colours of series. Further series repeat them with other markers.
pub const SERIES: usize = 14;

/// The role of a colour in a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text and figures.
    Text,
    /// Titles of axes, and labels of ticks.
    Quiet,
    /// Lines behind the data.
    Grid,
    /// The background, for gaps around markers.
    Paper,
    /// The colour of a path, by its index in the list of all paths.
    Series(usize),
    /// A weak colour of a path for areas below text, by the same index.
    Tint(usize),
    /// The hatch pattern over undecided areas.
    Hatch,
}

/// The values of the CSS variables in a theme.
#[derive(Debug)]
pub struct Theme {
    /// The background of the page.
    pub page: &'static str,
    /// The background of plots and text.
    pub paper: &'static str,
    pub text: &'static str,
    /// Less important text.
    pub quiet: &'static str,
    /// Grid lines and borders.
    pub grid: &'static str,
    /// Links, and the edge of the verdict.
    pub accent: &'static str,
    /// Claims that are held.
    pub good: &'static str,
    /// Claims that are not held, and warnings.
    pub bad: &'static str,
    /// The colours of paths.
    pub series: [&'static str; SERIES],
    /// The colours of paths for areas, weak enough for text on them.
    pub tints: [&'static str; SERIES],
}

/// The light theme, on white.
pub const LIGHT: Theme = Theme {
    page: "#f4f6f8",
    paper: "#ffffff",
    text: "#17202b",
    quiet: "#566170",
    grid: "#dfe4ea",
    accent: "#0b6aa8",
    good: "#006b4f",
    bad: "#a63c00",
    series: [
        "#0072b2", "#d55e00", "#008f68", "#b5598c", "#a97400", "#2f8fc7", "#6c757f", "#7a3fb0", "#9c2f2f",
        "#5d7a00", "#00788a", "#3d4f9f", "#7d5a3c", "#b0007a",
    ],
    tints: [
        "#cfe4f1", "#f8dcc8", "#cbeadf", "#f0dae6", "#f6e7c4", "#d8ecf8", "#e3e6e9", "#e6d9f3", "#f3d6d6",
        "#e3ebc8", "#cdeaee", "#dbe0f4", "#ece0d5", "#f7d3ea",
    ],
};

/// The dark theme, on nearly black.
pub const DARK: Theme = Theme {
    page: "#0e1217",
    paper: "#161c23",
    text: "#e7ecf2",
    quiet: "#a4afbb",
    grid: "#2d3640",
    accent: "#66b4ec",
    good: "#45c79c",
    bad: "#f0945a",
    series: [
        "#4a9fe0", "#e87722", "#1fb88c", "#d98dba", "#e6a81c", "#8fd0f7", "#a5afba", "#b48ae8", "#e07a7a",
        "#a5c43f", "#3fc3d6", "#8f9ff0", "#c79a73", "#f06fc0",
    ],
    tints: [
        "#173c58", "#56300f", "#0f4636", "#4c2f40", "#4d3b0f", "#234a5e", "#3a424b", "#3a2752", "#4d2626",
        "#343d12", "#12414a", "#2a3160", "#43311f", "#4f1f40",
    ],
};

impl Ink {
    /// The reserved colour. Its two upper bytes mark it as reserved.
    pub fn colour(self) -> RGBColor {
        RGBColor(1, 2, self.number())
    }

    fn number(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Quiet => 1,
            Self::Grid => 2,
            Self::Paper => 3,
            Self::Hatch => 4,
            Self::Series(place) => 16 + (place % SERIES) as u8,
            Self::Tint(place) => 32 + (place % SERIES) as u8,
        }
    }
}

impl Ink {
    /// The CSS value for the last byte of a reserved colour.
    pub fn variable(number: u8) -> String {
        value_of(number)
    }
}

fn value_of(number: u8) -> String {
    match number {
        0 => "var(--text)".to_owned(),
        1 => "var(--quiet)".to_owned(),
        2 => "var(--grid)".to_owned(),
        3 => "var(--paper)".to_owned(),
        4 => "url(#hatch)".to_owned(),
        16..32 => format!("var(--s{})", number - 16),
        _ => format!("var(--t{})", number - 32),
    }
}

/// `svg` with the reserved colours replaced. Only attributes can hold one in quotes, because plotters escapes quotes in
/// text.
pub fn themed(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len() * 5 / 4);
    let mut rest = svg;
    while let Some(at) = rest.find("\"#0102") {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 6..];
        let (number, tail) = rest.split_at_checked(2).unwrap_or((rest, ""));
        out.push_str(&value_of(u8::from_str_radix(number, 16).unwrap_or_default()));
        rest = tail;
    }
    out.push_str(rest);
    out
}

impl Theme {
    /// The theme as CSS declarations.
    pub fn css(&self) -> String {
        let named = [
            ("page", self.page),
            ("paper", self.paper),
            ("text", self.text),
            ("quiet", self.quiet),
            ("grid", self.grid),
            ("accent", self.accent),
            ("good", self.good),
            ("bad", self.bad),
        ];
        let mut css: String = named.iter().map(|(name, value)| format!("--{name}:{value};")).collect();
        for (letter, values) in [("s", self.series), ("t", self.tints)] {
            css.extend(values.iter().enumerate().map(|(place, value)| format!("--{letter}{place}:{value};")));
        }
        css
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance and contrast as WCAG 2 defines them.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour: &str| {
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn contrast_is_as_the_standard_computes_it() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        assert!((contrast("#767676", "#ffffff") - 4.54).abs() < 0.01);
    }

    #[test]
    fn text_is_readable_on_every_background() {
        for theme in [LIGHT, DARK] {
            let mut pairs = Vec::new();
            for behind in [theme.page, theme.paper] {
                pairs.extend(
                    [theme.text, theme.quiet, theme.accent, theme.good, theme.bad].map(|ink| (ink, behind)),
                );
            }
            pairs.extend(theme.tints.map(|tint| (theme.text, tint)));
            for (ink, behind) in pairs {
                let ratio = contrast(ink, behind);
                assert!(ratio >= 4.5, "{ink} on {behind}: {ratio:.2}");
            }
        }
    }

    #[test]
    fn lines_stand_out_from_the_page() {
        for theme in [LIGHT, DARK] {
            for line in theme.series {
                let ratio = contrast(line, theme.paper);
                assert!(ratio >= 3.0, "{line} on {}: {ratio:.2}", theme.paper);
            }
        }
    }

    #[test]
    fn reserved_colours_become_variables_and_nothing_else_does() {
        assert_eq!(themed(r##"<a b="#010210" c="#010203"/>"##), r##"<a b="var(--s0)" c="var(--paper)"/>"##);
        for text in ["#010210", r##""#0102"##, "", r##"x "#ffffff""##, "\"#0102é"] {
            let _ = themed(text);
        }
        assert_eq!(themed("#010210"), "#010210");
    }
}
