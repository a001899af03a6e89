//! Checks the instrument: a path beside itself must pass for equal, a path slowed by a known share must be found.
//!
//! The slow path does known work for each message ([`Scenario::idle_steps`]), calibrated in steps against the CPU time
//! of a message, so that it is the same share of it on a slow CPU and a fast one. Each cell is judged alone, at 95 %.
//! Every cell is judged twice: as measured, and with a linear drift laid over the values of all its turns, which their
//! balanced order must cancel.
//!
//! What is held against the targets is CPU time for each message. Throughput is shown beside it: on a machine whose CPUs
//! others use too (load 6 on 2 CPUs), a cell's throughput ratio scattered by 5.6 %, and by CPU time by 1.0 %.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cell::{Cell, Contestant, SetUpEnd};
use super::measured::TurnResult;
use super::stats::{self, Better, Estimate, Judgement, Pair, Unusable, judge};
use super::trial::{self, Effort, MOST_SETUPS, Measurer, SETUPS};
use copycost::rig::{Loopback, RigError, Work};
use copycost::scenario::Scenario;

/// The share of its speed that the slow path loses.
pub const SLOWED_BY: f64 = 0.05;

/// By how much everything is faster at the end of a cell than at its start, in the second judgement.
pub const DRIFT: f64 = 0.3;

/// Of a hundred cells of equal paths, how many may be called different. Five are expected.
pub const ALARMS_OF_100: usize = 10;

/// Of a hundred cells of a slowed path, how many must be found.
pub const FOUND_OF_100: usize = 90;

/// Each cell is judged alone.
const ALPHA: f64 = 0.05;

/// The turns of each path in a set-up: one balanced block.
const TURNS: usize = 2;

/// The messages of a turn: 10 ms of CPU time for 16 KiB here. Messages and not time, because on a machine that others use
/// (load 8 on 2 CPUs) a window of 10 ms holds two or three of our own, and eight set-ups of such turns found only 6 of 10.
const MESSAGES: u64 = 3000;

/// How much is measured for a cell.
#[derive(Debug, Clone, Copy)]
struct Extent {
    effort: Effort,
    /// Of a turn.
    messages: u64,
}

/// As many set-ups as it takes to know the ratio to half of what must be found, as `copycost run` does with a precision.
/// On a machine whose CPUs others use (load 4 on 2 CPUs) eight alone found 86 of 100.
const WHOLE: Extent = Extent {
    effort: Effort {
        at_least: SETUPS,
        at_most: MOST_SETUPS,
        precision: Some(SLOWED_BY / 2.0),
        time: None,
        alpha: ALPHA,
    },
    messages: MESSAGES,
};

/// How many cells of each kind are measured with one calibration: a few seconds, in which the CPU's speed may change.
const CALIBRATED_FOR: usize = 10;

/// What a series of cells came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellSeries {
    /// How many cells were judged.
    pub cells: usize,
    /// Of them, how many were called slower or faster.
    pub different: usize,
    /// Of them, how many were called slower.
    pub slower: usize,
    /// The logarithms of the cells' ratios, for their mean.
    pub logs: Vec<f64>,
}

impl CellSeries {
    fn add(&mut self, pairs: &[Pair]) {
        let judged = judge(&[stats::PairedCell { pairs, better: Better::Higher }], ALPHA);
        for comparison in judged {
            self.cells += 1;
            self.different += usize::from(matches!(comparison.word, Judgement::Faster | Judgement::Slower));
            self.slower += usize::from(comparison.word == Judgement::Slower);
            self.logs.extend(comparison.interval.ok().map(|interval| interval.ratio.ln()));
        }
    }

    /// The geometric mean of the cells' ratios, and the standard deviation of one as a share.
    pub fn ratio(&self) -> (f64, f64) {
        let n = self.logs.len().max(1) as f64;
        let mean = self.logs.iter().sum::<f64>() / n;
        let squares: f64 = self.logs.iter().map(|log| (log - mean).powi(2)).sum();
        (mean.exp(), (squares / (n - 1.0).max(1.0)).sqrt())
    }
}

/// What is judged: both so that more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TestFigure {
    /// Messages for each second of CPU time of both ends: what a busy neighbour hardly moves.
    Cpu,
    /// Bytes for each second: on a busy machine mostly the neighbours' doing.
    Rate,
}

/// The four series of one figure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// A path beside itself.
    pub equal: CellSeries,
    /// The same, with a drift laid over it.
    pub equal_drifting: CellSeries,
    /// A slowed path beside itself.
    pub slowed: CellSeries,
    /// The same, with a drift laid over it.
    pub slowed_drifting: CellSeries,
}

/// What a self-test finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SelfTestReport {
    /// By CPU time.
    pub cpu: Findings,
    /// By throughput.
    pub throughput: Findings,
}

impl Findings {
    /// Whether equal paths pass for equal.
    pub fn calm(&self) -> bool {
        let few = |series: &CellSeries| series.different * 100 <= ALARMS_OF_100 * series.cells;
        few(&self.equal) && few(&self.equal_drifting)
    }

    /// Whether a slowed path is found.
    pub fn keen(&self) -> bool {
        let most = |series: &CellSeries| series.slower * 100 >= FOUND_OF_100 * series.cells;
        most(&self.slowed) && most(&self.slowed_drifting)
    }

    fn add(&mut self, equal: &Cell, slowed: &Cell, figure: TestFigure) {
        self.equal.add(&pairs(equal, 0.0, figure));
        self.equal_drifting.add(&pairs(equal, DRIFT, figure));
        self.slowed.add(&pairs(slowed, 0.0, figure));
        self.slowed_drifting.add(&pairs(slowed, DRIFT, figure));
    }
}

/// Measures `cells` cells of each kind. After each pair of cells `go_on` is asked, with what was found so far.
///
/// # Errors
/// Where a rig fails: the instrument cannot be checked then.
pub fn run(
    scenario: &Scenario,
    cells: usize,
    go_on: &mut dyn FnMut(&SelfTestReport) -> bool,
) -> Result<SelfTestReport, RigError> {
    run_to(WHOLE, scenario, cells, go_on)
}

fn run_to(
    extent: Extent,
    scenario: &Scenario,
    cells: usize,
    go_on: &mut dyn FnMut(&SelfTestReport) -> bool,
) -> Result<SelfTestReport, RigError> {
    let mut report = SelfTestReport::default();
    let mut slow = scenario.clone();
    for number in 0..cells {
        let seed = 2 * number as u64;
        if number.is_multiple_of(CALIBRATED_FOR) {
            slow.idle_steps = calibrate(extent, scenario, seed)?;
        }
        let equal = measure(extent, scenario, scenario, seed)?;
        let slowed = measure(extent, &slow, scenario, seed + 1)?;
        report.cpu.add(&equal, &slowed, TestFigure::Cpu);
        report.throughput.add(&equal, &slowed, TestFigure::Rate);
        if !go_on(&report) {
            break;
        }
    }
    Ok(report)
}

/// The set-ups of one cell.
fn measure(extent: Extent, path: &Scenario, reference: &Scenario, seed: u64) -> Result<Cell, RigError> {
    let contestant = |scenario: &Scenario| Contestant {
        name: scenario.path.name.to_owned(),
        scenario: scenario.clone(),
        site: Arc::new(Loopback),
    };
    let mut trial = SelfTestCell {
        cell: Cell::new(vec![contestant(path), contestant(reference)], seed, None),
        messages: extent.messages,
        began: Instant::now(),
    };
    trial::run(&mut trial, &extent.effort);
    trial.cell.take_failure()?;
    Ok(trial.cell)
}

/// A cell under measurement.
struct SelfTestCell {
    cell: Cell,
    messages: u64,
    began: Instant,
}

impl Measurer for SelfTestCell {
    fn set_up(&mut self) -> SetUpEnd {
        match self.cell.set_up(TURNS, Work::Rounds(self.messages), &mut || true) {
            // Who fails once is out, and a cell of one says nothing.
            SetUpEnd::Complete if self.cell.has_failed() => SetUpEnd::NobodyLeft,
            ended => ended,
        }
    }

    fn estimates(&self) -> Vec<Result<Estimate, Unusable>> {
        vec![Estimate::new(&pairs(&self.cell, 0.0, TestFigure::Cpu))]
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// What both came to in each set-up, during all of which everything became faster by `drift`.
fn pairs(cell: &Cell, drift: f64, figure: TestFigure) -> Vec<Pair> {
    let turns = || cell.turns(0).iter().chain(cell.turns(1)).flatten();
    let last = turns().map(|turn| turn.at).max().unwrap_or_default().as_secs_f64().max(f64::MIN_POSITIVE);
    let speed = |turn: &TurnResult| 1.0 + drift * turn.at.as_secs_f64() / last;
    let value = |turns: &Vec<TurnResult>| match figure {
        TestFigure::Rate => {
            let bytes: f64 = turns.iter().map(|turn| turn.bytes as f64 * speed(turn)).sum();
            bytes / turns.iter().map(|turn| turn.elapsed).sum::<Duration>().as_secs_f64()
        }
        TestFigure::Cpu => {
            let messages: f64 = turns.iter().map(|turn| turn.messages as f64 * speed(turn)).sum();
            messages / turns.iter().map(|turn| turn.cpu).sum::<Duration>().as_secs_f64()
        }
    };
    let pair = |(path, reference)| Pair { path: value(path), reference: value(reference) };
    cell.turns(0).iter().zip(cell.turns(1)).map(pair).collect()
}

/// How many steps after each message cost the share of [`SLOWED_BY`]: found from what very many steps cost in the same
/// place, where the difference stands out of the noise.
fn calibrate(extent: Extent, scenario: &Scenario, seed: u64) -> Result<u64, RigError> {
    /// About as long as the message itself.
    const STEPS: u64 = 4096;
    let burdened = Scenario { idle_steps: STEPS, ..scenario.clone() };
    let cell = measure(extent, &burdened, scenario, seed)?;
    let message = |index: usize| {
        let turns = || cell.turns(index).iter().flatten();
        let cpu: Duration = turns().map(|turn| turn.cpu).sum();
        cpu.as_secs_f64() / turns().map(|turn| turn.messages).sum::<u64>().max(1) as f64
    };
    let (burdened, plain) = (message(0), message(1));
    let step = (burdened - plain).max(f64::MIN_POSITIVE) / STEPS as f64;
    Ok((plain * (1.0 / (1.0 - SLOWED_BY) - 1.0) / step) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_held_against_their_shares() {
        let series = |cells, different, slower| CellSeries { cells, different, slower, logs: Vec::new() };
        let findings = |alarms, found| Findings {
            equal: series(100, alarms, alarms / 2),
            equal_drifting: series(100, 0, 0),
            slowed: series(100, found, found),
            slowed_drifting: series(100, 100, 100),
        };
        assert!(findings(10, 90).calm() && findings(10, 90).keen());
        assert!(!findings(11, 90).calm() && !findings(10, 89).keen());
    }

    #[test]
    fn a_few_cells_are_measured_and_judged() {
        let spec = copycost::message::Spec::new(16_384).unwrap();
        let scenario = Scenario::new(copycost::send::by_name("onecopy").unwrap(), spec, 1);
        // Not enough for an answer that holds, but of the same form.
        let effort = Effort { at_least: 2, at_most: 2, ..WHOLE.effort };
        let extent = if crate::rules::full() { WHOLE } else { Extent { effort, messages: 300 } };
        let report = run_to(extent, &scenario, 2, &mut |report| report.cpu.equal.cells < 1).unwrap();
        assert_eq!((report.cpu.equal.cells, report.throughput.slowed_drifting.cells), (1, 1));
        assert_eq!(report.cpu.slowed.logs.len(), 1);
    }
}
