//! The tests that must be alone in a process, because they count what belongs to all of it: memory, files, threads,
//! signals. The harness runs several at once, so each starts this binary again for itself.

#[path = "../common/mod.rs"]
mod common;

mod allocation;
mod cost;
mod counting;
mod endurance;
mod late_reads;
mod leaks;
// What only glibc keeps to itself.
#[cfg(target_env = "gnu")]
mod memory;
mod sigpipe;
