//! Standard output and standard error. A failed write does not stop the command; a failure of standard output is
//! remembered and reported at the end.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use crate::record::Results;
use crate::report::Format;
use crate::report::screen::{self, Screen};
use crate::report::set::{of_results, side_by_side};

/// The first error of a write to standard output.
static FAILED: OnceLock<String> = OnceLock::new();

/// The properties of standard output: colour on a terminal unless the user turned it off (<https://no-color.org>), the
/// width of the terminal or of `COLUMNS`, and whether the locale is UTF-8.
pub fn screen() -> Screen {
    let refused = |name: &str, is: fn(&OsStr) -> bool| std::env::var_os(name).is_some_and(|value| is(&value));
    let no_colour =
        refused("NO_COLOR", |value| !value.is_empty()) || refused("TERM", |value| value == "dumb");
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    let set = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    Screen {
        coloured: io::stdout().is_terminal() && !no_colour,
        columns: terminal
            .or_else(set)
            .unwrap_or(Screen::FILE.columns)
            .clamp(*screen::COLUMNS.start(), *screen::COLUMNS.end()),
        unicode: is_utf8(|name| std::env::var(name).ok()),
    }
}

/// Whether the locale uses UTF-8. The first of these variables that is set decides (setlocale(3)).
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// Prints `results`; a table is fitted to the terminal.
pub fn show(results: &Results, format: Format) {
    print(&match format {
        Format::Table => format.write_sets(&side_by_side(of_results("", results)), screen()),
        _ => format.write(results),
    });
}

/// Prints to standard output and flushes; an error is kept for [`failure`].
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    note(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Keeps the error of a write to standard output for [`failure`]. A closed pipe is no failure: `head` closes it early.
pub fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error.to_string());
    }
}

/// The first error of a write to standard output; `None` if there was none.
pub fn failure() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}

/// Writes a line to standard error and ignores errors: `eprintln!` would panic where it is closed or full.
pub fn message(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides_about_utf8() {
        let of = |set: &'static [(&str, &str)]| {
            is_utf8(|name| set.iter().find(|known| known.0 == name).map(|known| known.1.to_owned()))
        };
        assert!(of(&[("LANG", "de_DE.UTF-8")]));
        assert!(of(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!of(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(!of(&[("LANG", "POSIX")]));
        assert!(!of(&[]));
    }
}
