//! Texts of `/proc` and `/sys`. Names in them (of programs, files, interfaces) are bytes of any kind.

use std::io;
use std::path::Path;

/// The text of a file of the kernel. Bytes that are no UTF-8 are replaced: the name of one process must not hide the rest
/// of what a file says.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
