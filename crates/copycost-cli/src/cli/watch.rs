//! `copycost watch`: shows how much CPU time a running process loses to slow copies because of the offsets of its
//! buffers.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Done, Failure, arguments, output, signals};
use crate::doctor;
use crate::profile::perf::PerfSampler;
use crate::watch::{self, Direction, HazardousCopies, WatchResult};

#[derive(Debug, Args)]
pub struct WatchArguments {
    /// The process; its children are watched too
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
    /// How long to watch it
    #[arg(long, value_name = "S", value_parser = arguments::seconds, default_value = "10")]
    seconds: Duration,
    /// The format: text or json
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

/// The most places that the text format shows.
const SHOWN: usize = 8;

/// The most stack frames shown for each place.
const FRAMES: usize = 5;

/// With fewer samples the text warns that shares are rough: one sample more or less changes a share by per cents.
const FEW: u64 = 100;

#[derive(Debug, Serialize)]
struct WatchReport {
    pid: i32,
    seconds: f64,
    processes: usize,
    threads: usize,
    /// CPU time for each second of wall time.
    cpus: f64,
    samples: u64,
    lost: u64,
    /// Threads that could not be sampled.
    refused: usize,
    /// Samples in user space whose instruction could not be read.
    unread: u64,
    /// Whether the process ended while it was watched.
    ended: bool,
    /// The share of all samples, in percent.
    copying_percent: Option<f64>,
    hazardous_percent: Option<f64>,
    /// How many times as long a copy at such a distance takes on this machine.
    slower_here: Option<f64>,
    places: Vec<PlaceReport>,
}

#[derive(Debug, Serialize)]
struct PlaceReport {
    percent: f64,
    direction: &'static str,
    distance: u16,
    frames: Vec<String>,
}

impl WatchArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let signals = signals::listen()?;
        let mut interrupted = false;
        let mut go_on = || {
            interrupted |= signals.try_recv().is_ok();
            !interrupted
        };
        let there = |pid: i32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        if !there(self.pid) {
            return Err(Failure::Usage(format!("there is no process {}", self.pid)));
        }
        let seen = watch::watch(&PerfSampler, self.pid, self.seconds, &mut go_on)
            .map_err(|why| Failure::Failed(format!("process {} cannot be watched: {why}", self.pid)))?;
        let slower = doctor::slowness();
        if self.format == "json" {
            let text = serde_json::to_string_pretty(&report(self.pid, &seen, slower));
            output::print(&(text.unwrap_or_default() + "\n"));
        } else {
            output::print(&text(self.pid, &seen, slower));
        }
        Ok(if interrupted { Done::CutShort } else { Done::Yes })
    }
}

fn report(pid: i32, seen: &WatchResult, slower_here: Option<f64>) -> WatchReport {
    let counts = &seen.counts;
    let percent = |samples: u64| 100.0 * counts.share(samples);
    let known = counts.with_registers > 0;
    WatchReport {
        pid,
        seconds: seen.time.as_secs_f64(),
        processes: seen.processes,
        threads: seen.threads,
        cpus: seen.cpus(),
        samples: counts.samples,
        lost: seen.lost,
        refused: seen.refused,
        unread: counts.unread,
        ended: seen.ended,
        copying_percent: known.then(|| percent(counts.copies)),
        hazardous_percent: known.then(|| percent(counts.hits())),
        slower_here,
        places: by_weight(seen)
            .into_iter()
            .map(|(place, samples)| PlaceReport {
                percent: percent(samples),
                direction: describe(place.direction),
                distance: place.distance,
                frames: place.frames.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}

fn by_weight(seen: &WatchResult) -> Vec<(&HazardousCopies, u64)> {
    let mut places: Vec<_> = seen.counts.hazardous.iter().map(|(place, samples)| (place, *samples)).collect();
    places.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    places
}

fn describe(direction: Direction) -> &'static str {
    match direction {
        Direction::FromKernel => "out of the kernel",
        Direction::ToKernel => "into the kernel",
        Direction::Within => "in user space",
    }
}

/// What the user can change. The kernel's side of a copy mostly begins at offset 0 of a page, so the buffer of the
/// program must move.
fn advice(place: &HazardousCopies) -> String {
    let distance = place.distance;
    match place.direction {
        Direction::FromKernel => format!(
            "the receive buffer begins {distance} bytes further into its page than the data it receives: \
             begin it at 64"
        ),
        Direction::ToKernel => format!(
            "the send buffer begins {} bytes into its page, and the kernel copies it to the start of one: \
             begin it at 64",
            4096 - u32::from(distance)
        ),
        Direction::Within => format!(
            "the destination begins {distance} bytes further into its page than the source: move one of them \
             to another multiple of 64"
        ),
    }
}

fn text(pid: i32, seen: &WatchResult, slower: Option<f64>) -> String {
    let counts = &seen.counts;
    let mut text = format!(
        "Process {pid}: {} in {}, {:.1} s, {:.2} CPUs, {}.\n",
        counted(seen.threads as u64, "thread", "threads"),
        counted(seen.processes as u64, "process", "processes"),
        seen.time.as_secs_f64(),
        seen.cpus(),
        counted(counts.samples, "sample", "samples"),
    );
    if seen.ended {
        text += "The process ended while it was watched.\n";
    }
    if seen.refused > 0 {
        let why = seen.refusal.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "{} more could not be sampled: {why}.",
            counted(seen.refused as u64, "thread", "threads")
        );
    }
    if seen.lost > 0 {
        let _ = writeln!(text, "{} samples were lost because the buffer was full.", seen.lost);
    }
    if counts.samples == 0 {
        return text + "No sample found it on a CPU, so there is nothing to report.\n";
    }
    if counts.with_registers == 0 {
        return text
            + "This kernel or this architecture adds no registers to samples, so the addresses of copies are \
                unknown.\n";
    }
    let percent = |samples: u64| 100.0 * counts.share(samples);
    if counts.unread > 0 {
        let _ = writeln!(
            text,
            "{:.1} % of its CPU time is in user space where its memory cannot be read, so copies there are \
             not seen: run this as root, or with CAP_SYS_PTRACE.",
            percent(counts.unread)
        );
    }
    if counts.hits() == 0 {
        let _ = writeln!(
            text,
            "No hazardous copying: {:.1} % of its CPU time is copying, and no copy goes to 1 to 31 bytes \
             past its source, modulo 4096.",
            percent(counts.copies)
        );
        return text + warning_if_few(counts.samples);
    }
    let _ = writeln!(
        text,
        "Hazardous copying: {:.1} % of its CPU time, out of {:.1} % for all copying. Destination minus \
         source, modulo 4096, is 1 to 31.",
        percent(counts.hits()),
        percent(counts.copies)
    );
    text += &match slower {
        Some(factor) if factor > 1.0 => {
            format!("On this machine such copies take up to {factor:.1} times as long as others.\n")
        }
        Some(_) => {
            "On this machine such copies take as long as others: there is nothing to gain here.\n".to_owned()
        }
        None => "Whether such copies take longer on this machine was not measured.\n".to_owned(),
    };
    text += warning_if_few(counts.samples);
    for (place, samples) in by_weight(seen).into_iter().take(SHOWN) {
        let frames: Vec<&str> = place.frames.iter().take(FRAMES).map(AsRef::as_ref).collect();
        let within = if frames.is_empty() { String::new() } else { format!(", {}", frames.join(" < ")) };
        let _ = writeln!(
            text,
            "  {:.1} %  {}, distance {}{within}\n         {}",
            percent(samples),
            describe(place.direction),
            place.distance,
            advice(place)
        );
    }
    let hidden = counts.hazardous.len().saturating_sub(SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "  and {hidden} more places (--format json has all)");
    }
    text
}

fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

fn warning_if_few(samples: u64) -> &'static str {
    if samples < FEW {
        "With so few samples the shares are rough: watch longer, or under load.\n"
    } else {
        ""
    }
}
