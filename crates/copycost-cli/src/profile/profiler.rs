//! From enabling to disabling: samples of the threads that count.

use std::fmt;

use super::source::{SampleRing, SampleSource};
use super::stacks::Stacks;
use super::symbols::Symbols;
use super::threads::{ThreadRole, Threads};
use copycost::cost::opener::CounterReach;
use copycost::cost::{Measured, Missing};

/// Samples a second of each thread, if the kernel allows as many: a prime, so that they never keep step with the
/// kernel's tick. A sample with its call chain takes some microseconds (in a virtual machine some tens).
pub const HERTZ: u64 = 3989;

/// Whose samples there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The threads that take part, the kernel's too.
    All,
    /// The threads of this process only: this user may not look at others.
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

/// Takes samples.
pub struct Profiler<'a> {
    source: &'a dyn SampleSource,
    symbols: Symbols,
    hertz: u64,
    scope: Scope,
    rings: Vec<Box<dyn SampleRing>>,
}

impl<'a> Profiler<'a> {
    /// Opens `source`.
    ///
    /// # Errors
    /// Why there are no kernel samples or no symbols here, with what to set.
    pub fn open(source: &'a dyn SampleSource) -> Measured<Self> {
        let hertz = source.most_hertz().map_or(HERTZ, |most| HERTZ.min(most)).max(1);
        // Whether threads of this process may be sampled shows on the calling one.
        open_thread(source, 0, hertz)?;
        // After the rights, which are the first thing to mend.
        let symbols = Symbols::read(source)?;
        Ok(Self { source, symbols, hertz, scope: Scope::All, rings: Vec::new() })
    }

    /// Whose samples there are.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Samples for each second of CPU time.
    pub fn hertz(&self) -> u64 {
        self.hertz
    }

    /// Begins to sample `threads`, which may be other than before.
    ///
    /// # Errors
    /// Why one of them cannot be sampled, or as the system says.
    pub fn begin(&mut self, threads: &Threads) -> Measured<()> {
        self.rings.clear();
        for (thread, role) in threads {
            match self.source.open(*thread, CounterReach::Kernel, self.hertz) {
                Ok(ring) => self.rings.push(ring),
                // The kernel's workers for an io_uring come and go.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(_) if *role == ThreadRole::Ksoftirqd => self.scope = Scope::Own,
                Err(_) => self.rings.push(open_thread(self.source, *thread, self.hertz)?),
            }
        }
        self.rings.iter_mut().try_for_each(|ring| ring.enable()).map_err(failed("starting to sample"))
    }

    /// Ends, adds the samples of `threads` to `stacks`, and says how many were lost.
    ///
    /// # Errors
    /// As the system says.
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

/// A ring of a thread; the reason tells a user who may sample nothing from one who may not look into the kernel.
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
