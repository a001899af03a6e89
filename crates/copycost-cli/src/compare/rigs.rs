//! The rigs of a cell as something that is set up again and again: what stands between [`super::trial`] and the machine.

use std::time::{Duration, Instant};

use super::cell::{Cell, SetUpEnd};
use super::metric::Metric;
use super::stats::{Estimate, Unusable};
use super::trial::Measurer;
use super::turns::Turns;
use copycost::rig::Work;

/// A cell under measurement.
pub struct Rigs<'a> {
    /// Everyone in it.
    pub cell: Cell,
    /// The turns of a set-up.
    pub turns: Turns,
    /// Whose ratios are wanted: a path and its reference, by their places in the cell.
    pub pairs: &'a [(usize, usize)],
    /// When it began.
    pub began: Instant,
    /// Told before each set-up its number, from 1: with many clients it takes a while.
    pub setting_up: &'a mut dyn FnMut(usize),
    /// Asked after each turn whether to go on.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl std::fmt::Debug for Rigs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rigs").field("cell", &self.cell).field("turns", &self.turns).finish_non_exhaustive()
    }
}

impl Measurer for Rigs<'_> {
    fn set_up(&mut self) -> SetUpEnd {
        (self.setting_up)(self.cell.setups() + 1);
        self.cell.set_up(self.turns.rows, Work::Window(self.turns.length), self.go_on)
    }

    fn estimates(&self) -> Vec<Result<Estimate, Unusable>> {
        let by_metric = |&(path, reference): &(usize, usize)| {
            Metric::ALL.iter().filter_map(move |metric| self.cell.pairs(path, reference, *metric).ok())
        };
        self.pairs.iter().flat_map(by_metric).map(|pairs| Estimate::new(&pairs)).collect()
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
