//! Whether `adaptive` comes close to the best of its candidates: in each cell of sizes, clients, layouts and footprints.
//!
//! Candidates are the paths that release memory as it does or sooner, and hold no message back. All of them take turns
//! with it, set-up after set-up. The best is chosen on one half of the set-ups and judged on the other, and the other
//! way round, because the best of several on the same figures is mostly the luckiest. The targets: 0.95 of the best
//! one's throughput, and no more than 1.08 of the best one's CPU time of the sender. The best by one may not be the best by the other.
//! A ratio is the median of the set-ups, with two standard errors of it up and down. One that misses its target is
//! marked: `?` where the target lies within them, so that more set-ups would be needed to say, `!` where it does not.
//!
//!     cargo bench --bench adaptive [-- --size 64KiB --clients 1 --layout heap --footprint hot --over-lab]
//!
//! The 36 hot cells take 13 minutes on two CPUs with `--path onecopy,flatten,zerocopy`, which are the best of the candidates
//! with even fields. A cell whose messages in turn need more than half of the memory is passed over and says so.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use copycost::internals::cgroup;
use copycost::internals::sys::memory::trim;
use copycost::message::{Fields, Footprint, Layout, Spec};
use copycost::rig::{Loopback, Site, Work};
use copycost::scenario::Placement;
use copycost::scenario::{self, Scenario};
use copycost::send::{self, Release, SendPath};
use copycost::units::ByteSize;
use copycost_cli::compare::cell::{Cell, SetUpEnd};
use copycost_cli::compare::contestant::Contestant;
use copycost_cli::compare::metric::Metric;
use copycost_cli::lab::{Lab, LabSite};
use copycost_cli::stats::{Better, Middle, Unusable};

/// What is judged, in these terms.
const TARGETS: [(Metric, f64); 2] = [(Metric::Throughput, 0.95), (Metric::SenderDemand, 1.08)];

#[derive(Debug, Parser)]
#[command(name = "adaptive", about = "Compares adaptive with the best of its candidates")]
struct Flags {
    /// Message sizes
    #[arg(long, value_delimiter = ',', default_values = ["1KiB", "4KiB", "16KiB", "64KiB", "256KiB", "1MiB"])]
    size: Vec<ByteSize>,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8])]
    clients: Vec<usize>,
    /// Layouts
    #[arg(long, value_delimiter = ',', default_values_t = [Layout::Heap, Layout::Huge])]
    layout: Vec<Layout>,
    /// Footprints
    #[arg(long, value_delimiter = ',', default_values_t = [Footprint::Hot, Footprint::Cold])]
    footprint: Vec<Footprint>,
    /// How messages are divided
    #[arg(long, default_value_t)]
    fields: Fields,
    /// Candidates [default: all that release memory as adaptive does, and hold nothing back]
    #[arg(long, value_delimiter = ',')]
    path: Vec<String>,
    /// Through a network card in software instead of loopback
    #[arg(long)]
    over_lab: bool,
    /// How often everyone is built anew in each cell, an even number
    #[arg(long, default_value_t = 8)]
    setups: usize,
    /// The turns of each in a set-up
    #[arg(long, default_value_t = 2)]
    turns: usize,
    /// The length of a turn in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 200)]
    turn: u64,
    /// Print what adaptive decided in each cell, and how all paths compare
    #[arg(long)]
    decisions: bool,
    /// One small cell: shows that it works, decides nothing
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// A quick run, as for Criterion's benches
    #[arg(long, hide = true)]
    test: bool,
}

fn main() {
    // A benchmark, no test: whatever it finds, it exits with 0.
    if let Err(error) = run(Flags::parse()) {
        println!("adaptive: nothing more was measured: {error}");
    }
}

fn run(mut flags: Flags) -> Result<(), Box<dyn Error>> {
    if flags.quick || flags.test || !flags.bench {
        (flags.size, flags.clients) = (vec![ByteSize(16 << 10)], vec![1]);
        (flags.layout, flags.footprint) = (vec![Layout::Heap], vec![Footprint::Hot]);
        (flags.setups, flags.turns, flags.turn) = (2, 1, 20);
    }
    if flags.setups < 2 || !flags.setups.is_multiple_of(2) {
        return Err(
            "--setups must be an even number: the best is chosen on one half and judged on the other".into(),
        );
    }
    let site: Arc<dyn Site> =
        if flags.over_lab { Arc::new(LabSite(Arc::new(Lab::start()?))) } else { Arc::new(Loopback) };
    let adaptive = send::by_name("adaptive").ok_or("there is no path adaptive")?;
    let candidates = candidates(&flags, adaptive)?;
    println!(
        "{:>8} {:>7} {:>6} {:>9}  adaptive : the best of the others",
        "size", "clients", "layout", "footprint"
    );
    let mut counts = [[0; 3]; TARGETS.len()];
    for layout in &flags.layout {
        for footprint in &flags.footprint {
            let sizes: Vec<usize> = flags.size.iter().map(|size| size.0).collect();
            for (size, clients) in scenario::matrix(&sizes, &flags.clients) {
                let spec =
                    Spec { layout: *layout, footprint: *footprint, fields: flags.fields, ..Spec::new(size)? };
                print!("{:>8} {clients:>7} {layout:>6} {footprint:>9}  ", ByteSize(size).to_string());
                let paths: Vec<_> = candidates.iter().copied().chain([adaptive]).collect();
                match judge(&flags, &site, &paths, spec, clients) {
                    Err(reason) => println!("not measured: {reason}"),
                    Ok(found) => {
                        for ((metric, target), (found, count)) in
                            TARGETS.iter().zip(found.iter().zip(&mut counts))
                        {
                            let Found { best, ratio, low, high } = found;
                            let verdict = found.verdict(*metric, *target);
                            count[verdict as usize] += 1;
                            let mark = [' ', '?', '!'][verdict as usize];
                            print!("{metric}: {ratio:.3}{mark} [{low:.3}, {high:.3}] of {best:<9} ");
                        }
                        println!();
                    }
                }
            }
        }
    }
    for ((metric, target), [reached, undecided, missed]) in TARGETS.iter().zip(counts) {
        println!("{metric}: {reached} cells reach {target}, {undecided} are undecided, {missed} miss it");
    }
    Ok(())
}

fn candidates(flags: &Flags, adaptive: &SendPath) -> Result<Vec<&'static SendPath>, Box<dyn Error>> {
    if !flags.path.is_empty() {
        let path =
            |name: &String| send::by_name(name).ok_or_else(|| format!("there is no path '{name}'").into());
        return flags.path.iter().map(path).collect();
    }
    let rights = |path: &&SendPath| {
        matches!(path.release, Release::OnReturn | Release::OnCompletion)
            && !path.delays
            && path.name != adaptive.name
    };
    Ok(send::ALL.iter().filter(rights).collect())
}

/// What a cell says of one target.
struct Found {
    /// The best of the others.
    best: &'static str,
    /// Of adaptive to it.
    ratio: f64,
    low: f64,
    high: f64,
}

/// In the order of its marks.
#[derive(Clone, Copy)]
enum Verdict {
    Reached,
    Undecided,
    Missed,
}

impl Found {
    fn verdict(&self, metric: Metric, target: f64) -> Verdict {
        let reaches = |ratio: f64| match metric.better() {
            Better::Higher => ratio >= target,
            Better::Lower => ratio <= target,
        };
        match () {
            () if reaches(self.ratio) => Verdict::Reached,
            () if reaches(self.low) || reaches(self.high) => Verdict::Undecided,
            () => Verdict::Missed,
        }
    }
}

/// For each target: the best of the others and the ratio to it, without those that moved nothing in some set-up (a ring of
/// few small messages waits for delayed acknowledgements where it goes by reference). The last of `paths` is judged.
fn judge(
    flags: &Flags,
    site: &Arc<dyn Site>,
    paths: &[&'static SendPath],
    spec: Spec,
    clients: usize,
) -> Result<Vec<Found>, String> {
    let memory = spec.pool_bytes().saturating_mul(clients).saturating_mul(paths.len());
    trim();
    let limit = cgroup::memory::available().map_or(0, |available| available.bytes) / 2;
    if memory > limit {
        return Err(format!("the messages need {}", ByteSize(memory)));
    }
    // In the lab the relay takes a CPU of its own.
    let placement = if flags.over_lab { Placement::Split } else { Placement::Paired };
    let mut lab = copycost::internals::connection::ConnectionOptions::for_this_machine();
    if flags.over_lab {
        lab = copycost::internals::connection::ConnectionOptions::for_a_lab();
    }
    let contestant = |path: &&'static SendPath| Contestant {
        name: path.name.to_owned(),
        scenario: Scenario { placement, options: lab, ..Scenario::new(path, spec, clients) },
        site: site.clone(),
    };
    let mut cell = Cell::new(paths.iter().map(contestant).collect(), 1, None);
    for _ in 0..flags.setups {
        if cell.set_up(flags.turns, Work::Window(Duration::from_millis(flags.turn)), &mut || true)
            != SetUpEnd::Complete
        {
            break;
        }
    }
    cell.take_failure().map_err(|error| error.to_string())?;
    let ours = paths.len() - 1;
    if flags.decisions {
        print_ratios(&cell, paths)?;
    }
    let mut moving = Vec::new();
    for other in 0..ours {
        if cell.pairs(other, other, Metric::Throughput)?.iter().all(|pair| pair.path > 0.0) {
            moving.push(other);
        }
    }
    if moving.is_empty() {
        return Err("none of the others moved anything".to_owned());
    }
    let found = TARGETS
        .iter()
        .map(|(metric, _)| {
            let logs = |other: usize| -> Result<Vec<f64>, String> {
                let pairs = cell.pairs(ours, other, *metric)?;
                Ok(pairs.iter().map(|pair| (pair.path / pair.reference).ln()).collect())
            };
            let logs = moving.iter().map(|other| logs(*other)).collect::<Result<Vec<_>, _>>()?;
            let (best, log, error) =
                chosen_and_judged(&logs, metric.better()).map_err(|why| why.to_string())?;
            let [ratio, low, high] = [log, log - 2.0 * error, log + 2.0 * error].map(f64::exp);
            Ok(Found { best: paths[moving[best]].name, ratio, low, high })
        })
        .collect();
    if flags.decisions {
        print_decisions(cell);
    }
    found
}

/// Of all ratios to the first path the median, and the distance from it within which half of the set-ups lie.
fn print_ratios(cell: &Cell, paths: &[&SendPath]) -> Result<(), String> {
    for (metric, _) in TARGETS {
        print!("\n{metric} compared with {}:", paths[0].name);
        for (other, path) in paths.iter().enumerate().skip(1) {
            let pairs = cell.pairs(other, 0, metric)?;
            let ratios: Vec<f64> = pairs.iter().map(|pair| pair.path / pair.reference).collect();
            let Middle { median, deviation } = Middle::of(&ratios).map_err(|why| why.to_string())?;
            print!(" {} {median:.3} \u{b1}{deviation:.3}", path.name);
        }
    }
    Ok(())
}

/// What was decided in all set-ups, by whoever decides anything.
fn print_decisions(cell: Cell) {
    for (contestant, measured) in cell.finish(None, &mut |_| {}) {
        if let Ok(measured) = measured
            && measured.sample.ledger.decisions.total() > 0
        {
            print!("\n{}: {}", contestant.name, measured.sample.ledger.decisions);
        }
    }
    println!();
}

/// `logs`: of each other path the logarithms of our ratios to it, by set-up. The best other path of each half by our median
/// ratio to it, judged on the other half: the path that the first half chose, the median of both halves, and its standard
/// error. Medians, because a set-up in which a neighbour took the CPU says nothing of either.
fn chosen_and_judged(logs: &[Vec<f64>], better: Better) -> Result<(usize, f64, f64), Unusable> {
    /// Of normal values, a standard deviation in deviations from the median, and the median's error in those of a mean.
    const DEVIATION: f64 = 1.4826;
    const MEDIAN: f64 = 1.2533;
    let half = |path: usize, half: usize| logs[path].iter().skip(half).step_by(2).copied();
    // The best path is the one beside which we look worst.
    let worst = |of: usize| -> Result<usize, Unusable> {
        let mut worst = (0, f64::INFINITY);
        for path in 0..logs.len() {
            let median = Middle::of(&half(path, of).collect::<Vec<_>>())?.median;
            let good = if better == Better::Higher { median } else { -median };
            if good < worst.1 {
                worst = (path, good);
            }
        }
        Ok(worst.0)
    };
    let (first, second) = (worst(0)?, worst(1)?);
    let judged: Vec<f64> = half(first, 1).chain(half(second, 0)).collect();
    let Middle { median, deviation } = Middle::of(&judged)?;
    Ok((first, median, DEVIATION * MEDIAN * deviation / (judged.len() as f64).sqrt()))
}
