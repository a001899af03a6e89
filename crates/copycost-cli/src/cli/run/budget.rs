//! Divides the time of a run among its cells, and the time of a cell among its set-ups.

use std::time::Duration;

use crate::compare::trial::{Effort, MOST_SETUPS, SETUPS};
use crate::compare::turns::{Turns, block_time, building, opening};

/// The half-width of intervals at which a budgeted cell stops: the margin within which paths count as equivalent.
pub const USUAL_PRECISION: f64 = crate::stats::EQUIVALENT_WITHIN;

/// The budget of a quick run. With the checks of `doctor` and the end of the last turn it takes less than 20 s.
pub const QUICK: Duration = Duration::from_secs(17);

/// If message latency is measured, it gets one part in so many of a cell's share.
const FOR_LATENCY: u32 = 5;

/// The time and the precision that the flags ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeBudget {
    /// The measured time of each path in each cell, if there is no budget.
    pub each: Duration,
    /// The fewest set-ups among which that time is divided.
    pub setups: usize,
    /// Whether there is a budget for the whole run.
    pub budgeted: bool,
    /// The half-width of intervals at which a cell is precise enough; `None` means that the flags name none.
    pub precision: Option<f64>,
    /// The level of the intervals while measuring.
    pub alpha: f64,
    /// Whether message latency is measured too.
    pub latency: bool,
}

/// The share of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellBudget {
    /// The turns of each set-up.
    pub turns: Turns,
    /// The number of set-ups, and when to stop.
    pub effort: Effort,
    /// The length of the latency phase for each path; `None` means that there is none.
    pub latency: Option<Duration>,
}

impl CellBudget {
    /// The expected time of a cell with `paths` paths and `clients` clients.
    pub fn expected(&self, paths: usize, clients: usize) -> Duration {
        let setup = building(clients) + self.turns.time() + opening(clients) * self.turns.rows as u32;
        let usual = setup * (paths * self.effort.at_least) as u32;
        let latency = self.latency.unwrap_or_default() * paths as u32;
        self.effort.time.unwrap_or(usual + latency).max(Duration::from_millis(1))
    }
}

impl TimeBudget {
    /// The share of a cell with `paths` paths and `clients` clients. `left` is the rest of the budget for this cell and
    /// those after it, `cells` in number.
    pub fn allot(
        &self,
        (paths, clients): (usize, usize),
        rows_per_block: usize,
        left: Duration,
        cells: usize,
    ) -> CellBudget {
        if self.budgeted {
            let share = left / u32::try_from(cells.max(1)).unwrap_or(u32::MAX);
            self.share_out(share, (paths, clients), rows_per_block)
        } else {
            self.spend(rows_per_block, clients)
        }
    }

    fn share_out(
        &self,
        share: Duration,
        (paths, clients): (usize, usize),
        rows_per_block: usize,
    ) -> CellBudget {
        let latency = self.latency.then(|| share / FOR_LATENCY);
        let share = share.saturating_sub(latency.unwrap_or_default());
        // Divides by one set-up more, because a set-up may take longer than expected.
        let turns = Turns::within_share(share / (SETUPS as u32 + 1), paths, rows_per_block, clients);
        let effort = Effort {
            at_least: SETUPS,
            at_most: usize::MAX,
            precision: Some(self.precision.unwrap_or(USUAL_PRECISION)),
            time: Some(share),
            alpha: self.alpha,
        };
        CellBudget {
            turns,
            effort,
            latency: latency.map(|time| time / u32::try_from(paths.max(1)).unwrap_or(1)),
        }
    }

    /// More time gives more set-ups rather than longer ones, because the statistics count set-ups.
    fn spend(&self, rows_per_block: usize, clients: usize) -> CellBudget {
        let blocks = (self.each.as_secs_f64() / block_time(rows_per_block).as_secs_f64()).round() as usize;
        let setups = if self.setups < SETUPS { self.setups } else { blocks.max(self.setups) };
        let turns = Turns::of(self.each / u32::try_from(setups).unwrap_or(u32::MAX), rows_per_block, clients);
        let at_most = self.precision.map_or(setups, |_| MOST_SETUPS.max(setups));
        let effort =
            Effort { at_least: setups, at_most, precision: self.precision, time: None, alpha: self.alpha };
        CellBudget { turns, effort, latency: self.latency.then(|| self.each / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: TimeBudget = TimeBudget {
        each: Duration::from_secs(1),
        setups: SETUPS,
        budgeted: false,
        precision: None,
        alpha: 0.05,
        latency: false,
    };

    #[test]
    fn seconds_are_divided_among_eight_set_ups_or_more() {
        let allotment = BUDGET.allot((3, 1), 6, Duration::ZERO, 4);
        assert_eq!((allotment.effort.at_least, allotment.effort.at_most), (8, 8));
        assert_eq!(allotment.turns.rows, 6);
        let time = allotment.turns.time() * 8;
        assert!(time <= BUDGET.each && time + Duration::from_millis(1) > BUDGET.each);
        let long = TimeBudget { each: Duration::from_secs(60), ..BUDGET }.allot((3, 1), 6, Duration::ZERO, 4);
        assert_eq!(
            (long.effort.at_least, long.turns),
            (125, Turns { rows: 6, length: Duration::from_millis(80) })
        );
    }

    #[test]
    fn fewer_set_ups_have_longer_turns() {
        let allotment = TimeBudget { setups: 2, ..BUDGET }.allot((3, 1), 6, Duration::ZERO, 4);
        assert_eq!((allotment.effort.at_least, allotment.effort.at_most), (2, 2));
        assert_eq!(allotment.turns, Turns { rows: 6, length: BUDGET.each / 12 });
    }

    #[test]
    fn a_precision_alone_has_an_end() {
        let allotment = TimeBudget { precision: Some(0.01), ..BUDGET }.allot((3, 1), 6, Duration::ZERO, 4);
        assert_eq!((allotment.effort.at_least, allotment.effort.at_most), (8, 64));
        assert_eq!(allotment.effort.precision, Some(0.01));
    }

    #[test]
    fn a_budget_is_shared_among_the_cells_that_are_left() {
        let budget = TimeBudget { budgeted: true, latency: true, ..BUDGET };
        let allotment = budget.allot((3, 1), 6, Duration::from_secs(20), 4);
        assert_eq!(allotment.effort.time, Some(Duration::from_secs(4)));
        assert_eq!(allotment.effort.precision, Some(USUAL_PRECISION));
        assert_eq!(allotment.latency, Some(Duration::from_secs(1) / 3));
        let nothing = budget.allot((3, 1), 6, Duration::ZERO, 1);
        assert!(nothing.effort.time.unwrap().is_zero() && nothing.turns.rows == 1);
    }
}
