//! Standard output and standard error. Output that cannot be written ends nothing and loses nothing: the command goes on,
//! and a failure of standard output is kept until its end.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use crate::record::Results;
use crate::report::Format;
use crate::report::screen::{self, Screen};
use crate::report::set::{of_results, side_by_side};

/// Why standard output did not take all that it was given.
static FAILED: OnceLock<String> = OnceLock::new();

/// What reads standard output: colour where a terminal does and its user has not said no (<https://no-color.org>), its
/// width or that of `COLUMNS`, and the locale's characters.
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

/// Whether the locale's characters are Unicode's: the first of these variables that is set decides (setlocale(3)).
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// Prints `results`, a table as the reader's screen shows it.
pub fn show(results: &Results, format: Format) {
    print(&match format {
        Format::Table => format.write_sets(&side_by_side(of_results("", results)), screen()),
        _ => format.write(results),
    });
}

/// Prints to standard output.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    note(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Keeps what became of a write to standard output, for [`failure`]. A reader that has gone, as `head` does, is no failure.
pub fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error.to_string());
    }
}

/// Why standard output did not take all that it was given; `None` where it did.
pub fn failure() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}

/// Writes a line to standard error, which may be closed or full: `eprintln!` would panic there.
pub fn message(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_on_the_characters() {
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
