//! How far a run is: a bar with the time left on a terminal, a line per cell in a pipe.

use std::cell::RefCell;
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
    /// What is being measured.
    what: RefCell<String>,
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
        Self { bar, piped, done: 0, what: RefCell::default() }
    }

    /// What is being measured.
    pub fn begin(&self, what: &str) {
        *self.what.borrow_mut() = what.to_owned();
        self.bar.set_message(what.to_owned());
    }

    /// Connections are being made for the set-up with this number, and their threads started.
    pub fn setting_up(&self, number: usize, connections: usize) {
        let s = if connections == 1 { "" } else { "s" };
        self.bar.set_message(format!(
            "{}: setting up {connections} connection{s} (set-up {number})",
            self.what.borrow()
        ));
    }

    /// The set-up is ready, and turns are taken.
    pub fn measuring(&self) {
        self.bar.set_message(self.what.borrow().clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_when_connections_are_being_made() {
        let progress =
            Progress { bar: ProgressBar::hidden(), piped: false, done: 0, what: RefCell::default() };
        progress.begin("64 KiB, 64 clients");
        progress.setting_up(2, 192);
        assert_eq!(progress.bar.message(), "64 KiB, 64 clients: setting up 192 connections (set-up 2)");
        progress.measuring();
        assert_eq!(progress.bar.message(), "64 KiB, 64 clients");
    }
}
