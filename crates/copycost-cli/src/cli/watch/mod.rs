//! `copycost watch`: how running processes send, what they spend their CPU time on, and how much of it they lose to slow
//! copies because of the offsets of their buffers.
//!
//! - here: the flags, and the whole report
//! - `sends`: how they send
//! - `costs`: what it costs
//! - `copies`: copies at a hazardous distance

mod copies;
mod costs;
mod sends;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::copies::PlaceReport;
use self::costs::ClassReport;
use self::sends::SendsReport;
use super::{Done, Failure, arguments, output, signals};
use crate::profile::perf::PerfSampler;
use crate::watch::zero_copy::ZeroCopySigns;
use crate::watch::{self, Target, WatchPlan, WatchResult};
use copycost::units::plural;

#[derive(Debug, Args)]
pub struct WatchArguments {
    /// Processes; their children are watched too
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..),
          required_unless_present_any = ["name", "cgroup", "port"])]
    pids: Vec<i32>,
    /// All processes of this name, such as nginx
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// All processes of a control group, such as system.slice/nginx.service
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<PathBuf>,
    /// All processes that have a TCP socket at this port
    #[arg(long, value_name = "N")]
    port: Vec<u16>,
    /// How long to watch them
    #[arg(long, value_name = "S", value_parser = arguments::seconds, default_value = "10")]
    seconds: Duration,
    /// A CSV file for the sizes that were sent, in order; `copycost run --trace` reads it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Record every send, not only those in short bursts. That costs the processes some microseconds for each
    #[arg(long)]
    full: bool,
    /// The format: text or json
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

#[derive(Debug, Serialize)]
struct WatchReport {
    /// The first process that was asked for by its number.
    pid: Option<i32>,
    seconds: f64,
    processes: usize,
    threads: usize,
    /// CPU time for each second of wall time.
    cpus: f64,
    samples: u64,
    /// The share of the CPU time that was sampled, in percent.
    sampled_percent: f64,
    lost: u64,
    /// Threads that could not be sampled.
    refused: usize,
    /// Samples in user space whose instruction could not be read.
    unread: u64,
    /// Whether the processes ended while they were watched.
    ended: bool,
    /// How they sent; null if that is not known.
    sends: Option<SendsReport>,
    /// Why not.
    sends_missing: Option<String>,
    /// The CPU time by class.
    classes: Vec<ClassReport>,
    /// Samples that show zero copy.
    zero_copy: ZeroCopySigns,
    /// The share of all samples, in percent.
    copying_percent: Option<f64>,
    hazardous_percent: Option<f64>,
    /// How many times as long a copy at such a distance takes on this machine.
    slower_here: Option<f64>,
    places: Vec<PlaceReport>,
}

/// If less of the CPU time was sampled, the text says so.
const MOST_UNSAMPLED: f64 = 0.8;

impl WatchArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let targets = self.targets();
        for target in &targets {
            if watch::targets::find(std::slice::from_ref(target)).is_empty() {
                return Err(Failure::Usage(match target {
                    Target::Pid(pid) if *pid == std::process::id() as i32 => {
                        "copycost cannot watch itself".to_owned()
                    }
                    target => target.none(),
                }));
            }
        }
        let trace = self.record.as_deref().map(sends::TraceFile::create).transpose()?;
        let signals = signals::listen()?;
        let mut interrupted = false;
        let mut go_on = || {
            interrupted |= signals.try_recv().is_ok();
            !interrupted
        };
        let plan = WatchPlan { targets, time: self.seconds, traces: trace.is_some(), full: self.full };
        let seen = watch::watch(&PerfSampler, &plan, &mut go_on)
            .map_err(|why| Failure::Failed(format!("{} cannot be watched: {why}", self.name_of_targets())))?;
        match (trace, &seen.sends) {
            (Some(trace), Some(Ok(sends))) => trace.write(&sends.trace)?,
            (Some(_), Some(Err(why))) => output::message(&format!("warning: no trace was recorded: {why}")),
            _ => {}
        }
        let slower = crate::doctor::slowness();
        if self.format == "json" {
            let text = serde_json::to_string_pretty(&self.report(&seen, slower));
            output::print(&(text.unwrap_or_default() + "\n"));
        } else {
            output::print(&self.text(&seen, slower));
        }
        Ok(if interrupted { Done::CutShort } else { Done::Yes })
    }

    fn targets(&self) -> Vec<Target> {
        let pids = self.pids.iter().map(|pid| Target::Pid(*pid));
        let names = self.name.iter().cloned().map(Target::Name);
        let groups = self.cgroup.iter().cloned().map(Target::Cgroup);
        pids.chain(names).chain(groups).chain(self.port.iter().copied().map(Target::Port)).collect()
    }

    /// `process 4242`, `nginx`, `port 80`.
    fn name_of_targets(&self) -> String {
        let name = |target: Target| match target {
            Target::Pid(pid) => format!("process {pid}"),
            Target::Name(name) => name.escape_debug().to_string(),
            Target::Cgroup(path) => format!("control group {}", path.display()),
            Target::Port(port) => format!("port {port}"),
        };
        self.targets().into_iter().map(name).collect::<Vec<_>>().join(", ")
    }

    fn report(&self, seen: &WatchResult, slower_here: Option<f64>) -> WatchReport {
        let counts = &seen.counts;
        let percent = |samples: u64| 100.0 * counts.share(samples);
        let known = counts.with_registers > 0;
        let sends = seen.sends.as_ref();
        WatchReport {
            pid: self.pids.first().copied(),
            seconds: seen.time.as_secs_f64(),
            processes: seen.processes,
            threads: seen.threads,
            cpus: seen.cpus(),
            samples: counts.samples,
            sampled_percent: 100.0 * seen.sampled(),
            lost: seen.lost,
            refused: seen.refused,
            unread: counts.unread,
            ended: seen.ended,
            sends: sends.and_then(|sends| sends.as_ref().ok()).map(SendsReport::of),
            sends_missing: sends.and_then(|sends| sends.as_ref().err()).map(ToString::to_string),
            classes: costs::classes(seen),
            zero_copy: seen.zero_copy,
            copying_percent: known.then(|| percent(counts.copies)),
            hazardous_percent: known.then(|| percent(counts.hits())),
            slower_here,
            places: copies::places(seen),
        }
    }

    fn text(&self, seen: &WatchResult, slower: Option<f64>) -> String {
        let counts = &seen.counts;
        let name = self.name_of_targets();
        let mut text = String::new();
        if let Some(Ok(sends)) = &seen.sends {
            text += &sends::headline(&name, sends);
        }
        let named =
            name.strip_prefix("process").map_or_else(|| name.clone(), |rest| format!("Process{rest}"));
        let _ = writeln!(
            text,
            "{named}: {} in {}, {:.1} s, {:.2} CPUs, {}.",
            plural(seen.threads, "thread"),
            if seen.processes == 1 {
                "1 process".to_owned()
            } else {
                format!("{} processes", seen.processes)
            },
            seen.time.as_secs_f64(),
            seen.cpus(),
            plural(counts.samples as usize, "sample"),
        );
        if seen.ended {
            text += "The process ended while it was watched.\n";
        }
        if seen.refused > 0 {
            let why = seen.refusal.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{} more could not be sampled: {why}.", plural(seen.refused, "thread"));
        }
        if seen.sampled() < MOST_UNSAMPLED && seen.cpu_time > Duration::from_millis(200) {
            let _ = writeln!(
                text,
                "Only {:.0} % of the CPU time was sampled: threads that live for a tenth of a second may be missed.",
                100.0 * seen.sampled()
            );
        }
        if seen.lost > 0 {
            let _ = writeln!(text, "{} samples were lost because the buffer was full.", seen.lost);
        }
        text += &match &seen.sends {
            Some(Ok(sends)) => sends::text(sends, output::screen()),
            Some(Err(why)) => output::screen().wrapped("", &format!("How it sends is not known: {why}.")),
            None => String::new(),
        };
        text += &costs::text(seen, output::screen());
        let line = |line: &str| match line.starts_with(' ') {
            true => format!("{line}\n"),
            false => output::screen().wrapped("", line),
        };
        text + &copies::text(seen, slower).lines().map(line).collect::<String>()
    }
}
