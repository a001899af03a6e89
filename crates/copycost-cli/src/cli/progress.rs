//! How far a run is: a bar with the time left on a terminal, a line per cell in a pipe.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant, SystemTime};

use super::output;
use super::plan::{Remaining, RunPlan, length};
use copycost::units::plural;
use indicatif::{ProgressBar, ProgressStyle};

/// Marks on the whole bar.
const MARKS: u64 = 1000;

/// The time left is written anew only so often: it is read by people.
const EVERY: Duration = Duration::from_millis(200);

/// How far a run is.
#[derive(Debug)]
pub struct Progress {
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    piped: bool,
    remaining: Remaining,
    /// What is being measured.
    what: RefCell<String>,
    shown: Cell<Option<Instant>>,
    /// The plan was printed.
    announced: Cell<bool>,
}

impl Progress {
    /// Of a run that does so; the plan is the first line, when the first cell begins.
    pub fn of(plan: RunPlan) -> Self {
        let progress = Self::unannounced(plan);
        progress.announced.set(false);
        progress
    }

    /// Of so many steps that take so long each.
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
        // A message that is too long for the line is cut; a line that wraps would be left behind. The template is a
        // constant; if it were wrong the default would do.
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

    /// What is being measured.
    pub fn begin(&self, what: &str) {
        if !self.announced.replace(true) {
            output::message(&self.remaining.plan().sentence(SystemTime::now()));
        }
        *self.what.borrow_mut() = what.to_owned();
        self.bar.set_message(what.to_owned());
    }

    /// Connections are being made for the set-up with this number, and their threads started.
    pub fn setting_up(&self, number: usize, connections: usize) {
        self.bar.set_message(format!(
            "{}: setting up {} (set-up {number})",
            self.what.borrow(),
            plural(connections, "connection")
        ));
    }

    /// The set-up is ready, and turns are taken.
    pub fn measuring(&self) {
        self.bar.set_message(self.what.borrow().clone());
        self.tick();
    }

    /// Time has passed.
    pub fn tick(&self) {
        let now = Instant::now();
        if self.piped || self.shown.get().is_some_and(|shown| now.duration_since(shown) < EVERY) {
            return;
        }
        self.shown.set(Some(now));
        self.bar.set_position((self.remaining.share(now) * MARKS as f64) as u64);
        self.bar.set_prefix(format!("{} left,", length(self.remaining.left(now))));
    }

    /// A cell of the plan need not be measured.
    pub fn skip(&mut self) {
        self.remaining.cell_skipped();
    }

    /// So many cells more are measured, and what they came to.
    pub fn end(&mut self, cells: usize, told: &str) {
        (0..cells).for_each(|_| self.remaining.cell_done(Instant::now()));
        self.shown.set(None);
        self.tick();
        if self.piped {
            output::message(told);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_when_connections_are_being_made_and_what_is_left() {
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
