//! Standard output and standard error. Output that cannot be written ends nothing and loses nothing: the command goes on,
//! and a failure of standard output is kept until its end.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use crate::record::Results;
use crate::report::set::{of_results, side_by_side};
use crate::report::{Format, Paint};

/// Why standard output did not take all that it was given.
static FAILED: OnceLock<String> = OnceLock::new();

/// Colour where a terminal reads standard output and its user has not said no (<https://no-color.org>).
pub fn paint() -> Paint {
    let refused = |name: &str, is: fn(&OsStr) -> bool| std::env::var_os(name).is_some_and(|value| is(&value));
    let no_colour =
        refused("NO_COLOR", |value| !value.is_empty()) || refused("TERM", |value| value == "dumb");
    if io::stdout().is_terminal() && !no_colour { Paint::Coloured } else { Paint::Plain }
}

/// Prints `results`, in colour where it may be.
pub fn show(results: &Results, format: Format) {
    print(&match format {
        Format::Table => format.write_sets(&side_by_side(of_results("", results)), paint()),
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
