//! Comparing paths on a machine that is never quiet: in which order they take turns, how often they are set up anew, and
//! what their numbers then say.
//!
//! - [`schedule`], [`turns`]: who comes when, and for how long
//! - [`cell`]: everyone of a cell built anew and measured, set-up after set-up
//! - [`trial`]: how many set-ups
//! - [`stats`]: ratios, intervals, words
//! - [`crossover`]: from which size one path beats another
//! - `verdict`, `baseline`: what records and comparisons say, in sentences, and beside those of an earlier run

#[cfg(feature = "cli")]
pub mod baseline;
pub mod cell;
pub mod crossover;
mod measured;
pub mod metric;
pub mod rigs;
pub mod schedule;
pub mod stats;
pub mod trial;
pub mod turns;
#[cfg(feature = "cli")]
pub mod verdict;

pub use measured::Measured;
