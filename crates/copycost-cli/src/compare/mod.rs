//! Comparing paths on a machine that is never quiet: in which order they take turns, how often they are set up anew, and
//! what their numbers then say.
//!
//! - [`schedule`], [`turns`]: who comes when, and for how long
//! - [`cell`]: everyone of a cell built anew and measured, set-up after set-up
//! - [`trial`]: how many set-ups
//! - [`stats`]: ratios, intervals, words
//! - [`crossover`]: from which size one path beats another
//! - [`self_test`]: whether all this finds what is there, and nothing else
//! - `iperf3`: an installed iperf3 beside our plain `send()`
//! - `verdict`, `baseline`: what records and comparisons say, in sentences, and beside those of an earlier run

pub mod baseline;
pub mod cell;
pub mod crossover;
pub mod iperf3;
mod measured;
pub mod metric;
pub mod rigs;
pub mod schedule;
pub mod self_test;
pub mod stats;
pub mod trial;
pub mod turns;
pub mod verdict;

pub use measured::{ContestantResult, TurnResult};
