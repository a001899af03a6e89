//! From enabling to disabling: samples of the threads that count.

use std::fmt;

use super::source::{Ring, Sample, Source, Target};
use super::stacks::Stacks;
use super::symbols::Symbols;
use super::threads::{Role, Threads};
use crate::cost::opener::Reach;
use crate::cost::{Measured, Missing};

/// Samples a second of each thread, if the kernel allows as many: a prime, so that they never keep step with the
/// kernel's tick. A sample with its call chain takes some microseconds (in a virtual machine some tens).
pub const HERTZ: u64 = 3989;

/// How the samples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that runs on the CPUs of this process, kernel threads too.
    Cpus,
    /// The threads of this process only: this user may not look at others.
    Threads,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpus => "all that ran on the CPUs of this process",
            Self::Threads => "the threads of this process (ksoftirqd needs CAP_PERFMON or root)",
        })
    }
}

/// Takes samples.
pub struct Profiler<'a> {
    source: &'a dyn Source,
    symbols: Symbols,
    hertz: u64,
    scope: Scope,
    /// Of CPUs they stay open, of threads they come with the threads.
    rings: Vec<Box<dyn Ring>>,
}

impl<'a> Profiler<'a> {
    /// Opens `source` for threads that run on `cpus`.
    ///
    /// # Errors
    /// Why there are no kernel samples or no symbols here, with what to set.
    pub fn open(source: &'a dyn Source, cpus: &[usize]) -> Measured<Self> {
        let hertz = source.most_hertz().map_or(HERTZ, |most| HERTZ.min(most)).max(1);
        let on = |cpu: &usize| source.open(Target::Cpu(*cpu), Reach::Kernel, hertz);
        let whole: Result<Vec<_>, _> = cpus.iter().map(on).collect();
        let (scope, rings) = match whole {
            Ok(rings) => (Scope::Cpus, rings),
            // Whether threads of this process may be sampled shows on the calling one.
            Err(_) => {
                open_thread(source, 0, hertz)?;
                (Scope::Threads, Vec::new())
            }
        };
        // After the rights, which are the first thing to mend.
        let symbols = Symbols::read(source)?;
        Ok(Self { source, symbols, hertz, scope, rings })
    }

    /// How the samples are taken.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Samples for each second of CPU time.
    pub fn hertz(&self) -> u64 {
        self.hertz
    }

    /// Makes ready to sample `threads`, which may be other than before.
    ///
    /// # Errors
    /// Why one of them cannot be sampled.
    pub fn watch(&mut self, threads: &Threads) -> Measured<()> {
        if self.scope == Scope::Threads {
            self.rings.clear();
            // Who may look at threads may look at those of this process, and the kernel's are not.
            let own = threads.iter().filter(|(_, role)| **role != Role::Ksoftirqd);
            for (thread, _) in own {
                match self.source.open(Target::Thread(*thread), Reach::Kernel, self.hertz) {
                    Ok(ring) => self.rings.push(ring),
                    // The kernel's workers for an io_uring come and go.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(_) => self.rings.push(open_thread(self.source, *thread, self.hertz)?),
                }
            }
        }
        Ok(())
    }

    /// Begins.
    ///
    /// # Errors
    /// As the system says.
    pub fn begin(&mut self) -> Measured<()> {
        // What an earlier sampling left belongs to nobody.
        for ring in &mut self.rings {
            ring.take(&mut drop);
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
            lost += ring.take(&mut |mut sample| {
                if let Some(thread) = leaving(&sample, symbols) {
                    // The callers are those of the thread that comes.
                    sample.thread = thread;
                    sample.chain.truncate(1);
                }
                if let Some(role) = threads.get(&sample.thread) {
                    stacks.add(*role, &sample, symbols);
                }
            });
        }
        Ok(lost)
    }
}

/// Where interrupts go on again after a switch (kernel/sched/core.c).
const SWITCHED: &str = "finish_task_switch";

/// Whose time the end of a switch is: interrupts are off from where the thread that leaves calls the scheduler, which looks
/// for another to run, up to here, where the other is already the current one. A sender that waits for room and leaves its
/// CPU idle would seem to spend up to a quarter less than by its clock.
fn leaving(sample: &Sample, symbols: &Symbols) -> Option<i32> {
    let before = sample.before.filter(|_| !sample.user)?;
    (symbols.name(*sample.chain.first()?) == Some(SWITCHED)).then_some(before)
}

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> Missing {
    move |error| Missing::os(what, &error)
}

/// A ring of a thread; the reason tells a user who may sample nothing from one who may not look into the kernel.
fn open_thread(source: &dyn Source, thread: i32, hertz: u64) -> Measured<Box<dyn Ring>> {
    let open = |reach| source.open(Target::Thread(thread), reach, hertz);
    open(Reach::Kernel).map_err(|error| {
        let paranoid = source.paranoid();
        match Missing::of_perf(&error, "cpu-clock", paranoid) {
            Missing::NotPermitted { .. } if open(Reach::UserOnly).is_ok() => {
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
