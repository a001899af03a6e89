//! How far a run is: a bar with the time left on a terminal, a line per cell in a pipe.

use std::io::IsTerminal as _;

use super::output;
use indicatif::{ProgressBar, ProgressStyle};

/// Marks on the bar for each cell.
const MARKS: u64 = 1000;

/// How far a run is.
#[derive(Debug)]
pub struct Progress {
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    piped: bool,
    done: u64,
}

impl Progress {
    /// Of a run of so many cells.
    pub fn of(cells: usize) -> Self {
        let piped = !std::io::stderr().is_terminal();
        let bar = if piped { ProgressBar::hidden() } else { ProgressBar::new(cells as u64 * MARKS) };
        // The template is a constant; if it were wrong the default would do.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}, {eta} left") {
            bar.set_style(style);
        }
        Self { bar, piped, done: 0 }
    }

    /// What is being measured.
    pub fn begin(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// How much of the cell is measured, 0 to 1.
    pub fn within(&self, share: f64) {
        self.bar.set_position(self.done * MARKS + (share.clamp(0.0, 1.0) * MARKS as f64) as u64);
    }

    /// So many cells more are measured, and what they came to.
    pub fn end(&mut self, cells: usize, told: &str) {
        self.done += cells as u64;
        self.within(0.0);
        if self.piped {
            output::message(told);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
