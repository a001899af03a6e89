//! Where CPU time goes inside the kernel, by sampling: which function a thread is in, a few thousand times a second.
//!
//! The event is perf's cpu-clock, which a timer drives, so it needs no PMU. A timer cannot interrupt code that has
//! interrupts off: what runs there is found by the next tick after it, in the function that puts them on again
//! (`_raw_spin_unlock_irqrestore`, `finish_task_switch`). So such a function stands for the region that it ends. Each thread has
//! a timer of its own, which stands still while the thread does not run.
//!
//! | file | what it has |
//! |---|---|
//! | [`source`] | where samples and symbols come from, as a trait, so that tests can be machines that this one is not |
//! | [`perf`] | this machine |
//! | [`threads`] | whose samples: sender, receiver, relay, ksoftirqd |
//! | [`profiler`] | from enabling to disabling: samples of the threads that count |
//! | [`symbols`] | names of kernel addresses |
//! | [`stacks`] | samples as counted stacks of names, also as text |
//! | [`classes`] | the one table: which function belongs to which class of cost |
//! | [`breakdown`] | counted stacks by class, and what no class has |

pub mod breakdown;
pub mod classes;
pub mod perf;
pub mod profiler;
pub mod source;
pub mod stacks;
pub mod symbols;
pub mod threads;
