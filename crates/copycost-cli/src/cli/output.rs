//! Where results go: files that are whole at every moment, and standard output.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::record::Results;
use crate::report::set::{of_results, side_by_side};
use crate::report::{Format, Paint};

/// Files that results are written to, each in the form of its extension.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, Format)>);

impl Files {
    /// Checks the extensions, and that each file can be written, before anything is measured.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for path in paths {
            let usage = |what: String| Failure::Usage(format!("invalid value for --output: {what}"));
            let format = Format::of_file(path).map_err(usage)?;
            let unwritable = |error| usage(format!("'{}' cannot be written: {error}", path.display()));
            check_writable(path).map_err(unwritable)?;
            files.push((path.clone(), format));
        }
        Ok(Self(files))
    }

    /// Writes `results` to every file: under a temporary name, then renamed, so that no reader sees half of it.
    pub fn save(&self, results: &Results) -> Result<(), Failure> {
        self.save_each(|format| format.write(results))
    }

    /// The same, for what `written` gives for a form.
    pub fn save_each(&self, written: impl Fn(Format) -> String) -> Result<(), Failure> {
        for (path, format) in &self.0 {
            let failed = |error| Failure::Failed(format!("'{}' was not written: {error}", path.display()));
            replace(path, written(*format).as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    /// The first of them.
    pub fn first(&self) -> Option<&Path> {
        self.0.first().map(|file| file.0.as_path())
    }

    /// Whether one of the files has this form.
    pub fn has(&self, format: Format) -> bool {
        self.0.iter().any(|file| file.1 == format)
    }
}

/// Colour where a terminal reads standard output and its user has not said no (<https://no-color.org>).
pub fn paint() -> Paint {
    let refused = |name: &str, is: fn(&OsStr) -> bool| std::env::var_os(name).is_some_and(|value| is(&value));
    let no_colour =
        refused("NO_COLOR", |value| !value.is_empty()) || refused("TERM", |value| value == "dumb");
    if io::stdout().is_terminal() && !no_colour { Paint::Coloured } else { Paint::Plain }
}

/// Prints `results`, in colour where it may be.
pub fn show(results: &Results, format: Format) -> Result<(), Failure> {
    print(&match format {
        Format::Table => format.write_sets(&side_by_side(of_results("", results)), paint()),
        _ => format.write(results),
    })
}

/// Prints to standard output. A reader that has gone, as `head` does, is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(error.to_string())),
        _ => Ok(()),
    }
}

fn check_writable(path: &Path) -> io::Result<()> {
    // A device or a pipe must not be replaced, and writing into it could block.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::other("it is there and is no regular file"));
    }
    let temporary = temporary(path);
    fs::File::create(&temporary)?;
    fs::remove_file(temporary)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Beside the file, so that the rename stays on one file system.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}
