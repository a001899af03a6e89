//! What a terminal can show: its width, colour, and whether it has more than ASCII. The caller knows; the text that is
//! written stays a pure function of it.

use comfy_table::{ContentArrangement, Table, presets};

/// The narrowest and the widest line that text is laid out for.
pub const COLUMNS: std::ops::RangeInclusive<usize> = 60..=200;

/// What a terminal, a pipe or a file can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Escape sequences for colour: a terminal whose user has not set `NO_COLOR`.
    pub coloured: bool,
    /// Columns of a line.
    pub columns: usize,
    /// Whether characters beyond ASCII are shown.
    pub unicode: bool,
}

impl Screen {
    /// A file or a pull request: no colour, lines of 100 columns.
    pub const FILE: Self = Self { coloured: false, columns: 100, unicode: true };

    /// `text` behind a mark such as `"- "`, in lines that stand under its first word; a word longer than a line is left
    /// whole.
    pub(super) fn wrapped(self, mark: &str, text: &str) -> String {
        // Longer lines are hard to read, however wide the terminal is.
        let columns = self.columns.min(100);
        let indent = mark.chars().count();
        let mut lines = mark.to_owned();
        let mut column = indent;
        for word in text.split_whitespace() {
            let width = word.chars().count();
            if column > indent && column + 1 + width > columns {
                lines += "\n";
                lines += &" ".repeat(indent);
                column = indent;
            } else if column > indent {
                lines.push(' ');
                column += 1;
            }
            lines += word;
            column += width;
        }
        lines + "\n"
    }

    /// That columns were left out because a line has no room for them; nothing where none was.
    pub(super) fn left_out(self, columns: &[String]) -> String {
        match columns {
            [] => String::new(),
            some => self.wrapped(
                "",
                &format!(
                    "Left out for want of room: {}. A wider terminal and the files have it.",
                    some.join(", ")
                ),
            ),
        }
    }

    /// `text` in lines, in bold where there is colour.
    pub(super) fn bold(self, text: &str) -> String {
        let text = self.wrapped("", text);
        if self.coloured { format!("\u{1b}[1m{}\u{1b}[0m\n", text.trim_end()) } else { text }
    }

    /// A table without a row.
    pub(super) fn table(self) -> Table {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(self.columns).unwrap_or(u16::MAX));
        if self.coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    /// `text` with what this screen cannot show in its nearest ASCII.
    pub(super) fn shown(self, text: String) -> String {
        if self.unicode {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                'µ' => out.push('u'),
                '×' => out.push('x'),
                '±' => out.push_str("+-"),
                '–' | '−' => out.push('-'),
                '…' => out.push_str("..."),
                '·' => out.push('-'),
                // Of eighths only the larger ones are worth a character.
                '▏' | '▎' | '▍' => out.push(' '),
                '▌' | '▋' | '▊' | '▉' | '█' => out.push('#'),
                c => out.push(c),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_the_screen_and_stand_under_the_first_word() {
        let screen = Screen { columns: 60, ..Screen::FILE };
        let text = screen.wrapped("- ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("  word")), "{text}");
        let long = "x".repeat(70);
        assert!(screen.wrapped("", &format!("a {long} b")).contains(&long));
    }

    #[test]
    fn without_unicode_nothing_of_ours_is_beyond_ascii() {
        let text = "█▌▏ ±2 % µs 2 × 3 – … · −1";
        assert_eq!(Screen::FILE.shown(text.to_owned()), text);
        let ascii = Screen { unicode: false, ..Screen::FILE }.shown(text.to_owned());
        assert!(ascii.is_ascii(), "{ascii}");
        assert_eq!(ascii, "##  +-2 % us 2 x 3 - ... - -1");
    }
}
