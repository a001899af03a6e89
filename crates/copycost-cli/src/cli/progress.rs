//! Shows progress: a bar with the time left on a terminal, one line for each cell in a pipe.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant, SystemTime};

use super::output;
use super::plan::{Remaining, RunPlan, length};
use copycost::units::plural;
use indicatif::{ProgressBar, ProgressStyle};

/// The length of the bar in steps.
const MARKS: u64 = 1000;

/// The shortest time between updates of the time left, so that a person can read it.
const UPDATE_INTERVAL: Duration = Duration::from_millis(200);

/// The progress of a run.
#[derive(Debug)]
pub struct Progress {
    /// Hidden if standard error is not a terminal.
    bar: ProgressBar,
    piped: bool,
    remaining: Remaining,
    /// The name of the current cell.
    what: RefCell<String>,
    shown: Cell<Option<Instant>>,
    /// Whether the plan was printed.
    announced: Cell<bool>,
}

impl Progress {
    /// Progress of `plan`. The plan is printed when the first cell begins.
    pub fn of(plan: RunPlan) -> Self {
        let progress = Self::unannounced(plan);
        progress.announced.set(false);
        progress
    }

    /// Progress of `steps` steps of about `each`, without printing a plan.
    pub fn of_steps(steps: usize, each: Duration) -> Self {
        Self::unannounced(RunPlan {
            paths: 1,
            cells: vec![each; steps],
            setups: 1,
            open: false,
            budget: None,
        })
    }

    fn unannounced(plan: RunPlan) -> Self {
        let piped = !std::io::stderr().is_terminal();
        let bar = if piped { ProgressBar::hidden() } else { ProgressBar::new(MARKS) };
        // `wide_msg` truncates the message: a line that wraps would not be erased. If the template were wrong, the
        // default style would do.
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {prefix} {wide_msg}") {
            bar.set_style(style);
        }
        let progress = Self {
            bar,
            piped,
            remaining: Remaining::of(plan, Instant::now()),
            what: RefCell::default(),
            shown: Cell::default(),
            announced: Cell::new(true),
        };
        progress.tick();
        progress
    }

    /// A cell begins; `what` names it.
    pub fn begin(&self, what: &str) {
        if !self.announced.replace(true) {
            output::message(&self.remaining.plan().sentence(SystemTime::now()));
        }
        *self.what.borrow_mut() = what.to_owned();
        self.bar.set_message(what.to_owned());
    }

    /// Set-up `number` makes its connections and starts their threads.
    pub fn setting_up(&self, number: usize, connections: usize) {
        self.bar.set_message(format!(
            "{}: setting up {} (set-up {number})",
            self.what.borrow(),
            plural(connections, "connection")
        ));
    }

    /// The set-up is ready and takes turns.
    pub fn measuring(&self) {
        self.bar.set_message(self.what.borrow().clone());
        self.tick();
    }

    /// Updates the bar, at most once in [`UPDATE_INTERVAL`].
    pub fn tick(&self) {
        let now = Instant::now();
        if self.piped || self.shown.get().is_some_and(|shown| now.duration_since(shown) < UPDATE_INTERVAL) {
            return;
        }
        self.shown.set(Some(now));
        self.bar.set_position((self.remaining.share(now) * MARKS as f64) as u64);
        self.bar.set_prefix(format!("{} left,", length(self.remaining.left(now))));
    }

    /// The next cell of the plan need not be measured.
    pub fn skip(&mut self) {
        self.remaining.cell_skipped();
    }

    /// `cells` more cells are measured; `result` is printed in a pipe.
    pub fn end(&mut self, cells: usize, result: &str) {
        (0..cells).for_each(|_| self.remaining.cell_done(Instant::now()));
        self.shown.set(None);
        self.tick();
        if self.piped {
            output::message(result);
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_set_ups_and_the_time_left() {
        let cells = vec![Duration::from_secs(90); 2];
        let plan = RunPlan { paths: 3, cells, setups: 8, open: false, budget: None };
        let progress = Progress {
            bar: ProgressBar::hidden(),
            piped: false,
            remaining: Remaining::of(plan, Instant::now()),
            what: RefCell::default(),
            shown: Cell::default(),
            announced: Cell::new(true),
        };
        progress.begin("64 KiB, 64 clients");
        progress.setting_up(2, 192);
        assert_eq!(progress.bar.message(), "64 KiB, 64 clients: setting up 192 connections (set-up 2)");
        progress.measuring();
        assert_eq!(progress.bar.message(), "64 KiB, 64 clients");
        assert_eq!(progress.bar.prefix(), "3 min left,");
    }
}
