//! Connects [`super::trial`] with the rigs of a cell.

use std::time::{Duration, Instant};

use super::cell::{Cell, SetUpEnd};
use super::metric::Metric;
use super::trial::Measurer;
use super::turns::Turns;
use crate::stats::{Estimate, Unusable};
use copycost::rig::Work;

/// A cell during measurement.
pub struct Rigs<'a> {
    /// The cell with its contestants.
    pub cell: Cell,
    /// The turns of each set-up.
    pub turns: Turns,
    /// The compared pairs: the indices of a path and of its reference in the cell.
    pub pairs: &'a [(usize, usize)],
    /// When the measurement began.
    pub began: Instant,
    /// Called before each set-up with its number, from 1, because a set-up with many clients takes a while.
    pub setting_up: &'a mut dyn FnMut(usize),
    /// Called after each turn; returns whether to go on.
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
