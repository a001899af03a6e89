//! The source of samples and symbols, as a trait, so that a test can imitate a machine without rights or symbols.

use std::io;

use copycost::internals::cost::opener::CounterReach;
use copycost::offset::is_slow;

/// One sample of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSample {
    /// The id of the running thread, as gettid(2) gives it.
    pub thread: i32,
    /// Whether the thread ran in user space.
    pub user: bool,
    /// The address of the instruction.
    pub address: u64,
    /// Addresses in the kernel: the current function, then its callers.
    pub chain: Vec<u64>,
    /// The registers in which a copy instruction has its addresses. If another instruction ran, they are arbitrary
    /// numbers.
    /// `None` if the kernel does not report registers, or the architecture has no copy instruction.
    pub copying: Option<CopyRegisters>,
}

/// The two registers of `rep movsb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyRegisters {
    /// RDI, the address to write to.
    pub destination: u64,
    /// RSI, the address to read from.
    pub source: u64,
}

/// The direction of a copy between the kernel and a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// From the kernel to a program.
    OutOfKernel,
    /// From a program to the kernel.
    IntoKernel,
}

impl CopyRegisters {
    /// Whether the destination is 1 to 31 bytes after the source, modulo 4096.
    pub fn is_hazardous(&self) -> bool {
        is_slow(self.destination as usize, self.source as usize)
    }

    /// The direction; `None` if the addresses do not belong to a copy between kernel and program, so that another
    /// instruction ran.
    pub fn crosses(&self) -> Option<CopyDirection> {
        /// No memory is mapped below (vm.mmap_min_addr), so a smaller number is not an address.
        const LOWEST: u64 = 1 << 16;
        // The upper half of the address space belongs to the kernel.
        let is_kernel = |address: u64| address >> 63 == 1;
        match (is_kernel(self.destination), is_kernel(self.source)) {
            (false, true) if self.destination >= LOWEST => Some(CopyDirection::OutOfKernel),
            (true, false) if self.source >= LOWEST => Some(CopyDirection::IntoKernel),
            _ => None,
        }
    }
}

/// A buffer with the samples of one thread.
pub trait SampleRing {
    /// Starts sampling.
    fn enable(&mut self) -> io::Result<()>;
    /// Stops sampling; the samples stay in the buffer.
    fn disable(&mut self) -> io::Result<()>;
    /// Removes all samples and passes each to `see`. Returns the number of samples lost because the buffer was full.
    fn take(&mut self, see: &mut dyn FnMut(StackSample)) -> u64;
}

/// A machine whose threads can be sampled.
pub trait SampleSource {
    /// Opens a disabled ring for a thread (0 means the calling one), with `hertz` samples per second of CPU time.
    fn open(&self, thread: i32, reach: CounterReach, hertz: u64) -> io::Result<Box<dyn SampleRing>>;
    /// `/proc/sys/kernel/perf_event_paranoid`; `None` if it cannot be read.
    fn paranoid(&self) -> Option<i32>;
    /// `/proc/sys/kernel/perf_event_max_sample_rate`; `None` if it cannot be read.
    fn most_hertz(&self) -> Option<u64>;
    /// The text of `/proc/kallsyms`.
    fn kallsyms(&self) -> io::Result<String>;
    /// `/proc/sys/kernel/kptr_restrict`; `None` if it cannot be read.
    fn kptr_restrict(&self) -> Option<i32>;
}
