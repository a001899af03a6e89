//! Whether our send paths move what a plain C program moves with the same system calls under the same conditions.
//!
//! What is measured here is our own overhead: `plain.c` is the yardstick, and both take their turns interleaved,
//! because the machine drifts by more than what is looked for. In a set-up the buffers of both begin at the same offsets.
//! The target of the project: in every cell the ratio's 95 % interval lies within 0.95 to 1.05 and is no wider than ±2 %,
//! which says as well that we are not faster by an accident; and sending 1 KiB spends under 5 % in user space. Where the
//! first set-ups do not show it, more are made.
//!
//! The user shares come from the kernel's tick. A tick that falls due while the kernel returns to user space (its
//! interrupts are off then) is counted as user time: `perf record -e cpu-clock` finds 4.4 points of twocopy's share
//! at 1 KiB, 2.8 of onecopy's and 1.2 of zerocopy's on the one instruction after the system call, in C as in Rust.
//! So read our share beside C's, or take it from perf without that instruction.
//!
//!     cargo bench --bench against_c [-- --path zerocopy --size 1024 --clients 1]

mod program;

use std::error::Error;
use std::time::Duration;

use clap::Parser;

use copycost::internals::placement::{self, Placement};
use copycost::message::Spec;
use copycost::rig::{Rig, Sample, Work};
use copycost::scenario::{self, Scenario};
use copycost::send::{self, ZeroCopy};
use copycost_cli::stats::{Estimate, Interval, Middle, Pair, Unusable};

use program::{Plain, Program};

/// Between these the whole interval must lie.
const TARGET: (f64, f64) = (0.95, 1.05);

/// How far at most its ends may lie from the ratio, as a part of it.
const REACH: f64 = 0.02;

/// With so many set-ups a cell ends without an answer.
const MOST_SETUPS: u32 = 64;

/// Of its CPU time, what a sender of the smallest messages may spend in user space.
const USER_TARGET: f64 = 0.05;
const SMALL: usize = 1024;

#[derive(Debug, Parser)]
#[command(name = "against_c", about = "Compares the send paths with a plain C program, interleaved")]
struct Flags {
    /// How often both are built anew: the unit of the statistics
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=1000))]
    setups: u32,
    /// The length of a turn in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    turn: u64,
    /// Send paths
    #[arg(long, value_delimiter = ',', default_values = send::ORIGINAL, value_parser = clap::builder::PossibleValuesParser::new(send::ORIGINAL))]
    path: Vec<String>,
    /// Message sizes in bytes
    #[arg(long, value_delimiter = ',', default_values_t = [SMALL, 65_536])]
    size: Vec<usize>,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    clients: Vec<usize>,
    /// paired, split or free
    #[arg(long, default_value_t)]
    placement: Placement,
    /// How many bytes the C program sends between two looks at the error queue [default: as our path]
    #[arg(long, value_name = "BYTES")]
    reap: Option<usize>,
    /// Two set-ups of one block: shows that it works, decides nothing
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`; without it (`cargo test --benches`) the run is a quick one, as Criterion's are
    #[arg(long, hide = true)]
    bench: bool,
    /// A quick run, as for Criterion's benches
    #[arg(long, hide = true)]
    test: bool,
}

/// How much is measured of each cell.
#[derive(Debug, Clone, Copy)]
struct Effort {
    setups: u32,
    /// More of them are made until there is an answer.
    settles: bool,
    /// Blocks of four turns in each set-up, ABBA.
    blocks: u32,
    turn: Duration,
}

impl Flags {
    fn effort(&self) -> Effort {
        let turn = Duration::from_millis(self.turn);
        if self.quick || self.test || !self.bench {
            Effort { setups: 2, settles: false, blocks: 1, turn }
        } else {
            Effort { setups: self.setups, settles: true, blocks: 4, turn }
        }
    }
}

fn main() {
    // A benchmark, no test: whatever it finds, it exits with 0.
    if let Err(error) = run(&Flags::parse()) {
        println!("against_c: nothing more was measured: {error}");
    }
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let program = Program::compile()?;
    let cpus = placement::cpus()?;
    let effort = flags.effort();
    println!(
        "{} set-ups of {} turns of {:?} each, {}",
        effort.setups,
        4 * effort.blocks,
        effort.turn,
        flags.placement
    );
    println!("{HEADER}");
    let (mut cells, mut alike) = (0, 0);
    for name in &flags.path {
        let path = send::by_name(name).ok_or("an unknown path")?;
        for (size, clients) in scenario::matrix(&flags.size, &flags.clients) {
            let scenario =
                Scenario { placement: flags.placement, ..Scenario::new(path, Spec::new(size)?, clients) };
            let reap = flags.reap.unwrap_or_else(|| reap_bytes(size));
            let contest = Contest { program: &program, scenario, reap, cpus: &cpus, effort };
            let cell = contest.hold()?;
            println!("{}", cell.row(&contest.scenario));
            cells += 1;
            alike += u32::from(cell.judged().is_ok_and(|word| word == Word::Alike));
        }
    }
    println!(
        "! 5 % or more in user space by the kernel's tick, which counts returning from a system call as user time"
    );
    println!(
        "{alike} of {cells} cells are alike: the 95 % interval lies within {} to {} of the C program, ±{} % at most",
        TARGET.0,
        TARGET.1,
        100.0 * REACH
    );
    Ok(())
}

/// When our zero-copy path looks at the error queue, in the C program's terms: after *more* than so many bytes.
fn reap_bytes(size: usize) -> usize {
    ZeroCopy::REAP_BYTES.min(ZeroCopy::REAP_CALLS as usize * size) - 1
}

/// What one side moved, and the CPU time of its senders (in units of its own, only for the ratio).
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    bytes: u64,
    time: Duration,
    user: f64,
    system: f64,
}

impl Side {
    fn rate(&self) -> f64 {
        self.bytes as f64 / self.time.as_secs_f64()
    }

    fn moved(&mut self, bytes: u64, time: Duration) {
        self.bytes += bytes;
        self.time += time;
    }

    fn used(&mut self, user: f64, system: f64) {
        self.user += user;
        self.system += system;
    }
}

/// The user and system time of our senders in a run; sampled by the kernel's tick (4 ms here), as in C.
fn sender_times(sample: &Sample) -> (f64, f64) {
    (sample.sender.usage.user.as_secs_f64(), sample.sender.usage.system.as_secs_f64())
}

/// One cell to be measured.
#[derive(Debug)]
struct Contest<'a> {
    program: &'a Program,
    scenario: Scenario,
    reap: usize,
    cpus: &'a [usize],
    effort: Effort,
}

impl Contest<'_> {
    fn hold(&self) -> Result<Cell, Box<dyn Error>> {
        let mut cell = Cell { setups: Vec::new() };
        let most = if self.effort.settles { MOST_SETUPS.max(self.effort.setups) } else { self.effort.setups };
        for number in 0..most {
            cell.setups.push(self.setup(number)?);
            // Outside beyond doubt is an answer too.
            if number + 1 >= self.effort.setups && cell.judged().is_ok_and(|word| word != Word::Unsure) {
                break;
            }
        }
        Ok(cell)
    }

    /// A fresh rig and a fresh process. Who is built first, and who begins, changes from one to the next.
    fn setup(&self, number: u32) -> Result<(Side, Side), Box<dyn Error>> {
        let scenario = self.scenario.clone().of_set_up(number as usize + 1);
        let start = || self.program.start(&scenario, self.reap, self.cpus);
        let (mut rig, mut plain) = if number.is_multiple_of(2) {
            let rig = Rig::build(&scenario)?;
            (rig, start()?)
        } else {
            let plain = start()?;
            (Rig::build(&scenario)?, plain)
        };
        plain.turn(self.effort.turn.min(Duration::from_millis(20)))?; // a rig warms itself
        let (mut ours, mut theirs) = (Side::default(), Side::default());
        for block in 0..self.effort.blocks {
            let ours_first = (number / 2 + block).is_multiple_of(2);
            for inner in [false, true, true, false] {
                if ours_first != inner {
                    our_turn(&mut rig, self.effort.turn, &mut ours)?;
                } else {
                    their_turn(&mut plain, self.effort.turn, &mut theirs)?;
                }
            }
        }
        let (user, system) = plain.sender_ticks()?;
        theirs.used(user as f64, system as f64);
        Ok((ours, theirs))
    }
}

fn our_turn(rig: &mut Rig, turn: Duration, side: &mut Side) -> Result<(), Box<dyn Error>> {
    let sample = rig.run(Work::Window(turn))?;
    side.moved(sample.bytes, sample.elapsed);
    let (user, system) = sender_times(&sample);
    side.used(user, system);
    Ok(())
}

fn their_turn(plain: &mut Plain, turn: Duration, side: &mut Side) -> Result<(), Box<dyn Error>> {
    let (bytes, time) = plain.turn(turn)?;
    side.moved(bytes, time);
    Ok(())
}

const HEADER: &str = "path         size clients  Rust GB/s  C GB/s   ratio     low    high  set-ups  answer   user Rust  user C";

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Rust and C move the same.
    Alike,
    /// Rust moves less.
    Slower,
    /// Rust moves more, which wants an explanation as much.
    Faster,
    /// The interval is too wide, or lies across a border.
    Unsure,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Self::Alike => "alike",
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Unsure => "unsure",
        }
    }
}

/// A measured cell: our side and theirs, of each set-up.
#[derive(Debug)]
struct Cell {
    setups: Vec<(Side, Side)>,
}

impl Cell {
    fn interval(&self) -> Result<Interval, Unusable> {
        let pairs: Vec<_> = self
            .setups
            .iter()
            .map(|(ours, theirs)| Pair { path: ours.rate(), reference: theirs.rate() })
            .collect();
        Ok(Estimate::new(&pairs)?.interval(0.05))
    }

    fn judged(&self) -> Result<Word, Unusable> {
        let Interval { ratio, low, high, .. } = self.interval()?;
        let narrow = high / ratio - 1.0 <= REACH && 1.0 - low / ratio <= REACH;
        Ok(match (TARGET.0 <= low && high <= TARGET.1, high < TARGET.0, low > TARGET.1) {
            (true, _, _) if narrow => Word::Alike,
            (_, true, _) => Word::Slower,
            (_, _, true) => Word::Faster,
            _ => Word::Unsure,
        })
    }

    fn row(&self, scenario: &Scenario) -> String {
        let ours: Vec<_> = self.setups.iter().map(|setup| setup.0).collect();
        let theirs: Vec<_> = self.setups.iter().map(|setup| setup.1).collect();
        let (user, user_of_c) = (user_share(&ours), user_share(&theirs));
        let judged = match self.interval() {
            Ok(Interval { ratio, low, high, .. }) => {
                let word = self.judged().map_or("?", Word::text);
                format!("{ratio:>7.3} {low:>7.3} {high:>7.3}  {:>7}  {word:<7}", self.setups.len())
            }
            Err(reason) => reason.to_string(),
        };
        let too_much = scenario.spec.size == SMALL && user >= USER_TARGET;
        format!(
            "{:<9} {:>7} {:>7}  {:>9.3} {:>7.3} {judged} {:>8.1} %{} {:>5.1} %",
            scenario.path.name,
            scenario.spec.size,
            scenario.clients,
            median_rate(&ours) / 1e9,
            median_rate(&theirs) / 1e9,
            100.0 * user,
            if too_much { '!' } else { ' ' },
            100.0 * user_of_c,
        )
    }
}

fn median_rate(sides: &[Side]) -> f64 {
    let rates: Vec<_> = sides.iter().map(Side::rate).collect();
    Middle::of(&rates).map_or(f64::NAN, |middle| middle.median)
}

fn user_share(sides: &[Side]) -> f64 {
    let (user, system) = sides.iter().fold((0.0, 0.0), |sum, side| (sum.0 + side.user, sum.1 + side.system));
    user / (user + system)
}
