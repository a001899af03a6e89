//! Parsers of flag values. Each error is one sentence that says which values are allowed.

use std::fmt;
use std::time::Duration;

use super::{Failure, output};
use crate::compare::crossover;
use crate::compare::trial::MOST_SETUPS;
use crate::record::{BadLoad, Load};
use copycost::internals::cost::pollution::Chase;
use copycost::message::{BadMessageSize, Fields, Spec};
use copycost::recv::{self, ReceivePath};
use copycost::scenario::ConnectionOptions;
use copycost::scenario::MAX_CLIENTS;
use copycost::send::{self, SendPath, Unsupported};
use copycost::units::ByteSize;
use copycost::workload::Workload;

/// The longest measurement of one path in one cell: an hour, in seconds.
const MAX_SECONDS: f64 = 3600.0;

/// The longest run, in seconds: a day.
const MAX_BUDGET: f64 = 24.0 * 3600.0;

/// `--path`: one name, or all.
#[derive(Debug, Clone, Copy)]
pub enum PathChoice {
    /// Every path that is available here.
    All,
    /// The named path.
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

/// Parses `--path`: the name of a send path, or `all`.
pub fn path(text: &str) -> Result<PathChoice, String> {
    if text == "all" {
        return Ok(PathChoice::All);
    }
    let names = || send::ALL.iter().map(|path| path.name).collect::<Vec<_>>().join(", ");
    send::by_name(text).map(PathChoice::One).ok_or_else(|| match send::known_as(text) {
        Some(path) => format!("did you mean {}? It is {}", path.name, path.description),
        None if text.parse::<u16>().is_ok() => "-p is --path; a port belongs to --over HOST:PORT".to_owned(),
        None => format!("the paths are {} and all", names()),
    })
}

/// The chosen paths, each once. `all` skips the paths that `probe` refuses and prints a note; a named path that `probe`
/// refuses is an error.
pub fn paths(
    choices: &[PathChoice],
    probe: impl Fn(&'static SendPath) -> Result<(), Unsupported>,
) -> Result<Vec<&'static SendPath>, Failure> {
    let mut paths: Vec<&'static SendPath> = Vec::new();
    let mut add = |path: &'static SendPath| {
        if !paths.iter().any(|seen| seen.name == path.name) {
            paths.push(path);
        }
    };
    for choice in choices {
        match choice {
            PathChoice::One(path) => {
                probe(path).map_err(|reason| Failure::Usage(format!("{}: {reason}", path.name)))?;
                add(path);
            }
            PathChoice::All => send::ALL.iter().for_each(|path| match probe(path) {
                Ok(()) => add(path),
                Err(reason) => output::message(&format!("note: {} is left out: {reason}", path.name)),
            }),
        }
    }
    Ok(paths)
}

/// Parses `--receive`: the name of a receive path.
pub fn receive(text: &str) -> Result<&'static ReceivePath, String> {
    let names = || recv::ALL.iter().map(|path| path.name).collect::<Vec<_>>().join(", ");
    recv::by_name(text).ok_or_else(|| format!("the receive paths are {}", names()))
}

/// Parses `--size`: the size of a message, as [`Spec::new`] allows it.
pub fn size(text: &str) -> Result<ByteSize, String> {
    let size = bytes(text)?;
    Spec::new(size.0).map(|_| size).map_err(|error: BadMessageSize| error.to_string())
}

/// Parses a size in bytes. A decimal unit is ambiguous, so the error suggests the binary unit.
fn bytes(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|error: copycost::units::BadSize| {
        let lower = text.trim().to_ascii_lowercase();
        let binary = ["k", "m", "g"].iter().find_map(|unit| {
            let number = lower.strip_suffix(&format!("{unit}b"))?.trim();
            let meant = format!("{number}{}iB", unit.to_ascii_uppercase());
            meant.parse::<ByteSize>().ok().map(|_| meant)
        });
        binary.map_or_else(|| error.to_string(), |meant| format!("did you mean {meant}?"))
    })
}

/// Parses `--pollution`: the size of the table that the pointer chase walks.
pub fn table(text: &str) -> Result<ByteSize, String> {
    let size = bytes(text)?;
    Chase::check(size.0).map(|_| size).map_err(|error| error.to_string())
}

/// Parses `--mix`, and returns its text: how messages are divided is another flag.
pub fn mix(text: &str) -> Result<String, String> {
    Workload::mix(text, Fields::default()).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses `--clients`: 1 to [`MAX_CLIENTS`].
pub fn clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(clients @ 1..=MAX_CLIENTS) => Ok(clients),
        _ if text.contains(['.', ':']) && text.parse::<f64>().is_err() => {
            Err("-c is --clients, a number; another host is --over HOST:PORT".to_owned())
        }
        _ => Err(format!("the number of clients must be a whole number from 1 to {MAX_CLIENTS}")),
    }
}

/// Parses `--setups`: at least 2, because an interval needs two set-ups.
pub fn setups(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(setups @ 2..=MOST_SETUPS) => Ok(setups),
        _ => Err(format!("the number of set-ups must be a whole number from 2 to {MOST_SETUPS}")),
    }
}

/// Parses a number of hosts: 1 to 65,536.
pub fn hosts(text: &str) -> Result<usize, String> {
    const MOST: usize = 65_536;
    match text.parse() {
        Ok(hosts @ 1..=MOST) => Ok(hosts),
        _ => Err(format!("the number of hosts must be a whole number from 1 to {MOST}")),
    }
}

/// Parses `--seconds`: the time to measure, in seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        // Nothing arrives in less than a millisecond. No range contains NaN.
        Ok(seconds) if (0.001..=MAX_SECONDS).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("the time must be from 0.001 to {MAX_SECONDS} seconds")),
    }
}

/// Parses a percentage, `5%` or `5`, and returns it as a fraction.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text.trim()).trim_end();
    match number.parse::<f64>() {
        // No range contains NaN.
        Ok(percent) if (0.01..=50.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write a percentage from 0.01% to 50%".to_owned()),
    }
}

/// Parses `--at`: the load for which a report shows the number of cores.
pub fn load(text: &str) -> Result<Load, String> {
    text.parse().map_err(|error: BadLoad| error.to_string())
}

/// Parses a part of `--load`: a share of the rate at which the reference saturates, `80%` or `80`, as a fraction.
pub fn load_share(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text.trim()).trim_end();
    match number.parse::<f64>() {
        Ok(percent) if (1.0..=200.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write percentages from 1% to 200%, separated by commas".to_owned()),
    }
}

/// Parses a part of `--rate`: messages a second, such as 500, 2.5 or 20k.
pub fn rate(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let (number, scale) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |number| (number, 1e6)),
    };
    match number.trim_end().parse::<f64>().map(|number| number * scale) {
        Ok(rate) if (0.01..=1e7).contains(&rate) => Ok(rate),
        _ => Err("write messages a second of each client, from 0.01 to 10M: 500, 2.5 or 20k".to_owned()),
    }
}

/// Parses a duration: `30s`, `1500ms`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => Some(1e-3),
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    match number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale) {
        Some(seconds) if (1.0..=MAX_BUDGET).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a time from 1s to 24h, with ms, s, m or h".to_owned()),
    }
}

/// `--crossover`: two paths, and the largest size at which they are compared.
#[derive(Debug, Clone, Copy)]
pub struct CrossoverRequest {
    /// The path that should win.
    pub path: &'static SendPath,
    /// The path that it should beat.
    pub against: &'static SendPath,
    /// The largest size, in bytes.
    pub most: usize,
}

/// Parses `--crossover`: `A:B`, or `A:B:SIZE`.
pub fn crossover_request(text: &str) -> Result<CrossoverRequest, String> {
    let form = "write PATH:PATH, or PATH:PATH:SIZE with the largest size (default 1MiB, at most 4MiB)";
    let mut parts = text.split(':');
    let (Some(path), Some(against), most, None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(form.to_owned());
    };
    let one = |name: &str| match self::path(name)? {
        PathChoice::One(path) => Ok(path),
        PathChoice::All => Err(form.to_owned()),
    };
    let (path, against) = (one(path)?, one(against)?);
    let most = most.map_or(Ok(ByteSize(crossover::MOST)), size)?.0;
    if path.name == against.name {
        return Err(format!("{} cannot beat itself: {form}", path.name));
    }
    if !(2 * crossover::SMALLEST..=crossover::MOST_ALLOWED).contains(&most) {
        return Err("the largest size must be between 2KiB and 4MiB".to_owned());
    }
    Ok(CrossoverRequest { path, against, most })
}

/// The options for this machine, with `stall` as the stall timeout if it is given.
pub fn options(stall: Option<Duration>) -> ConnectionOptions {
    with_stall_timeout(ConnectionOptions::for_this_machine(), stall)
}

/// `options` with `stall` as the stall timeout if it is given.
pub fn with_stall_timeout(options: ConnectionOptions, stall: Option<Duration>) -> ConnectionOptions {
    ConnectionOptions { stall_timeout: stall.unwrap_or(options.stall_timeout), ..options }
}

/// `values` without duplicates, in the order of first occurrence.
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
    fn an_error_for_a_value_out_of_range_names_the_range() {
        for text in ["0", "1025", "-1", "x", "1.5", ""] {
            assert!(clients(text).unwrap_err().contains("1 to 1024"), "{text}");
        }
        for text in ["0", "NaN", "inf", "-1", "3601", "", "1e-9"] {
            assert!(seconds(text).unwrap_err().contains("0.001 to 3600"), "{text}");
        }
        for text in ["0", "7", "2GiB"] {
            assert!(size(text).unwrap_err().contains("8 bytes"), "{text}");
        }
        for text in ["", "%", "0%", "51%", "-1%", "NaN%", "5 percent", "0.001"] {
            assert!(percent(text).unwrap_err().contains("0.01% to 50%"), "{text}");
        }
        for text in ["", "s", "0s", "999ms", "25h", "1 day", "-3s", "1.2.3s", "NaN"] {
            assert!(duration(text).unwrap_err().contains("1s to 24h"), "{text}");
        }
        for text in [
            "",
            "onecopy",
            "onecopy:",
            "a:b",
            "onecopy:onecopy",
            "all:onecopy",
            "onecopy:zerocopy:8MiB",
            "onecopy:zerocopy:8",
            "onecopy:zerocopy:1MiB:1",
        ] {
            assert!(crossover_request(text).is_err(), "{text}");
        }
        for text in ["", "%", "0%", "0.5%", "201%", "-1%", "NaN%", "80 per cent"] {
            assert!(load_share(text).unwrap_err().contains("1% to 200%"), "{text}");
        }
        for text in ["", "k", "0", "-5", "inf", "NaN", "11M", "20 000", "5m", "1e9"] {
            assert!(rate(text).unwrap_err().contains("0.01 to 10M"), "{text}");
        }
        assert_eq!([load_share("80%"), load_share("110 %"), load_share("5")], [Ok(0.8), Ok(1.1), Ok(0.05)]);
        let rates = ["500", "2.5", "20k", "1 M", "7/s", "3k/s", "0.01"].map(|text| rate(text).unwrap());
        assert_eq!(rates, [500.0, 2.5, 20_000.0, 1e6, 7.0, 3000.0, 0.01]);
        assert_eq!(size("64KB").unwrap_err(), "did you mean 64KiB?");
        assert_eq!(size("24kb").unwrap_err(), "did you mean 24KiB?");
        for (text, meant) in
            [("writev", "onecopy"), ("MSG_ZEROCOPY", "zerocopy"), ("write_vectored", "onecopy")]
        {
            assert!(path(text).unwrap_err().starts_with(&format!("did you mean {meant}?")), "{text}");
        }
        assert!(path("5201").unwrap_err().contains("--over"));
        assert!(clients("10.0.0.1").unwrap_err().contains("--over"));
        assert!(path("nocopy").unwrap_err().contains("twocopy, onecopy, zerocopy"));
        assert_eq!(percent("2.5 %").map(|p| (p * 1e6).round()), Ok(25_000.0));
        assert_eq!(
            ["30s", "2 m", "1500ms", "1h", "7"].map(|text| duration(text).map(|d| d.as_millis())),
            [Ok(30_000), Ok(120_000), Ok(1500), Ok(3_600_000), Ok(7000)]
        );
        assert_eq!(
            crossover_request("onecopy:zerocopy").map(|c| (c.path.name, c.most)),
            Ok(("onecopy", 1 << 20))
        );
        assert_eq!(
            crossover_request("zerocopy:twocopy:4MiB").map(|c| (c.against.name, c.most)),
            Ok(("twocopy", 4 << 20))
        );
        assert_eq!(distinct(&[3, 1, 3, 2, 1]), [3, 1, 2]);
    }
}
