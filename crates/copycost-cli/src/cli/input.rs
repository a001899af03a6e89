//! Files that the command reads: of bounded length, and nothing that blocks where a plain file is expected.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::Failure;
use crate::record::{LARGEST, Results};

/// The text of a file, or of a pipe that the shell made from a command.
pub fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST {
        return Err(io::Error::other(format!("it is longer than {} MiB", LARGEST >> 20)));
    }
    Ok(text)
}

/// Likewise of a file in a folder that others may have filled, where a pipe would be waited for without end.
pub fn text_of_regular(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.is_file() { text(path) } else { Err(io::Error::other("it is not a regular file")) }
}

/// The results of an earlier run, from the .json that it wrote.
pub fn results(flag: &str, file: &Path) -> Result<Results, Failure> {
    let usage =
        |what: String| Failure::Usage(format!("invalid value for {flag}: '{}' {what}", file.display()));
    let text = text(file).map_err(|error| usage(format!("cannot be read: {error}")))?;
    Results::read(&text).map_err(usage)
}
