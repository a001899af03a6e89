//! Checks copycost itself: a path compared with itself must be equal, and a path slowed by a known share must be found.
//!
//! The slow path does extra work for each message ([`Scenario::idle_steps`]). The work is calibrated against the CPU
//! time of a message, so that it is the same share on slow and fast CPUs. Each cell is judged alone, at 95 %, and
//! twice: as measured, and with a simulated linear drift, which the balanced order of turns must cancel.
//!
//! The targets apply to CPU time. Throughput is shown too, but it varies much more on a busy machine (docs/tuning.md,
//! "The self-test").

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cell::{Cell, SetUpEnd};
use super::contestant::Contestant;
use super::measured::TurnResult;
use super::trial::{self, Effort, MOST_SETUPS, Measurer, SETUPS};
use crate::stats::{self, Better, Estimate, Judgement, Pair, Unusable, judge};
use copycost::rig::{Loopback, RigError, Work};
use copycost::scenario::Scenario;

/// The share of its speed that the slow path loses.
pub const SLOWED_BY: f64 = 0.05;

/// The simulated drift: the share by which everything is faster at the end of a cell than at its start.
pub const DRIFT: f64 = 0.3;

/// The most cells of equal paths, out of a hundred, that may be called different. Five are expected.
pub const ALARMS_OF_100: usize = 10;

/// The fewest cells of a slowed path, out of a hundred, that must be called slower.
pub const FOUND_OF_100: usize = 90;

/// The level of each cell, which is judged alone.
const ALPHA: f64 = 0.05;

/// The turns of each path in a set-up, which form one balanced block.
const TURNS: usize = 2;

/// The messages of a turn, about 10 ms of CPU time for 16 KiB. A fixed time would hold too few messages on a busy
/// machine (docs/tuning.md, "The self-test").
const MESSAGES: u64 = 3000;

/// How much to measure for a cell.
#[derive(Debug, Clone, Copy)]
struct Extent {
    effort: Effort,
    /// The messages of each turn.
    messages: u64,
}

/// Enough set-ups to know the ratio to half of the share that must be found, as `copycost run --precision` does. Eight
/// set-ups alone are too few on a busy machine: at load 4 on 2 CPUs they found 86 of 100.
const FULL_EXTENT: Extent = Extent {
    effort: Effort {
        at_least: SETUPS,
        at_most: MOST_SETUPS,
        precision: Some(SLOWED_BY / 2.0),
        time: None,
        alpha: ALPHA,
    },
    messages: MESSAGES,
};

/// Cells of each kind for one calibration. They take a few seconds; over a longer time the speed of the CPU may change.
const CALIBRATED_FOR: usize = 10;

/// The results of a series of cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellSeries {
    /// The number of cells that were judged.
    pub cells: usize,
    /// The number of cells that were called slower or faster.
    pub different: usize,
    /// The number of cells that were called slower.
    pub slower: usize,
    /// The logarithms of the cells' ratios, for the cells that have one.
    pub logs: Vec<f64>,
}

impl CellSeries {
    fn add(&mut self, pairs: &[Pair]) {
        let judged = judge(&[stats::PairedCell { pairs, better: Better::Higher }], ALPHA);
        for comparison in judged {
            self.cells += 1;
            self.different +=
                usize::from(matches!(comparison.judgement, Judgement::Faster | Judgement::Slower));
            self.slower += usize::from(comparison.judgement == Judgement::Slower);
            self.logs.extend(comparison.interval.ok().map(|interval| interval.ratio.ln()));
        }
    }

    /// The geometric mean of the cells' ratios, and the standard deviation of one cell as a share.
    pub fn ratio(&self) -> (f64, f64) {
        let n = self.logs.len().max(1) as f64;
        let mean = self.logs.iter().sum::<f64>() / n;
        let squares: f64 = self.logs.iter().map(|log| (log - mean).powi(2)).sum();
        (mean.exp(), (squares / (n - 1.0).max(1.0)).sqrt())
    }
}

/// What is judged. For both figures, higher is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TestFigure {
    /// Messages for each second of CPU time of both ends. Other processes hardly affect it.
    Cpu,
    /// Bytes per second. On a busy machine it depends mostly on other processes.
    Rate,
}

/// The four series of one figure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// A path against itself.
    pub equal: CellSeries,
    /// The same with a simulated drift.
    pub equal_drifting: CellSeries,
    /// A slowed path against the same path without the slow-down.
    pub slowed: CellSeries,
    /// The same with a simulated drift.
    pub slowed_drifting: CellSeries,
}

/// The findings of a self-test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SelfTestReport {
    /// The findings by CPU time, to which the targets apply.
    pub cpu: Findings,
    /// The findings by throughput, for information.
    pub throughput: Findings,
}

impl Findings {
    /// Whether few enough cells of equal paths were called different.
    pub fn calm(&self) -> bool {
        let few = |series: &CellSeries| series.different * 100 <= ALARMS_OF_100 * series.cells;
        few(&self.equal) && few(&self.equal_drifting)
    }

    /// Whether enough cells of the slowed path were called slower.
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

/// Measures `cells` cells of each kind. After each pair of cells it calls `go_on` with the findings so far, and stops
/// if that returns false.
///
/// # Errors
/// The error of a rig that failed.
pub fn run(
    scenario: &Scenario,
    cells: usize,
    go_on: &mut dyn FnMut(&SelfTestReport) -> bool,
) -> Result<SelfTestReport, RigError> {
    run_to(FULL_EXTENT, scenario, cells, go_on)
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

/// Measures all set-ups of one cell.
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

/// A cell during measurement.
struct SelfTestCell {
    cell: Cell,
    messages: u64,
    began: Instant,
}

impl Measurer for SelfTestCell {
    fn set_up(&mut self) -> SetUpEnd {
        match self.cell.set_up(TURNS, Work::Rounds(self.messages), &mut || true) {
            // A contestant that failed takes no more turns, and a cell of one contestant is useless.
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

/// The values of both contestants in each set-up, with a simulated `drift` over the whole cell.
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

/// How many steps after each message slow a path by [`SLOWED_BY`]. It measures the cost of very many steps, which
/// stands out of the noise.
fn calibrate(extent: Extent, scenario: &Scenario, seed: u64) -> Result<u64, RigError> {
    /// Enough steps to take about as long as the message itself.
    const STEPS: u64 = 4096;
    let with_steps = Scenario { idle_steps: STEPS, ..scenario.clone() };
    let cell = measure(extent, &with_steps, scenario, seed)?;
    let message = |index: usize| {
        let turns = || cell.turns(index).iter().flatten();
        let cpu: Duration = turns().map(|turn| turn.cpu).sum();
        cpu.as_secs_f64() / turns().map(|turn| turn.messages).sum::<u64>().max(1) as f64
    };
    let (with_steps, plain) = (message(0), message(1));
    let step = (with_steps - plain).max(f64::MIN_POSITIVE) / STEPS as f64;
    Ok((plain * (1.0 / (1.0 - SLOWED_BY) - 1.0) / step) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_compared_with_the_targets() {
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
        // Too little for a valid result, but the same steps.
        let effort = Effort { at_least: 2, at_most: 2, ..FULL_EXTENT.effort };
        let extent = if crate::rules::full() { FULL_EXTENT } else { Extent { effort, messages: 300 } };
        let report = run_to(extent, &scenario, 2, &mut |report| report.cpu.equal.cells < 1).unwrap();
        assert_eq!((report.cpu.equal.cells, report.throughput.slowed_drifting.cells), (1, 1));
        assert_eq!(report.cpu.slowed.logs.len(), 1);
    }
}
