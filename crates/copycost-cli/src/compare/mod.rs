//! Compares paths on a noisy machine: the order of their turns, the number of set-ups, and the figures.
//!
//! - [`schedule`], [`turns`]: the order and the length of turns
//! - [`contestant`]: what takes turns
//! - [`cell`]: builds and measures the contestants of a cell, in repeated set-ups
//! - [`trial`]: decides how many set-ups a cell gets
//! - [`crossover`]: finds the size from which one path beats another
//! - [`open_loop`]: paths under loads that do not wait
//! - [`self_test`]: checks that real differences are found, and no others
//! - `iperf3`: compares the plain `send()` with an installed iperf3

pub mod cell;
pub mod contestant;
pub mod crossover;
pub mod iperf3;
mod measured;
pub mod metric;
pub mod open_loop;
pub mod rigs;
pub mod schedule;
pub mod self_test;
pub mod trial;
pub mod turns;

pub use measured::{ContestantResult, TurnResult, rounds_in};
