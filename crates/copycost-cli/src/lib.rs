//! The command `copycost`: what Criterion cannot do with the send paths of the crate [`copycost`].
//!
//! The layers, top down; a file imports only from rows below its own, and all of them from the library:
//!
//! ```text
//! cli                             one file a verb
//! report                          from records to bytes: tables, pages, plots
//! verdict                         from records to sentences: the answer, changes since an earlier run
//! record                          what is kept of a measurement
//! explain  model  many            where the CPU time goes; what it comes to for other messages; many hosts (feature `mpi`)
//! compare  watch                  paths measured side by side; what a running process pays for where its buffers begin
//! lab  remote                     a network card in software; other hosts: each a `copycost::rig::Site`
//! doctor                          what distorts a measurement here
//! conditions  profile  stats      how it was measured; samples of the CPU time; paired statistics
//! json
//! ```

// Only the command, its tests and benches see these items: one whose name says all needs no sentence.
#![allow(missing_docs)]
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
pub mod stats;
pub mod verdict;
pub mod watch;
