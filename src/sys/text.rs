//! Text files of `/proc` and `/sys`. Names in them (of programs, files, interfaces) can have any bytes.

use std::io;
use std::path::Path;

/// Reads a text file of the kernel. Bytes that are not UTF-8 are replaced, so that the name of one process
/// does not hide the rest of the file.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
