//! The tests that must be alone in a process, because they count what belongs to all of it: memory, files, threads,
//! signals. Each starts this binary again for itself.

#[path = "../common/mod.rs"]
mod common;

mod allocation;
mod endurance;
mod leaks;
mod sigpipe;
