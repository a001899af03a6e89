//! Where samples and symbols come from: a small trait, so that a test is a machine without rights or symbols.

use std::io;

use crate::cost::opener::Reach;

/// Whose time is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Whatever runs on this CPU. The timer runs on through context switches, so it disturbs them least.
    Cpu(usize),
    /// This thread, on whatever CPU. Its timer is set anew at each switch.
    Thread(i32),
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Who ran.
    pub thread: i32,
    /// Who ran on this CPU before, where switches are seen.
    pub before: Option<i32>,
    /// In user space.
    pub user: bool,
    /// Addresses in the kernel, where it was first, then its callers.
    pub chain: Vec<u64>,
}

/// Samples of one target, kept until they are taken.
pub trait Ring {
    /// Begins to sample.
    fn enable(&mut self) -> io::Result<()>;
    /// Stops; what was sampled stays.
    fn disable(&mut self) -> io::Result<()>;
    /// Shows each sample to `see` and forgets it. Returns how many were lost for want of room.
    fn take(&mut self, see: &mut dyn FnMut(Sample)) -> u64;
}

/// A machine that can be sampled, or that says why not.
pub trait Source {
    /// A ring of `target`, not yet enabled, with so many samples for each second of CPU time.
    fn open(&self, target: Target, reach: Reach, hertz: u64) -> io::Result<Box<dyn Ring>>;
    /// `/proc/sys/kernel/perf_event_paranoid`, where it can be read.
    fn paranoid(&self) -> Option<i32>;
    /// `/proc/sys/kernel/perf_event_max_sample_rate`, where it can be read.
    fn most_hertz(&self) -> Option<u64>;
    /// The text of `/proc/kallsyms`.
    fn kallsyms(&self) -> io::Result<String>;
    /// `/proc/sys/kernel/kptr_restrict`, where it can be read.
    fn kptr_restrict(&self) -> Option<i32>;
}
