//! What the values of flags may be: each parser refuses with one sentence that says what is allowed.

use std::fmt;
use std::time::Duration;

use crate::connection::Options;
use crate::cost::pollution::Chase;
use crate::message::{BadMessageSize, Spec};
use crate::scenario::MAX_CLIENTS;
use crate::send::{self, SendPath};
use crate::units::ByteSize;

/// The longest measurement of one path in one cell: an hour, in seconds.
const MAX_SECONDS: f64 = 3600.0;

/// `--path`: one name, or all.
#[derive(Debug, Clone, Copy)]
pub enum PathChoice {
    /// Every path that can be had here.
    All,
    /// This one.
    One(&'static SendPath),
}

impl fmt::Display for PathChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::One(path) => path.name,
        })
    }
}

/// A path's name, or `all`.
pub fn path(text: &str) -> Result<PathChoice, String> {
    if text == "all" {
        return Ok(PathChoice::All);
    }
    let names = || send::ALL.iter().map(|path| path.name).collect::<Vec<_>>().join(", ");
    send::by_name(text).map(PathChoice::One).ok_or_else(|| format!("the paths are {} and all", names()))
}

/// A message's size.
pub fn size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: crate::units::BadSize| error.to_string())?;
    Spec::new(size.0).map(|_| size).map_err(|error: BadMessageSize| error.to_string())
}

/// The size of a table for the pointer chase.
pub fn table(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: crate::units::BadSize| error.to_string())?;
    Chase::check(size.0).map(|_| size).map_err(|error| error.to_string())
}

/// A number of clients.
pub fn clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(clients @ 1..=MAX_CLIENTS) => Ok(clients),
        _ => Err(format!("clients are a whole number from 1 to {MAX_CLIENTS}")),
    }
}

/// A time to measure.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        // Below a millisecond nothing is received. NaN is in no range.
        Ok(seconds) if (0.001..=MAX_SECONDS).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("seconds are a number from 0.001 to {MAX_SECONDS}")),
    }
}

/// The options for this machine, with another end to every wait if it is given.
pub fn options(stall: Option<Duration>) -> Options {
    let options = Options::for_this_machine();
    Options { stall: stall.unwrap_or(options.stall), ..options }
}

/// Each value once, in the order in which it was first given.
pub fn distinct<T: PartialEq + Copy>(values: &[T]) -> Vec<T> {
    let mut seen = Vec::with_capacity(values.len());
    for value in values {
        if !seen.contains(value) {
            seen.push(*value);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_with_what_is_allowed() {
        for text in ["0", "1025", "-1", "x", "1.5", ""] {
            assert!(clients(text).unwrap_err().contains("1 to 1024"), "{text}");
        }
        for text in ["0", "NaN", "inf", "-1", "3601", "", "1e-9"] {
            assert!(seconds(text).unwrap_err().contains("0.001 to 3600"), "{text}");
        }
        for text in ["0", "7", "2GiB"] {
            assert!(size(text).unwrap_err().contains("8 bytes"), "{text}");
        }
        assert!(size("64KB").is_err());
        assert!(path("nocopy").unwrap_err().contains("twocopy, onecopy, zerocopy"));
        assert_eq!(distinct(&[3, 1, 3, 2, 1]), [3, 1, 2]);
    }
}
