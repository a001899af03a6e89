//! The cells of the design, one after the other, every path in each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;

use crate::cli::plan::RunPlan;
use crate::cli::progress::Progress;
use crate::cli::{Failure, output};
use crate::compare::cell::{Cell, Contestant, SetUpEnd};
use crate::compare::metric::Metric;
use crate::compare::turns::Turns;
use crate::model::choice::time;
use crate::model::design;
use crate::model::fit::{MessageCounts, mean};
use crate::record::{AskedMessage, Conditions};
use copycost::message::{Layout, Spec};
use copycost::rig::{RigError, Sample, Site, Work, check_memory};
use copycost::scenario::Scenario;
use copycost::send::{Release, SendPath};

/// Set-ups of a cell: what addresses and pages bring by luck is halved, and more cells tell more than more set-ups.
const SETUPS: usize = 4;

/// What one path came to in one cell.
#[derive(Debug, Clone)]
pub struct MeasuredPath {
    /// Its message.
    pub spec: Spec,
    /// Whether the model is to be checked by it.
    pub held_out: bool,
    /// What was counted for a message.
    pub counts: MessageCounts,
    /// CPU time of a message in ns, of the sender and of both ends, in each set-up; or why there is none.
    pub ns: [Result<Vec<f64>, String>; 2],
}

/// What was measured.
#[derive(Debug)]
pub struct MeasuredPaths {
    /// The cells of each path.
    pub cells: Vec<Vec<MeasuredPath>>,
    /// The conditions, with what the connections had.
    pub conditions: Conditions,
    /// How many cells there was no time for, or no patience.
    pub left_out: usize,
    /// A signal ended it.
    pub interrupted: bool,
}

/// A budget may be passed by so much, for a set-up that is under way.
const OVERRUN: f64 = 0.05;

/// What is measured, and how long.
#[derive(Debug)]
pub struct Measurement<'a> {
    /// The asked message's scenario, for what all cells have in common.
    pub any: &'a Scenario,
    pub paths: &'a [&'static SendPath],
    pub site: &'a Arc<dyn Site>,
    pub budget: Duration,
    /// Whether the messages lie in this process.
    pub serves_here: bool,
    pub signals: &'a Receiver<()>,
}

impl Measurement<'_> {
    /// Measures cell after cell, until all are or the budget is over.
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
            let what = AskedMessage::of(spec).words()
                + if spec.layout == self.any.spec.layout { "" } else { ", on pages" };
            progress.begin(&what);
            let left = until.saturating_duration_since(Instant::now());
            let share = left / (cells.len() - number) as u32;
            let design = (spec, *held_out, number as u64);
            let Some(found) = self.cell(design, share, called_off, &mut conditions) else { break };
            let told: Vec<_> = self.paths.iter().zip(&found).map(|(path, cell)| figure(path, cell)).collect();
            let kind = if *held_out { ", held out" } else { "" };
            progress.end(1, &format!("{what}{kind}: {}", told.join(", ")));
            observed.iter_mut().zip(found).for_each(|(cells, cell)| cells.push(cell));
        }
        progress.finish();
        let left_out = cells.len() - observed.first().map_or(0, Vec::len);
        Ok(MeasuredPaths { cells: observed, conditions, left_out, interrupted })
    }

    /// Whether messages of `spec` fit into memory, all paths at once, where they lie in this process.
    pub fn fits(&self, spec: &Spec) -> Result<(), RigError> {
        let scenarios: Vec<_> = self.paths.iter().map(|path| self.scenario(path, spec)).collect();
        if self.serves_here { check_memory(&scenarios) } else { Ok(()) }
    }

    /// A path in a cell.
    fn scenario(&self, path: &'static SendPath, spec: &Spec) -> Scenario {
        Scenario { path, spec: *spec, ..self.any.clone() }
    }

    /// The design, without what only paths need that keep references to pages.
    fn cells(&self) -> Vec<(Spec, bool)> {
        let like = &self.any.spec;
        let by_reference = self.paths.iter().any(|path| path.release != Release::OnReturn);
        let training = design::training(like).into_iter().map(|spec| (spec, false));
        let held_out = design::held_out(like).into_iter().map(|spec| (spec, true));
        let mut cells = interleaved(training.collect(), held_out.collect());
        cells.retain(|(spec, _)| by_reference || spec.layout == like.layout || like.layout == Layout::Page);
        // Where messages lie here, what does not fit is not tried.
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

    /// `None` where it was called off before two set-ups were complete.
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
            // Two set-ups are the least that a mean is worth; a cell of much memory takes longer than its share.
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

/// Both in their order, and what is held out among the rest: a model that the budget cuts short can be checked.
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
        // It begins with the path's name.
        Err(why) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::interleaved;

    #[test]
    fn what_is_held_out_stands_among_the_rest() {
        assert_eq!(interleaved(vec![1, 2, 3, 4, 5, 6, 7], vec![10, 20]), [1, 2, 3, 4, 10, 5, 6, 7, 20]);
        assert_eq!(interleaved(vec![1], vec![10, 20]), [1, 10, 20]);
        assert!(interleaved(Vec::<u8>::new(), vec![]).is_empty());
    }
}
