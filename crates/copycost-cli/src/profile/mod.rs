//! Where CPU time goes inside the kernel, by sampling the current function of each thread a few thousand times a
//! second.
//!
//! The event is perf's cpu-clock, which is driven by a timer and needs no PMU. A timer cannot interrupt code that has
//! interrupts off. A sample of such code is taken in the function that enables them again
//! (`_raw_spin_unlock_irqrestore`, `finish_task_switch`), so that function stands for the region before it. Each thread
//! has its own timer, which stops while the thread does not run.
//!
//! | module | contents |
//! |---|---|
//! | [`source`] | the source of samples and symbols, as a trait that tests can implement |
//! | [`perf`] | the source on this machine |
//! | [`threads`] | the roles of threads: sender, receiver, relay, ksoftirqd |
//! | [`profiler`] | takes the samples of a set of threads |
//! | [`symbols`] | names of kernel addresses |
//! | [`stacks`] | samples as counted stacks of names, also as text |
//! | [`classes`] | the table that assigns functions to classes of cost |
//! | [`breakdown`] | counted stacks by class |

pub mod breakdown;
pub mod classes;
pub mod perf;
pub mod profiler;
pub mod source;
pub mod stacks;
pub mod symbols;
pub mod threads;
