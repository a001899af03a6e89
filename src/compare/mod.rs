//! Comparing paths on a machine that is never quiet: in which order they take turns, and what their numbers then say.

pub mod cell;
pub mod schedule;
pub mod stats;
