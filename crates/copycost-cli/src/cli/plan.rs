//! The plan of a run: what is measured, how long it takes, and how much time is left.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use copycost::units::plural;

/// What a run will measure, and for how long.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The number of paths in each cell.
    pub paths: usize,
    /// The expected time of each cell.
    pub cells: Vec<Duration>,
    /// The fewest set-ups of each cell.
    pub setups: usize,
    /// Whether more set-ups may follow, until the ratios are precise enough.
    pub open: bool,
    /// The budget of the whole run; `None` if there is none.
    pub budget: Option<Duration>,
}

impl RunPlan {
    /// The expected time of the whole run.
    pub fn expected(&self) -> Duration {
        self.budget.unwrap_or_else(|| self.cells.iter().sum())
    }

    /// One line, such as `4 paths in 4 cells, 8 set-ups each: about 24 s, until 14:03:21 UTC`.
    pub fn sentence(&self, now: SystemTime) -> String {
        let Self { paths, cells, setups, .. } = self;
        let expected = self.expected();
        let effort = match (self.budget, self.open) {
            (Some(_), _) => "as many set-ups as fit: at most".to_owned(),
            (None, true) => format!("{setups} set-ups each or more: at least"),
            (None, false) => format!("{setups} set-ups each: about"),
        };
        format!(
            "{} in {}, {effort} {}, until {} UTC",
            plural(*paths, "path"),
            plural(cells.len(), "cell"),
            length(expected),
            clock(now + expected)
        )
    }
}

/// Estimates the time left from how long the finished cells took.
#[derive(Debug)]
pub struct Remaining {
    plan: RunPlan,
    done: usize,
    began: Instant,
    /// When the current cell began.
    cell_began: Instant,
    /// Actual time divided by expected time, over the finished cells.
    stretch: f64,
}

impl Remaining {
    /// Starts `plan` at `now`.
    pub fn of(plan: RunPlan, now: Instant) -> Self {
        Self { plan, done: 0, began: now, cell_began: now, stretch: 1.0 }
    }

    /// The plan, without skipped cells.
    pub fn plan(&self) -> &RunPlan {
        &self.plan
    }

    /// Records that the current cell is finished.
    pub fn cell_done(&mut self, now: Instant) {
        self.done += 1;
        self.cell_began = now;
        let expected: Duration = self.plan.cells.iter().take(self.done).sum();
        if !expected.is_zero() {
            self.stretch = now.duration_since(self.began).as_secs_f64() / expected.as_secs_f64();
        }
    }

    /// Removes the next cell from the plan.
    pub fn cell_skipped(&mut self) {
        if self.done < self.plan.cells.len() {
            self.plan.cells.remove(self.done);
        }
    }

    /// The estimated time left at `now`.
    pub fn left(&self, now: Instant) -> Duration {
        if let Some(budget) = self.plan.budget {
            return budget.saturating_sub(now.duration_since(self.began));
        }
        let cell =
            |place: usize| self.plan.cells.get(place).copied().unwrap_or_default().mul_f64(self.stretch);
        let running = cell(self.done).saturating_sub(now.duration_since(self.cell_began));
        (self.done + 1..self.plan.cells.len()).map(cell).sum::<Duration>() + running
    }

    /// The share of the run that is done at `now`, 0 to 1.
    pub fn share(&self, now: Instant) -> f64 {
        let past = now.duration_since(self.began).as_secs_f64();
        let left = self.left(now).as_secs_f64();
        if past + left > 0.0 { past / (past + left) } else { 0.0 }
    }
}

/// `21 s`, `2 min 5 s`, `1 h 3 min`.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// `14:03:21`
fn clock(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cells: &[u64]) -> RunPlan {
        let cells = cells.iter().map(|seconds| Duration::from_secs(*seconds)).collect();
        RunPlan { paths: 3, cells, setups: 8, open: false, budget: None }
    }

    #[test]
    fn a_plan_is_one_line() {
        let now = UNIX_EPOCH + Duration::from_secs(14 * 3600 + 3 * 60);
        assert_eq!(
            plan(&[5, 16]).sentence(now),
            "3 paths in 2 cells, 8 set-ups each: about 21 s, until 14:03:21 UTC"
        );
        let open = RunPlan { open: true, ..plan(&[125]) };
        assert_eq!(
            open.sentence(now),
            "3 paths in 1 cell, 8 set-ups each or more: at least 2 min 5 s, until 14:05:05 UTC"
        );
        let budget = RunPlan { budget: Some(Duration::from_secs(3780)), open: true, ..plan(&[5]) };
        assert!(budget.sentence(now).ends_with("at most 1 h 3 min, until 15:06:00 UTC"));
    }

    #[test]
    fn the_time_left_follows_from_the_finished_cells() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut left = Remaining::of(plan(&[10, 10, 20]), now);
        assert_eq!(left.left(now).as_secs(), 40);
        assert_eq!(left.left(after(4)).as_secs(), 36);
        // A cell that overruns has no time left.
        assert_eq!(left.left(after(15)).as_secs(), 30);
        left.cell_done(after(20));
        assert_eq!(left.left(after(20)).as_secs(), 60);
        assert!((left.share(after(20)) - 0.25).abs() < 1e-9);
        left.cell_done(after(40));
        left.cell_done(after(80));
        assert_eq!(left.left(after(80)), Duration::ZERO);
        assert!((left.share(after(80)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn with_a_budget_the_time_left_follows_the_clock() {
        let now = Instant::now();
        let budget = Some(Duration::from_secs(30));
        let left = Remaining::of(RunPlan { budget, ..plan(&[10, 10]) }, now);
        assert_eq!(left.left(now + Duration::from_secs(12)).as_secs(), 18);
        assert_eq!(left.left(now + Duration::from_secs(31)), Duration::ZERO);
    }
}
