//! Measures the cells of the design one after the other, with every path in each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;

use crate::cli::plan::RunPlan;
use crate::cli::progress::Progress;
use crate::cli::{Failure, output};
use crate::compare::cell::{Cell, SetUpEnd};
use crate::compare::contestant::Contestant;
use crate::compare::metric::Metric;
use crate::compare::turns::Turns;
use crate::model::cells::{MessageCounts, mean};
use crate::model::choice::time;
use crate::model::design;
use crate::record::{AskedMessage, Conditions};
use copycost::internals::rig::check_memory;
use copycost::message::{Layout, Spec};
use copycost::rig::{RigError, Sample, Site, Work};
use copycost::scenario::Scenario;
use copycost::send::{Release, SendPath};

/// Set-ups of each cell. Four halve the effect of where addresses and pages lie; after that, more cells inform the
/// model better than more set-ups.
const SETUPS: usize = 4;

/// The figures of one path in one cell.
#[derive(Debug, Clone)]
pub struct MeasuredPath {
    /// The message of the cell.
    pub spec: Spec,
    /// Whether the cell checks the model instead of training it.
    pub held_out: bool,
    /// Calls, segments and notifications for each message.
    pub counts: MessageCounts,
    /// CPU time of a message in ns, one value for each set-up: of the sender, and of both ends. An error says why there
    /// is none.
    pub ns: [Result<Vec<f64>, String>; 2],
}

/// The cells of all paths, and how the measurement ended.
#[derive(Debug)]
pub struct MeasuredPaths {
    /// For each path, its cells in the order of measurement.
    pub cells: Vec<Vec<MeasuredPath>>,
    /// The conditions, with the options of the connections.
    pub conditions: Conditions,
    /// The number of cells that were not measured, because the budget was over or a signal arrived.
    pub left_out: usize,
    /// Whether a signal ended the measurement.
    pub interrupted: bool,
}

/// The share by which a set-up that has begun may exceed the budget.
const OVERRUN: f64 = 0.05;

/// What to measure, and for how long.
#[derive(Debug)]
pub struct Measurement<'a> {
    /// The scenario of the message that was asked about. It provides what all cells have in common.
    pub any: &'a Scenario,
    pub paths: &'a [&'static SendPath],
    pub site: &'a Arc<dyn Site>,
    pub budget: Duration,
    /// Whether the messages are in the memory of this process.
    pub serves_here: bool,
    pub signals: &'a Receiver<()>,
}

impl Measurement<'_> {
    /// Measures the cells until all are done, the budget is over or a signal arrives.
    pub fn run(&self, mut conditions: Conditions) -> Result<MeasuredPaths, Failure> {
        let cells = self.cells();
        let mut progress = Progress::of(RunPlan {
            paths: self.paths.len(),
            cells: vec![self.budget / cells.len().max(1) as u32; cells.len()],
            setups: SETUPS,
            open: false,
            budget: Some(self.budget),
        });
        let until = Instant::now() + self.budget;
        let mut observed = vec![Vec::new(); self.paths.len()];
        let mut interrupted = false;
        for (number, (spec, held_out)) in cells.iter().enumerate() {
            let called_off = &mut || {
                interrupted |= self.signals.try_recv().is_ok();
                interrupted || Instant::now() > until + self.budget.mul_f64(OVERRUN)
            };
            let what = AskedMessage::of(spec).text()
                + if spec.layout == self.any.spec.layout { "" } else { ", on pages" };
            progress.begin(&what);
            let left = until.saturating_duration_since(Instant::now());
            let share = left / (cells.len() - number) as u32;
            let design = (spec, *held_out, number as u64);
            let Some(found) = self.cell(design, share, called_off, &mut conditions) else { break };
            let figures: Vec<_> =
                self.paths.iter().zip(&found).map(|(path, cell)| figure(path, cell)).collect();
            let kind = if *held_out { ", held out" } else { "" };
            progress.end(1, &format!("{what}{kind}: {}", figures.join(", ")));
            observed.iter_mut().zip(found).for_each(|(cells, cell)| cells.push(cell));
        }
        progress.finish();
        let left_out = cells.len() - observed.first().map_or(0, Vec::len);
        Ok(MeasuredPaths { cells: observed, conditions, left_out, interrupted })
    }

    /// An error if messages of `spec` do not fit into memory for all paths at once. Messages of another process are not
    /// checked.
    pub fn fits(&self, spec: &Spec) -> Result<(), RigError> {
        let scenarios: Vec<_> = self.paths.iter().map(|path| self.scenario(path, spec)).collect();
        if self.serves_here { check_memory(&scenarios) } else { Ok(()) }
    }

    fn scenario(&self, path: &'static SendPath, spec: &Spec) -> Scenario {
        Scenario { path, spec: *spec, workload: None, ..self.any.clone() }
    }

    /// The design. The cells on pages are only needed if some path keeps references to pages.
    fn cells(&self) -> Vec<(Spec, bool)> {
        let like = &self.any.spec;
        let by_reference = self.paths.iter().any(|path| path.release != Release::OnReturn);
        let training = design::training(like).into_iter().map(|spec| (spec, false));
        let held_out = design::held_out(like).into_iter().map(|spec| (spec, true));
        let mut cells = interleaved(training.collect(), held_out.collect());
        cells.retain(|(spec, _)| by_reference || spec.layout == like.layout || like.layout == Layout::Page);
        let all = cells.len();
        cells.retain(|(spec, _)| self.fits(spec).is_ok());
        if cells.len() < all {
            output::message(&format!(
                "note: {} of {all} cells of the design are left out, because their messages do not fit into memory",
                all - cells.len()
            ));
        }
        cells
    }

    /// Measures one cell. `None` means that it was called off before two set-ups were complete.
    fn cell(
        &self,
        (spec, held_out, seed): (&Spec, bool, u64),
        share: Duration,
        called_off: &mut dyn FnMut() -> bool,
        conditions: &mut Conditions,
    ) -> Option<Vec<MeasuredPath>> {
        let contestant = |path: &&'static SendPath| Contestant {
            name: path.name.to_owned(),
            scenario: self.scenario(path, spec),
            site: self.site.clone(),
        };
        let mut cell = Cell::new(self.paths.iter().map(contestant).collect(), seed, None);
        let turns = Turns::within_share(
            share / SETUPS as u32,
            self.paths.len(),
            cell.rows_per_block(),
            self.any.clients,
        );
        let began = Instant::now();
        for setup in 0..SETUPS {
            // A mean needs two set-ups, even if a cell with much memory takes longer than its share.
            if setup >= 2 && began.elapsed() > share {
                break;
            }
            match cell.set_up(turns.rows, Work::Window(turns.length), &mut || !called_off()) {
                SetUpEnd::Complete => {}
                SetUpEnd::CalledOff if cell.setups() < 2 => return None,
                SetUpEnd::CalledOff | SetUpEnd::NobodyLeft => break,
            }
        }
        let of_message = spec.size as f64 / 1024.0;
        let ns = |index: usize| {
            [Metric::SenderDemand, Metric::Demand].map(|metric| {
                let pairs = cell.pairs(index, index, metric)?;
                let values: Vec<_> = pairs.iter().map(|pair| pair.path * of_message).collect();
                if values.is_empty() { Err("nothing was measured".to_owned()) } else { Ok(values) }
            })
        };
        let ns: Vec<_> = (0..self.paths.len()).map(ns).collect();
        let finished = cell.finish(None, &mut |_| ());
        let observe =
            |((_, measured), ns): ((Contestant, Result<crate::compare::ContestantResult, _>), _)| {
                let counts = measured.map(|measured| {
                    conditions.connected(&measured.applied);
                    if let Some(host) = measured.host {
                        conditions.host = Some(Box::new(host));
                    }
                    counts(&measured.sample)
                });
                MeasuredPath { spec: *spec, held_out, counts: counts.unwrap_or_default(), ns }
            };
        Some(finished.into_iter().zip(ns).map(observe).collect())
    }
}

/// Merges both lists in order and spreads the held-out cells among the others, so that a model can be checked even if
/// the budget ends early.
fn interleaved<T>(training: Vec<T>, held_out: Vec<T>) -> Vec<T> {
    let every = training.len().div_ceil(held_out.len().max(1)).max(1);
    let mut held_out = held_out.into_iter();
    let mut all = Vec::new();
    for (number, cell) in training.into_iter().enumerate() {
        all.push(cell);
        if (number + 1) % every == 0 {
            all.extend(held_out.next());
        }
    }
    all.extend(held_out);
    all
}

fn counts(sample: &Sample) -> MessageCounts {
    let each = |count: u64| count as f64 / sample.messages.max(1) as f64;
    let segments = sample.wire.as_ref().and_then(|wire| wire.segments.clone().ok());
    MessageCounts {
        calls: each(sample.calls),
        segments: each(segments.unwrap_or(0)),
        notifications: each(sample.ledger.completed),
    }
}

fn figure(path: &SendPath, cell: &MeasuredPath) -> String {
    match &cell.ns[1] {
        Ok(ns) => format!("{} {}", path.name, time(mean(ns))),
        // The message begins with the name of the path.
        Err(why) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::interleaved;

    #[test]
    fn held_out_cells_are_spread_among_the_others() {
        assert_eq!(interleaved(vec![1, 2, 3, 4, 5, 6, 7], vec![10, 20]), [1, 2, 3, 4, 10, 5, 6, 7, 20]);
        assert_eq!(interleaved(vec![1], vec![10, 20]), [1, 10, 20]);
        assert!(interleaved(Vec::<u8>::new(), vec![]).is_empty());
    }
}
