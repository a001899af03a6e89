//! Tests that must be alone in a process, because they count what belongs to all of it.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../../tests/alone/counting.rs"]
mod counting;

mod late_reads;
mod memory;
mod old_kernel;
mod process;
#[cfg(feature = "tokio")]
mod tokio;
