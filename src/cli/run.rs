//! `copycost run`: several paths in one interleaved run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{self, PathChoice};
use super::output::{self, Files};
use super::over::{self, Over};
use super::{Done, Failure};
use crate::compare::cell::{self, Plan};
use crate::cost::system::{IdleBaseline, MIN_WINDOW};
use crate::message::{Buffers, Fields, Footprint, Layout, Spec};
use crate::record::{CellFailure, Conditions, Record, Results, SCHEMA};
use crate::report::{self, Format};
use crate::scenario::{self, Scenario};
use crate::seat::Placement;
use crate::send::{self, SendPath};
use crate::units::ByteSize;

/// What to measure, and where the results go.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Send paths, separated by commas, or all
    #[arg(short, long = "path", value_name = "PATH", value_delimiter = ',', value_parser = arguments::path,
          default_values_t = send::ORIGINAL.iter().filter_map(|name| send::by_name(name)).map(PathChoice::One))]
    paths: Vec<PathChoice>,
    /// Message sizes: bytes, or with KiB, MiB, GiB
    #[arg(short, long = "size", value_name = "SIZE", value_delimiter = ',', value_parser = arguments::size,
          default_values_t = scenario::SIZES.map(ByteSize))]
    sizes: Vec<ByteSize>,
    /// Numbers of clients, each on a connection of its own
    #[arg(short, long, value_name = "N", value_delimiter = ',', value_parser = arguments::clients,
          default_values_t = [1])]
    clients: Vec<usize>,
    #[command(flatten)]
    over: Over,
    /// Go on after what the first -o file, a .json, already has
    #[arg(long, requires = "output")]
    resume: bool,
    /// Where the threads sit: paired, split or free
    #[arg(long, default_value_t)]
    placement: Placement,
    /// Where the fields lie: heap, page, arena or huge
    #[arg(long, default_value_t)]
    layout: Layout,
    /// How the message is divided: even, headed or single
    #[arg(long, default_value_t)]
    fields: Fields,
    /// constant, or ring:N for N messages in turn, each rewritten before it is sent
    #[arg(long, default_value_t)]
    buffers: Buffers,
    /// How much memory the messages in turn cover: hot, l2, llc or cold
    #[arg(long, default_value_t)]
    footprint: Footprint,
    /// Measured time of each path in each cell
    #[arg(long, value_name = "S", value_parser = arguments::seconds, default_value = "1")]
    seconds: Duration,
    /// Check every byte at the receiver
    #[arg(long)]
    verify: bool,
    /// Measure message latency too, in a phase of its own: half as long as --seconds
    #[arg(long)]
    latency: bool,
    /// Count cycles, cache misses and switches of this many threads at each end (0: none)
    #[arg(long, value_name = "THREADS", default_value_t = 8)]
    counters: usize,
    /// Chase pointers through a table of this size between messages: what sending does to the caches
    #[arg(long, value_name = "SIZE", value_parser = arguments::table)]
    pollution: Option<ByteSize>,
    /// Show every figure that the table has room for, in several tables
    #[arg(long)]
    wide: bool,
    /// The form on standard output: table, json, csv, markdown or html
    #[arg(long, default_value_t)]
    format: Format,
    /// A file for the results, in the form of its extension (.json, .csv, .txt, .md, .html); may be given again
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// How long an end may be silent before it is given up
    #[arg(long, value_name = "S", value_parser = arguments::seconds, hide = true)]
    stall: Option<Duration>,
    /// Let the kernel refuse what is beyond its limits instead of staying within them
    #[arg(long, hide = true)]
    no_bound: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        #[derive(Parser)]
        struct Bare {
            #[command(flatten)]
            arguments: Arguments,
        }
        Bare::parse_from(["copycost"]).arguments
    }
}

impl Arguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let files = Files::open(&self.output)?;
        let mut site = self.over.site()?;
        let paths = self.paths()?;
        let cells: Vec<_> = scenario::matrix(
            &arguments::distinct(&self.sizes).iter().map(|size| size.0).collect::<Vec<_>>(),
            &arguments::distinct(&self.clients),
        )
        .collect();
        let mut results = self.begin()?;
        let mut reached = false;
        let latency = self.latency.then(|| self.seconds / 2);
        let baseline = (self.seconds >= MIN_WINDOW).then(IdleBaseline::watch).and_then(Result::ok);
        let bar =
            progress_bar((self.seconds + latency.unwrap_or_default()) * (cells.len() * paths.len()) as u32);
        for (number, (size, clients)) in cells.into_iter().enumerate() {
            let mut scenarios = self.scenarios(&paths, size, clients)?;
            scenarios.retain(|scenario| !results.records.iter().any(|record| record.is_of(scenario, &site)));
            if scenarios.is_empty() {
                continue;
            }
            if !std::mem::replace(&mut reached, true) {
                over::reach(&mut site, &scenarios[0].options)?;
            }
            results.failures.retain(|failure| (failure.size, failure.clients) != (size, clients));
            bar.set_message(format!("{}, clients {clients}", ByteSize(size)));
            let mut turn_over = |length: Duration| bar.inc(length.as_millis() as u64);
            let plan = Plan { time: self.seconds, seed: number as u64, baseline, latency };
            let measured = cell::measure(&scenarios, &site, &plan, &mut turn_over);
            for (scenario, measured) in scenarios.iter().zip(measured) {
                keep(&mut results, scenario, measured);
            }
            files.save(&results)?;
        }
        bar.finish_and_clear();
        if self.wide {
            output::print(&report::wide(&results))?;
        } else {
            output::show(&results, self.format)?;
        }
        if results.failures.is_empty() {
            Ok(Done::Yes)
        } else {
            Err(Failure::Failed(format!("{} of the cells could not be measured", results.failures.len())))
        }
    }

    /// No results yet, or with --resume those of the run before.
    fn begin(&self) -> Result<Results, Failure> {
        let path = self.output.first().filter(|path| self.resume && path.exists());
        let Some(path) = path else { return Ok(Results::new(Conditions::here())) };
        let usage = |what: String| Failure::Usage(format!("--resume: '{}' {what}", path.display()));
        let text =
            std::fs::read_to_string(path).map_err(|error| usage(format!("cannot be read: {error}")))?;
        let results: Results = serde_json::from_str(&text)
            .map_err(|error| usage(format!("is no result of copycost run: {error}")))?;
        if results.schema > SCHEMA {
            return Err(usage(format!("has the form {}, and this version knows {SCHEMA}", results.schema)));
        }
        Ok(results)
    }

    /// The paths asked for. `all` leaves out, with a note, those that cannot be had; one that was named must.
    fn paths(&self) -> Result<Vec<&'static SendPath>, Failure> {
        let spec = self.spec(self.sizes.first().map_or(65_536, |size| size.0))?;
        let mut paths: Vec<&'static SendPath> = Vec::new();
        let mut add = |path: &'static SendPath| {
            if !paths.iter().any(|seen| seen.name == path.name) {
                paths.push(path);
            }
        };
        for choice in &self.paths {
            match choice {
                PathChoice::One(path) => add(path),
                // Another host probes by itself.
                PathChoice::All => send::ALL.iter().for_each(|path| match self.over.probe(path, &spec) {
                    Ok(()) => add(path),
                    Err(reason) => eprintln!("note: {} is left out: {reason}", path.name),
                }),
            }
        }
        Ok(paths)
    }

    fn spec(&self, size: usize) -> Result<Spec, Failure> {
        let spec = Spec::new(size).map_err(|error| Failure::Usage(error.to_string()))?;
        let (fields, layout) = (self.fields, self.layout);
        Ok(Spec { fields, layout, buffers: self.buffers, footprint: self.footprint, ..spec })
    }

    fn scenarios(
        &self,
        paths: &[&'static SendPath],
        size: usize,
        clients: usize,
    ) -> Result<Vec<Scenario>, Failure> {
        let spec = self.spec(size)?;
        let options = arguments::options(self.stall);
        let scenario = |path: &&'static SendPath| Scenario {
            options,
            placement: self.placement,
            counted_threads: self.counters,
            pollution_table: self.pollution.map(|size| size.0),
            verify: self.verify,
            bounded: !self.no_bound,
            ..Scenario::new(path, spec, clients)
        };
        Ok(paths.iter().map(scenario).collect())
    }
}

fn keep(results: &mut Results, scenario: &Scenario, measured: Result<cell::Measured, crate::rig::RigError>) {
    match measured {
        Ok(measured) => {
            results.conditions.connected(&measured.applied);
            if let Some(host) = &measured.host {
                results.conditions.host = Some(Box::new(host.clone()));
            }
            results.records.push(Record::new(scenario, &measured));
        }
        Err(error) => results.failures.push(CellFailure {
            path: scenario.path.name.to_owned(),
            size: scenario.spec.size,
            clients: scenario.clients,
            error: error.to_string(),
        }),
    }
}

/// A bar over the measured time with the time left, on a terminal only.
fn progress_bar(total: Duration) -> ProgressBar {
    let bar = ProgressBar::new(total.as_millis() as u64);
    // The template is a constant; if it were wrong the default would do.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
