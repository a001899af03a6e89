//! Takes the samples of a set of threads between two points in time.

use std::fmt;

use super::source::{SampleRing, SampleSource};
use super::stacks::Stacks;
use super::symbols::Symbols;
use super::threads::{ThreadRole, Threads};
use copycost::cost::{Measured, Missing};
use copycost::internals::cost::opener::CounterReach;

/// Samples per second of each thread, unless the kernel's limit is lower. A prime, so that samples do not align with
/// the kernel's tick. A sample with its call chain takes some microseconds (tens of them in a virtual machine).
pub const HERTZ: u64 = 3989;

/// The threads that can be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All threads that take part, including those of the kernel.
    All,
    /// Only the threads of this process, because this user may not sample others.
    Own,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "the threads that take part",
            Self::Own => "the threads of this process (ksoftirqd needs CAP_PERFMON or root)",
        })
    }
}

/// Samples threads from [`Self::begin`] to [`Self::end`].
pub struct Profiler<'a> {
    source: &'a dyn SampleSource,
    symbols: Symbols,
    hertz: u64,
    scope: Scope,
    rings: Vec<Box<dyn SampleRing>>,
}

impl<'a> Profiler<'a> {
    /// Opens `source` and reads its symbols.
    ///
    /// # Errors
    /// The reason why there are no kernel samples or no symbols, with the setting to change.
    pub fn open(source: &'a dyn SampleSource) -> Measured<Self> {
        let hertz = source.most_hertz().map_or(HERTZ, |most| HERTZ.min(most)).max(1);
        // If the calling thread can be sampled, all threads of this process can.
        open_thread(source, 0, hertz)?;
        // Symbols come after the rights, because rights must be fixed first.
        let symbols = Symbols::read(source)?;
        Ok(Self { source, symbols, hertz, scope: Scope::All, rings: Vec::new() })
    }

    /// The threads that can be sampled.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Samples per second of CPU time.
    pub fn hertz(&self) -> u64 {
        self.hertz
    }

    /// Starts to sample `threads`, which replace earlier ones.
    ///
    /// # Errors
    /// A thread cannot be sampled.
    pub fn begin(&mut self, threads: &Threads) -> Measured<()> {
        self.rings.clear();
        for (thread, role) in threads {
            match self.source.open(*thread, CounterReach::Kernel, self.hertz) {
                Ok(ring) => self.rings.push(ring),
                // The thread has ended, as workers of an io_uring often do.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(_) if *role == ThreadRole::Ksoftirqd => self.scope = Scope::Own,
                Err(_) => self.rings.push(open_thread(self.source, *thread, self.hertz)?),
            }
        }
        self.rings.iter_mut().try_for_each(|ring| ring.enable()).map_err(failed("starting to sample"))
    }

    /// Stops sampling and adds the samples of `threads` to `stacks`. Returns the number of lost samples.
    ///
    /// # Errors
    /// A ring cannot be disabled.
    pub fn end(&mut self, threads: &Threads, stacks: &mut Stacks) -> Measured<u64> {
        self.rings.iter_mut().try_for_each(|ring| ring.disable()).map_err(failed("ending to sample"))?;
        let symbols = &self.symbols;
        let mut lost = 0;
        for ring in &mut self.rings {
            lost += ring.take(&mut |sample| {
                if let Some(role) = threads.get(&sample.thread) {
                    stacks.add(*role, &sample, symbols);
                }
            });
        }
        Ok(lost)
    }
}

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> Missing {
    move |error| Missing::os(what, &error)
}

/// Opens a ring for a thread. The error distinguishes users who may not sample at all from those who may sample only
/// user space.
fn open_thread(source: &dyn SampleSource, thread: i32, hertz: u64) -> Measured<Box<dyn SampleRing>> {
    let open = |reach| source.open(thread, reach, hertz);
    open(CounterReach::Kernel).map_err(|error| {
        let paranoid = source.paranoid();
        match Missing::of_perf(&error, "cpu-clock", paranoid) {
            Missing::NotPermitted { .. } if open(CounterReach::UserOnly).is_ok() => {
                Missing::KernelOnly { event: "nearly all of a send", paranoid }
            }
            reason => reason,
        }
    })
}

impl fmt::Debug for Profiler<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiler")
            .field("scope", &self.scope)
            .field("hertz", &self.hertz)
            .finish_non_exhaustive()
    }
}
