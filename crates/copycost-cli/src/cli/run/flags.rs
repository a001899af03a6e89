//! The flags of `copycost run`. The comment of each is its help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};

use crate::cli::arguments::{self, CrossoverRequest, PathChoice};
use crate::cli::over::Over;
use crate::cli::setting::Setting;
use crate::cli::values;
use crate::compare::trial;
use crate::record::Load;
use crate::report::Format;
use copycost::rig::Arrivals;
use copycost::scenario;
use copycost::send;
use copycost::units::ByteSize;

/// Loads that do not wait.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RequestedLoads {
    pub(super) offered: Offered,
    pub(super) arrivals: Arrivals,
}

/// The loads in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Offered {
    /// As shares of the rate at which the reference saturates.
    Shares(Vec<f64>),
    /// In messages a second of each client.
    Rates(Vec<f64>),
}

impl Offered {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Shares(values) | Self::Rates(values) => values.len(),
        }
    }
}

fn ascending(values: &[f64]) -> Vec<f64> {
    let mut values = arguments::distinct(values);
    values.sort_by(f64::total_cmp);
    values
}

/// What to measure, and where the results go.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Send paths, separated by commas, or all
    #[arg(short, long = "path", value_name = "PATH", value_delimiter = ',', value_parser = values::path(),
          hide_possible_values = true,
          default_values_t = send::USUAL.iter().filter_map(|name| send::by_name(name)).map(PathChoice::One))]
    pub(super) paths: Vec<PathChoice>,
    /// Message sizes: bytes, or with KiB, MiB, GiB
    #[arg(short, long = "size", id = "size", value_name = "SIZE", value_delimiter = ',', value_parser = arguments::size,
          default_values_t = scenario::SIZES.map(ByteSize))]
    pub(super) sizes: Vec<ByteSize>,
    /// Numbers of clients, each on a connection of its own
    #[arg(short, long, value_name = "N", value_delimiter = ',', value_parser = arguments::clients,
          default_values_t = [1])]
    pub(super) clients: Vec<usize>,
    #[command(flatten)]
    pub(super) over: Over,
    /// With --over mpi: numbers of client hosts, each with so many clients [default: all]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = arguments::hosts, requires = "over")]
    pub(super) client_hosts: Vec<usize>,
    /// Go on after what the first -o file, a .json, already has
    #[arg(long, requires = "output")]
    pub(super) resume: bool,
    #[command(flatten)]
    pub(super) setting: Setting,
    /// Ask for messages at these shares of the rate at which the reference saturates, whether earlier ones have arrived or
    /// not, and show their latency: 50%,80% [without a value: 20%,50%,80%,95%]
    #[arg(long, value_name = "P", value_delimiter = ',', value_parser = arguments::load_share, num_args = 0..=1,
          default_missing_value = "20%,50%,80%,95%", group = "open_loop",
          conflicts_with_all = CLOSED_LOOP_ONLY)]
    pub(super) load: Vec<f64>,
    /// The same at so many messages a second of each client: 500,20k
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = arguments::rate, group = "open_loop",
          conflicts_with_all = CLOSED_LOOP_ONLY)]
    pub(super) rate: Vec<f64>,
    /// With --load or --rate: at random (poisson), or all gaps the same (fixed) [default: poisson]
    #[arg(long, value_parser = values::arrivals(), hide_possible_values = true, requires = "open_loop")]
    pub(super) arrivals: Option<Arrivals>,
    /// Measured time of each path in each cell, divided among the set-ups [default: 1; at each load 8]
    #[arg(long, value_name = "S", value_parser = arguments::seconds)]
    pub(super) seconds: Option<Duration>,
    /// Add set-ups until each ratio is known so well: half of its interval [with --budget: 2%]
    #[arg(long, value_name = "P", value_parser = arguments::percent)]
    pub(super) precision: Option<f64>,
    /// Instead of --seconds: the time of the whole run (30s, 5m), shared among the cells
    #[arg(long, value_name = "TIME", value_parser = arguments::duration, conflicts_with = "seconds")]
    pub(super) budget: Option<Duration>,
    /// A first answer: --budget 17s
    #[arg(long, conflicts_with_all = ["seconds", "budget"])]
    pub(super) quick: bool,
    /// The path that the others are compared with [default: onecopy, or else the first]
    #[arg(long, value_name = "PATH", value_parser = values::path(), hide_possible_values = true)]
    pub(super) reference: Option<PathChoice>,
    /// From which size the first path beats the second, hot and cold: PATH:PATH, or PATH:PATH:LARGEST
    #[arg(long, value_name = "A:B", value_parser = arguments::crossover_request, conflicts_with = "with")]
    pub(super) crossover: Option<CrossoverRequest>,
    /// Compare ratios with those in this result of an earlier run
    #[arg(long, value_name = "FILE", conflicts_with = "with")]
    pub(super) baseline: Option<PathBuf>,
    /// Interleave each path with itself as served by this other build of copycost
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["over", "reference", "resume"])]
    pub(super) with: Option<PathBuf>,
    /// With --with or --baseline: exit with 3 when a path became slower by more, the whole interval
    #[arg(long, value_name = "P", value_parser = arguments::percent)]
    pub(super) fail_on_regression: Option<f64>,
    /// Show how many cores the sender takes at this load: bits, bytes or messages in a second (25Gbit, 3GB/s, 200k msg/s)
    #[arg(long, value_name = "LOAD", value_parser = arguments::load)]
    pub(super) at: Option<Load>,
    /// Check every byte at the receiver
    #[arg(long)]
    pub(super) verify: bool,
    /// Measure message latency too, in a phase of its own: half as long as --seconds
    #[arg(long)]
    pub(super) latency: bool,
    /// Count cycles, cache misses and switches of this many threads at each end (0: none)
    #[arg(long, value_name = "THREADS", default_value_t = 8)]
    pub(super) counters: usize,
    /// Chase pointers through a table of this size between messages: what sending does to the caches
    #[arg(long, value_name = "SIZE", value_parser = arguments::table)]
    pub(super) pollution: Option<ByteSize>,
    /// Show every figure that the table has room for, in several tables
    #[arg(long)]
    pub(super) wide: bool,
    /// The format on standard output: table, json, csv, markdown or html
    #[arg(long, default_value_t)]
    pub(super) format: Format,
    /// A file for the results; its extension chooses the format (.json, .csv, .txt, .md, .html); repeatable
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Vec<PathBuf>,
    /// How long an end may be silent before it is given up
    #[arg(long, value_name = "S", value_parser = arguments::seconds, hide = true)]
    pub(super) stall: Option<Duration>,
    /// Set-ups of a cell, where --seconds or --precision do not ask for more
    #[arg(long, value_name = "N", default_value_t = trial::SETUPS, value_parser = arguments::setups, hide = true)]
    pub(super) setups: usize,
    /// Let the kernel refuse what is beyond its limits instead of staying within them
    #[arg(long, hide = true)]
    pub(super) no_bound: bool,
}

/// What has no meaning under a load that does not wait, or is not supported there.
const CLOSED_LOOP_ONLY: [&str; 9] = [
    "crossover",
    "with",
    "baseline",
    "resume",
    "latency",
    "pollution",
    "at",
    "precision",
    "fail_on_regression",
];

impl RunArguments {
    /// The measured time of each path in each cell, or at each load.
    pub(super) fn seconds(&self) -> Duration {
        self.seconds.unwrap_or(Duration::from_secs(if self.loads().is_some() { 8 } else { 1 }))
    }

    /// The loads, if there are any.
    pub(super) fn loads(&self) -> Option<RequestedLoads> {
        let offered = match (self.load.is_empty(), self.rate.is_empty()) {
            (true, true) => return None,
            (false, _) => Offered::Shares(ascending(&self.load)),
            (true, false) => Offered::Rates(ascending(&self.rate)),
        };
        Some(RequestedLoads { offered, arrivals: self.arrivals.unwrap_or_default() })
    }

    /// The arguments of a command line with only these flags.
    pub fn given(flags: &[&str]) -> Self {
        #[derive(Parser)]
        struct Bare {
            #[command(flatten)]
            arguments: RunArguments,
        }
        Bare::parse_from([&["copycost"], flags].concat()).arguments
    }
}
