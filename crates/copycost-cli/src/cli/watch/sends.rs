//! How processes send, as text and for JSON, and the trace as a CSV file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::cli::Failure;
use crate::record::rate_text;
use crate::report::screen::Screen;
use crate::stats::two_sided_quantile;
use crate::watch::sends::kind::SendKind;
use crate::watch::sends::tally::Tally;
use crate::watch::sends::{SeenSends, TracedSend};
use copycost::units::{Rate, plural, significant, thousands};

/// What was seen of all calls.
#[derive(Debug, Serialize)]
pub(super) struct SendsReport {
    bursts: usize,
    /// How long sends were recorded.
    recorded_seconds: f64,
    lost: u64,
    connections: usize,
    /// Threads that were left out because no file was left.
    left_out: usize,
    kinds: Vec<KindReport>,
}

/// What was seen of one call.
#[derive(Debug, Serialize)]
struct KindReport {
    call: String,
    /// Sends that were recorded.
    calls: u64,
    bytes: u64,
    calls_per_second: f64,
    /// The interval of 95 % over the bursts.
    calls_per_second_low: Option<f64>,
    calls_per_second_high: Option<f64>,
    bytes_per_second: f64,
    p50: Option<u32>,
    p90: Option<u32>,
    largest: Option<u32>,
    /// Sends that found no room (EAGAIN).
    refused: u64,
    failed: u64,
    /// The upper end of a group of sizes, twice the one before, and its sends.
    histogram: Vec<(u64, u64)>,
}

impl SendsReport {
    pub(super) fn of(sends: &SeenSends) -> Self {
        let seconds = sends.recorded().as_secs_f64();
        let kind = |(kind, tally): (&SendKind, &Tally)| {
            let (calls, ends) = rate(sends, tally);
            KindReport {
                call: kind.to_string(),
                calls: tally.calls,
                bytes: tally.bytes,
                calls_per_second: calls,
                calls_per_second_low: ends.map(|ends| ends.0),
                calls_per_second_high: ends.map(|ends| ends.1),
                bytes_per_second: tally.bytes as f64 / seconds.max(f64::MIN_POSITIVE),
                p50: tally.size(0.5),
                p90: tally.size(0.9),
                largest: tally.size(1.0),
                refused: tally.refused,
                failed: tally.failed,
                histogram: tally.histogram().into_iter().map(|(power, sends)| (1 << power, sends)).collect(),
            }
        };
        Self {
            bursts: sends.bursts.len(),
            recorded_seconds: seconds,
            lost: sends.lost,
            connections: sends.connections,
            left_out: sends.left_out,
            kinds: sends.kinds.iter().map(kind).collect(),
        }
    }
}

/// Sends a second, and the interval of 95 % over bursts: that of a ratio whose denominator, the length of a burst, varies.
fn rate(sends: &SeenSends, tally: &Tally) -> (f64, Option<(f64, f64)>) {
    let seconds = sends.recorded().as_secs_f64();
    let rate = tally.calls as f64 / seconds.max(f64::MIN_POSITIVE);
    let bursts = sends.bursts.len();
    if bursts < 2 {
        return (rate, None);
    }
    let rest = |(number, length): (usize, &std::time::Duration)| {
        tally.of_burst(number).0 as f64 - rate * length.as_secs_f64()
    };
    let squares: f64 = sends.bursts.iter().enumerate().map(|burst| rest(burst).powi(2)).sum();
    let n = bursts as f64;
    let error = (n / (n - 1.0) * squares).sqrt() / seconds;
    let reach = two_sided_quantile(0.05, bursts - 1) * error;
    (rate, Some(((rate - reach).max(0.0), rate + reach)))
}

/// The call with the most bytes.
fn main_call(sends: &SeenSends) -> Option<(&SendKind, &Tally)> {
    sends.kinds.iter().filter(|(_, tally)| tally.calls > 0).max_by_key(|(_, tally)| tally.bytes)
}

/// `nginx sends 12,400 times a second, most of it by writev of 32,768 bytes (median).`
pub(super) fn headline(name: &str, sends: &SeenSends) -> String {
    let Some((kind, tally)) = main_call(sends) else {
        return format!("{name} was not seen to send over TCP.\n");
    };
    let seconds = sends.recorded().as_secs_f64().max(f64::MIN_POSITIVE);
    let all = rate_text(sends.sends() as f64 / seconds);
    let most = if sends.kinds.len() > 1 { "most bytes " } else { "" };
    let size = thousands(tally.size(0.5).unwrap_or_default().into());
    format!("{name} sends {all} times a second, {most}by {kind} of {size} bytes (median).\n")
}

/// The table of calls.
pub(super) fn text(sends: &SeenSends, screen: Screen) -> String {
    if sends.sends() == 0 && sends.kinds.is_empty() {
        return String::new();
    }
    let header = ["call", "calls/s", "95 %", "bytes/s", "p50", "p90", "largest", "refused"];
    let seconds = sends.recorded().as_secs_f64().max(f64::MIN_POSITIVE);
    let row = |(kind, tally): (&SendKind, &Tally)| {
        let (calls, ends) = rate(sends, tally);
        let size =
            |quantile| tally.size(quantile).map_or_else(|| "–".to_owned(), |size| thousands(size.into()));
        let asked = tally.calls + tally.refused + tally.failed;
        let refused = 100.0 * tally.refused as f64 / asked.max(1) as f64;
        [
            kind.to_string(),
            rate_text(calls),
            ends.map_or_else(String::new, |(low, high)| format!("{} to {}", rate_text(low), rate_text(high))),
            Rate(tally.bytes as f64 / seconds).to_string(),
            size(0.5),
            size(0.9),
            size(1.0),
            if tally.refused == 0 { String::new() } else { format!("{} %", significant(refused)) },
        ]
    };
    let mut text = format!("\n{}", screen.listed(header, sends.kinds.iter().map(row), 1));
    let mut about = format!(
        "Sizes are the bytes that the socket accepted. {} sent. Recorded in {} of {} ms in all.",
        plural(sends.connections, "connection"),
        plural(sends.bursts.len(), "burst"),
        significant(1e3 * seconds)
    );
    if sends.lost > 0 {
        about += &format!(" {} sends were lost because a ring was full.", thousands(sends.lost));
    }
    if sends.left_out > 0 {
        about += &format!(
            " {} left out: raise the limit of open files (ulimit -n).",
            plural(sends.left_out, "thread")
        );
    }
    if sends.trace_full {
        about += &format!(" The trace has the first {} sends.", thousands(sends.trace.len() as u64));
    }
    text += &screen.wrapped("", &about);
    text
}

/// A file for a trace, which is created before anything is watched.
#[derive(Debug)]
pub(super) struct TraceFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> TraceFile<'a> {
    /// Creates the file.
    pub(super) fn create(path: &'a Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path, file })
    }

    /// Writes the sends, a line each, in the form that `copycost run --trace` reads.
    pub(super) fn write(self, sends: &[TracedSend]) -> Result<(), Failure> {
        let mut out = BufWriter::new(&self.file);
        let mut all = || {
            writeln!(out, "size,connection,time,call")?;
            for TracedSend { bytes, connection, at, kind } in sends {
                // A message of a run has at least eight bytes.
                writeln!(
                    out,
                    "{},{connection},{}.{:09},{kind}",
                    bytes,
                    at / 1_000_000_000,
                    at % 1_000_000_000
                )?;
            }
            out.flush()
        };
        all().map_err(|error| failed(self.path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("'{}' cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seen(calls_of_bursts: &[u64]) -> SeenSends {
        let mut tally = Tally::default();
        for (burst, calls) in calls_of_bursts.iter().enumerate() {
            (0..*calls).for_each(|_| tally.add(32_768, burst));
        }
        SeenSends {
            kinds: [(SendKind::Writev, tally)].into(),
            bursts: vec![Duration::from_millis(10); calls_of_bursts.len()],
            connections: 3,
            ..SeenSends::default()
        }
    }

    #[test]
    fn rates_have_intervals_over_bursts() {
        let sends = seen(&[100, 110, 90, 100]);
        let (calls, ends) = rate(&sends, &sends.kinds[&SendKind::Writev]);
        assert!((calls - 10_000.0).abs() < 1e-6);
        // The deviations are 0, 10, -10 and 0 calls: a standard error of sqrt(4/3 * 200) calls in 0.04 s.
        let (low, high) = ends.unwrap();
        let reach = 3.1824 * (800.0f64 / 3.0).sqrt() / 0.04;
        assert!((high - calls - reach).abs() < 1.0 && (calls - low - reach).abs() < 1.0, "{low} {high}");
        assert_eq!(rate(&seen(&[5]), &sends.kinds[&SendKind::Writev]).1, None);
    }

    #[test]
    fn the_answer_is_one_line() {
        assert_eq!(
            headline("nginx", &seen(&[100, 100])),
            "nginx sends 10,000 times a second, by writev of 32,768 bytes (median).\n"
        );
        assert_eq!(headline("nginx", &SeenSends::default()), "nginx was not seen to send over TCP.\n");
        let text = text(&seen(&[100, 100]), Screen::FILE);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.contains("3 connections sent") && text.contains("328 MB/s"), "{text}");
    }
}
