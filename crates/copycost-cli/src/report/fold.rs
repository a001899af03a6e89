//! Sentences in lines that a terminal shows whole.

/// The most columns of a line.
const COLUMNS: usize = 100;

/// `text` behind a mark such as `"- "`, in lines of at most 100 columns that stand under its first word; a word
/// longer than a line is left whole.
pub(super) fn wrapped(mark: &str, text: &str) -> String {
    let indent = mark.chars().count();
    let mut lines = mark.to_owned();
    let mut column = indent;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > COLUMNS {
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
