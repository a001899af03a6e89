//! CPU time of the calling thread and of the process, with what each figure covers.
//!
//! On loopback the sender's own system call runs the receiving half of TCP in softirq. With a clock that
//! excludes softirq every sender looks cheap, and zero copy looks cheapest, because its copy happens there.
//! So threads are measured by the perf software event task-clock: the wall clock while the thread is on a
//! CPU, whatever interrupts it.
//!
//! An ordinary user may open the event only with `exclude_kernel` (`perf_event_paranoid=2`), but both forms
//! count the same: the filter applies to samples, not to the count (kernel/events/core.c,
//! task_clock_event_update; measurements in docs/tuning.md, "CPU time"). So there is no user-only scope here.
//!
//! The event differs from the thread clock in two ways: it includes the time that a hypervisor stole, and it
//! excludes the context switch itself, about 7 µs.

use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use super::missing::{Measured, Missing};
use super::opener::{Event, OpenCounter, Opener, Perf};
use super::slot::open;
use super::softirq::{SoftirqTime, in_thread_clock};
use crate::sys::clock::{process_cpu_time, thread_cpu_time};

/// What a figure of CPU time covers; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum CpuScope {
    /// Everything that ran on the CPU while the thread was on it, softirq included.
    TaskClock,
    /// The kernel's thread clock (for a process, the sum of its threads), on a kernel whose clock includes
    /// softirq.
    ThreadClock,
    /// The thread clock, if it is not known whether it includes softirq.
    SoftirqUnknown,
    /// The thread clock, on a kernel that charges softirq to no thread.
    SoftirqExcluded,
}

impl CpuScope {
    /// The scope of the thread and process clocks on this machine. The first call in a process takes about 20
    /// ms, so make it before the first run.
    pub fn of_clocks() -> CpuScope {
        match in_thread_clock() {
            SoftirqTime::Included => CpuScope::ThreadClock,
            SoftirqTime::Excluded => CpuScope::SoftirqExcluded,
            SoftirqTime::Unknown => CpuScope::SoftirqUnknown,
        }
    }

    /// Whether it covers the whole cost of a sender: only if softirq is included.
    pub fn covers_senders(self) -> bool {
        self <= CpuScope::ThreadClock
    }
}

impl fmt::Display for CpuScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CpuScope::TaskClock => "user+kernel+softirq (task-clock)",
            CpuScope::ThreadClock => "thread clock, softirq included",
            CpuScope::SoftirqUnknown => "thread clock, softirq unknown (calibration undecided)",
            CpuScope::SoftirqExcluded => "softirq excluded (IRQ_TIME_ACCOUNTING)",
        })
    }
}

/// CPU time of one thread or the sum of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CpuSpent {
    /// The time.
    pub time: Duration,
    /// What it covers; in a sum, the worst of the parts.
    pub scope: CpuScope,
}

impl CpuSpent {
    /// The sum of both.
    #[must_use]
    pub fn merge_parallel(self, other: CpuSpent) -> CpuSpent {
        CpuSpent { time: self.time + other.time, scope: self.scope.max(other.scope) }
    }

    /// Service demand in ns/KiB.
    ///
    /// # Errors
    /// [`Missing::NothingMoved`] when `bytes` is 0.
    pub fn ns_per_kib(&self, bytes: u64) -> Measured<f64> {
        super::ns_per_kib(self.time, bytes)
    }
}

/// The CPU time of the thread that opened it, and of the kernel's workers for its io_uring. It stays on this
/// thread, because the fallback is the thread's clock.
pub struct ThreadCpu {
    task_clock: Option<Box<dyn OpenCounter>>,
    fallback: Option<Missing>,
    not_send: PhantomData<*mut ()>,
}

impl ThreadCpu {
    /// Opens the task-clock event of the calling thread. If that fails, it uses the thread clock.
    pub fn open() -> ThreadCpu {
        ThreadCpu::open_with(&Perf)
    }

    /// Like [`ThreadCpu::open`], from another source of events.
    pub fn open_with(opener: &dyn Opener) -> ThreadCpu {
        let opened = open(opener, Event::TaskClock).and_then(|(mut event, _)| {
            // Read it now, because in a run it would be too late to fall back.
            match event.enable().and_then(|()| event.read()) {
                Ok(_) => Ok(event),
                Err(error) => Err(Missing::os("task-clock", &error)),
            }
        });
        let (task_clock, fallback) = match opened {
            Ok(event) => (Some(event), None),
            Err(reason) => {
                // The first call uses 20 ms of CPU time, which must not be in the first run.
                CpuScope::of_clocks();
                (None, Some(reason))
            }
        };
        ThreadCpu { task_clock, fallback, not_send: PhantomData }
    }

    /// Why it uses the thread clock and not the task-clock event, if it does.
    pub fn fallback(&self) -> Option<&Missing> {
        self.fallback.as_ref()
    }

    /// What the figures cover.
    pub fn scope(&self) -> CpuScope {
        match self.task_clock {
            Some(_) => CpuScope::TaskClock,
            None => CpuScope::of_clocks(),
        }
    }

    /// CPU time of the thread so far, by one system call. Only differences of two reads mean anything.
    ///
    /// The error of read(2) or clock_gettime(2).
    pub fn now(&mut self) -> io::Result<Duration> {
        match &mut self.task_clock {
            Some(event) => Ok(Duration::from_nanos(event.read()?.count)),
            None => Ok(thread_cpu_time()? + worker_time()),
        }
    }

    /// CPU time of the thread since `earlier`, a value of [`ThreadCpu::now`].
    ///
    /// # Errors
    /// As [`ThreadCpu::now`].
    pub fn since(&mut self, earlier: Duration) -> io::Result<CpuSpent> {
        Ok(CpuSpent { time: self.now()?.saturating_sub(earlier), scope: self.scope() })
    }
}

impl fmt::Debug for ThreadCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadCpu")
            .field("scope", &self.scope())
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

/// CPU time of the kernel's workers for the io_uring of the calling thread, which have its number in their
/// name. Workers that have ended are missing; the task-clock event includes them.
fn worker_time() -> Duration {
    let own_id = fs::read_link("/proc/thread-self").unwrap_or_default();
    let Some(own_id) = own_id.file_name().and_then(|number| number.to_str()) else { return Duration::ZERO };
    let name = format!("iou-wrk-{own_id}");
    let time = |task: fs::DirEntry| {
        let read = |file| fs::read_to_string(task.path().join(file)).ok();
        if read("comm")?.trim() != name {
            return None;
        }
        read("schedstat")?.split(' ').next()?.parse::<u64>().ok()
    };
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    Duration::from_nanos(tasks.filter_map(time).sum())
}

/// CPU time of the whole process so far, ended threads included. Only differences mean anything.
///
/// The error of clock_gettime(2).
pub fn process_now() -> io::Result<CpuSpent> {
    // First, because the first call uses CPU time of its own.
    let scope = CpuScope::of_clocks();
    Ok(CpuSpent { time: process_cpu_time()?, scope })
}

/// CPU time of the process since `earlier`, a value of [`process_now`].
///
/// # Errors
/// As [`process_now`].
pub fn process_since(earlier: CpuSpent) -> io::Result<CpuSpent> {
    let now = process_now()?;
    Ok(CpuSpent { time: now.time.saturating_sub(earlier.time), ..now })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_keeps_the_worst_scope() {
        let whole = CpuSpent { time: Duration::from_millis(3), scope: CpuScope::TaskClock };
        let less = CpuSpent { time: Duration::from_millis(4), scope: CpuScope::SoftirqExcluded };
        let sum = whole.merge_parallel(less);
        assert_eq!(sum, less.merge_parallel(whole));
        assert_eq!(sum.time, Duration::from_millis(7));
        assert_eq!(sum.scope.to_string(), "softirq excluded (IRQ_TIME_ACCOUNTING)");
        assert!(!sum.scope.covers_senders() && whole.scope.covers_senders());
    }
}
