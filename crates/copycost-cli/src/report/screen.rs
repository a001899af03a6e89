//! The abilities of a terminal: its width, colour, and Unicode. The caller determines them, so that the output stays a
//! pure function of them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The narrowest and the widest supported line, in columns.
pub const COLUMNS: std::ops::RangeInclusive<usize> = 60..=200;

/// The abilities of a terminal, a pipe or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether to write escape sequences for colour: on a terminal, unless the user has set `NO_COLOR`.
    pub coloured: bool,
    /// The number of columns of a line.
    pub columns: usize,
    /// Whether characters beyond ASCII can be shown.
    pub unicode: bool,
}

impl Screen {
    /// A file or a pull request: no colour, lines of 100 columns.
    pub const FILE: Self = Self { coloured: false, columns: 100, unicode: true };

    /// `text` after a mark such as `"- "`, wrapped with a hanging indent. A word longer than a line is not broken.
    pub(crate) fn wrapped(self, mark: &str, text: &str) -> String {
        // Longer lines are hard to read even on a wide terminal.
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

    /// A sentence about the columns that do not fit into a line; empty if all fit.
    pub(super) fn left_out(self, columns: &[String]) -> String {
        match columns {
            [] => String::new(),
            columns => self.wrapped(
                "",
                &format!(
                    "Left out for want of room: {}. A wider terminal and the files have it.",
                    columns.join(", ")
                ),
            ),
        }
    }

    /// `text` wrapped into lines, in bold if the screen has colour.
    pub(super) fn bold(self, text: &str) -> String {
        let text = self.wrapped("", text);
        if self.coloured { format!("\u{1b}[1m{}\u{1b}[0m\n", text.trim_end()) } else { text }
    }

    /// An empty table in the style of the reports.
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

    /// A table as text; the columns from `first_figures` on are aligned to the right.
    pub(crate) fn listed<Cell: ToString>(
        self,
        header: impl IntoIterator<Item: ToString>,
        rows: impl IntoIterator<Item: IntoIterator<Item = Cell>>,
        first_figures: usize,
    ) -> String {
        let mut table = self.table();
        table.set_header(header.into_iter().map(|title| title.to_string()));
        for column in table.column_iter_mut().skip(first_figures) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for row in rows {
            table.add_row(row.into_iter().map(|cell| cell.to_string()));
        }
        printed(&table)
    }

    /// `text`, with characters that this screen cannot show replaced by similar ASCII.
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
                // Bars in eighths: half a character and more becomes a full one.
                '▏' | '▎' | '▍' => out.push(' '),
                '▌' | '▋' | '▊' | '▉' | '█' => out.push('#'),
                c => out.push(c),
            }
        }
        out
    }
}

/// The lines of a table without trailing blanks.
pub(super) fn printed(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A bar for a share of `length` characters, in steps of an eighth of a character.
pub(super) fn bar(share: f64, length: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    // Even the smallest share is visible.
    let eighths = ((share.clamp(0.0, 1.0) * 8.0 * length as f64).round() as usize).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
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
