//! The tests that share a process and run side by side.
//!
//! - delivery, and what the kernel does with a message: `delivery`, `receive`, `by_reference`, `early_reuse`
//! - ends that fail: `faults`, `dying_ends`, `endings`, `limits`, `open_files`, `uring`
//! - messages of several sizes: `workload`; a load that does not wait: `open_loop`
//! - what a run costs: `cost_*`
//! - what the project says of itself: `benchmark_ids`, `docs`, `examples`, `layers`, `public_items`, which read the code by `source`

#[path = "../common/mod.rs"]
mod common;

mod benchmark_ids;
mod buffer_offsets;
mod by_reference;
mod cost_counters;
mod cost_system;
mod cost_truth;
mod cost_wire;
mod delivery;
mod docs;
mod dying_ends;
mod early_reuse;
mod endings;
mod examples;
mod faults;
mod layers;
mod limits;
mod open_files;
mod open_loop;
mod public_items;
mod receive;
mod refusals;
mod soundness;
mod source;
mod uring;
mod workload;
