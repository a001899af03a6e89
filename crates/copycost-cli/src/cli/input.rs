//! Reads input files: with a limit on their length, and without blocking on a pipe where a regular file is expected.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::Failure;
use crate::record::{LARGEST, Results};

/// Reads a file, or a pipe from the shell's process substitution.
pub fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST {
        return Err(io::Error::other(format!("it is longer than {} MiB", LARGEST >> 20)));
    }
    Ok(text)
}

/// Reads a regular file. Files found in a folder may be pipes, and reading one could block forever.
pub fn text_of_regular(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.is_file() { text(path) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Reads the results of an earlier run from its .json file.
pub fn results(flag: &str, file: &Path) -> Result<Results, Failure> {
    let usage =
        |what: String| Failure::Usage(format!("invalid value for {flag}: '{}' {what}", file.display()));
    let text = text(file).map_err(|error| usage(format!("cannot be read: {error}")))?;
    Results::read(&text).map_err(usage)
}
