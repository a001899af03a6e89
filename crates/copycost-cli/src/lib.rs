//! The command `copycost`: what Criterion cannot do with the send paths of the crate [`copycost`].
//!
//! The rooms of the house, bottom up; a file imports only from rows below its own, and all of them from the library:
//!
//! ```text
//! cli                  one file a verb
//! report               from records to text
//! compare              verdict, baseline: sentences and changes, from records     explain   answer
//! record
//! explain  model       where the CPU time of paths goes; what it comes to for messages that were not measured
//! watch                what a running process pays for where its buffers begin
//! compare              schedule, turns, cell, trial, stats, crossover, self_test     many (with the feature mpi)
//! remote  lab          other hosts; a network card in software: each a `copycost::rig::Site`     doctor
//! conditions  profile  json
//! ```

// What prints panics where the output is closed or full; `cli::output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod compare;
pub mod conditions;
pub mod doctor;
pub mod explain;
pub mod json;
pub mod lab;
#[cfg(feature = "mpi")]
pub mod many;
pub mod model;
pub mod profile;
pub mod record;
pub mod remote;
pub mod report;
#[cfg(test)]
#[path = "../../../tests/common/rules.rs"]
mod rules;
pub mod watch;
