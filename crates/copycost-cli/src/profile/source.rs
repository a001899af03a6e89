//! Where samples and symbols come from: a small trait, so that a test is a machine without rights or symbols.

use std::io;

use copycost::cost::opener::CounterReach;
use copycost::offset::is_slow;

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSample {
    /// Who ran.
    pub thread: i32,
    /// In user space.
    pub user: bool,
    /// The instruction that ran.
    pub address: u64,
    /// Addresses in the kernel, where it was first, then its callers.
    pub chain: Vec<u64>,
    /// What a copying instruction has in its registers: where it writes and where it reads. Where another instruction ran they
    /// are any two numbers. `None` where the kernel does not tell, or the architecture has no such instruction.
    pub copying: Option<CopyRegisters>,
}

/// The two registers of `rep movsb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyRegisters {
    /// RDI.
    pub destination: u64,
    /// RSI.
    pub source: u64,
}

/// Between whose memories a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// From the kernel's to a program's.
    OutOfKernel,
    /// From a program's to the kernel's.
    IntoKernel,
}

impl CopyRegisters {
    /// Whether the destination lies 1 to 31 bytes behind the source, modulo 4096.
    pub fn is_hazardous(&self) -> bool {
        is_slow(self.destination as usize, self.source as usize)
    }

    /// Which way it goes; `None` where both addresses are of one side, or one is none: then another instruction ran.
    pub fn crosses(&self) -> Option<CopyDirection> {
        /// Nothing is mapped below (vm.mmap_min_addr): a small number is a length.
        const LOWEST: u64 = 1 << 16;
        // The upper half of all addresses is the kernel's.
        let kernels = |address: u64| address >> 63 == 1;
        match (kernels(self.destination), kernels(self.source)) {
            (false, true) if self.destination >= LOWEST => Some(CopyDirection::OutOfKernel),
            (true, false) if self.source >= LOWEST => Some(CopyDirection::IntoKernel),
            _ => None,
        }
    }
}

/// Samples of one thread, kept until they are taken.
pub trait SampleRing {
    /// Begins to sample.
    fn enable(&mut self) -> io::Result<()>;
    /// Stops; what was sampled stays.
    fn disable(&mut self) -> io::Result<()>;
    /// Shows each sample to `see` and forgets it. Returns how many were lost for want of room.
    fn take(&mut self, see: &mut dyn FnMut(StackSample)) -> u64;
}

/// A machine that can be sampled, or that says why not.
pub trait SampleSource {
    /// A ring of a thread, 0 for the calling one, not yet enabled, with so many samples for each second of CPU time.
    fn open(&self, thread: i32, reach: CounterReach, hertz: u64) -> io::Result<Box<dyn SampleRing>>;
    /// `/proc/sys/kernel/perf_event_paranoid`, where it can be read.
    fn paranoid(&self) -> Option<i32>;
    /// `/proc/sys/kernel/perf_event_max_sample_rate`, where it can be read.
    fn most_hertz(&self) -> Option<u64>;
    /// The text of `/proc/kallsyms`.
    fn kallsyms(&self) -> io::Result<String>;
    /// `/proc/sys/kernel/kptr_restrict`, where it can be read.
    fn kptr_restrict(&self) -> Option<i32>;
}
