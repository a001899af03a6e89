//! CPU time of the calling thread and of the process, and how far each figure reaches.
//!
//! On loopback the sender's own system call runs the receiving half of TCP in softirq. A clock that leaves softirq
//! out makes every sender look cheap, and zero-copy cheapest, because its copy happens there. So a thread is
//! measured by the perf software event task-clock: it is the wall clock while the thread is on a CPU, whatever runs
//! on top of it.
//!
//! Measured on Linux 6.18 with `perf_event_paranoid=2`: an ordinary user is refused the event with the kernel in it
//! and granted it with `exclude_kernel`, and *both count the same*: over 50 ms in read(2) of /dev/zero 50.02 of
//! 50.02 ms, over 50 ms of a loopback UDP flood (27 % softirq) 50.23 of 50.23 ms. The filter applies to samples, not
//! to the count (kernel/events/core.c, task_clock_event_update). Hence no user-only scope here.
//!
//! Two differences from the thread clock: the event does not subtract the time a hypervisor stole, and it does not
//! see the switch itself: 100 short sleeps cost 1.1 ms by the event and 1.8 ms by the clock, 7 µs a switch.

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
    /// Everything that ran on the CPU while the thread was on it.
    TaskClock,
    /// The kernel's thread clock (a process: the sum of its threads'), on a kernel where it includes softirq.
    ThreadClock,
    /// The thread clock, on a kernel where it could not be found out.
    SoftirqUnknown,
    /// The thread clock, on a kernel that books softirq to nobody.
    SoftirqExcluded,
}

impl CpuScope {
    /// The scope of the thread and process clocks on this machine, found out once per process: the first call
    /// takes about 20 ms, so it is best made before the first run.
    pub fn of_clocks() -> CpuScope {
        match in_thread_clock() {
            SoftirqTime::Included => CpuScope::ThreadClock,
            SoftirqTime::Excluded => CpuScope::SoftirqExcluded,
            SoftirqTime::Unknown => CpuScope::SoftirqUnknown,
        }
    }

    /// Whether senders may be judged by it: only with softirq in it is a sender's cost whole.
    pub fn judges_senders(self) -> bool {
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

/// CPU time spent, by one thread or by several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CpuSpent {
    /// The time.
    pub time: Duration,
    /// What it covers; of a sum, the worst of its parts.
    pub scope: CpuScope,
}

impl CpuSpent {
    /// Both together.
    #[must_use]
    pub fn and(self, other: CpuSpent) -> CpuSpent {
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

/// The CPU time of the thread that opened it, and of the workers that the kernel gives its io_uring. It stays on that thread, whose clock is the fallback.
pub struct ThreadCpu {
    task_clock: Option<Box<dyn OpenCounter>>,
    fallback: Option<Missing>,
    own_thread: PhantomData<*mut ()>,
}

impl ThreadCpu {
    /// Opens the task-clock event of the calling thread; where that fails, the thread clock stands in for it.
    pub fn open() -> ThreadCpu {
        ThreadCpu::open_with(&Perf)
    }

    /// Like [`ThreadCpu::open`], from another source of events.
    pub fn open_with(opener: &dyn Opener) -> ThreadCpu {
        let opened = open(opener, Event::TaskClock).and_then(|(mut event, _)| {
            // A counter that cannot be read now could not be read later, when it is too late to fall back.
            match event.enable().and_then(|()| event.read()) {
                Ok(_) => Ok(event),
                Err(error) => Err(Missing::os("task-clock", &error)),
            }
        });
        let (task_clock, fallback) = match opened {
            Ok(event) => (Some(event), None),
            Err(reason) => {
                // The trial behind it takes 20 ms of CPU time, which belong here and not into the first run.
                CpuScope::of_clocks();
                (None, Some(reason))
            }
        };
        ThreadCpu { task_clock, fallback, own_thread: PhantomData }
    }

    /// Why the thread clock stands in for the task-clock event, if it does.
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

    /// CPU time of the thread so far. Only differences of two reads mean anything. A read is one system call.
    ///
    /// # Errors
    /// What read(2) or clock_gettime(2) says.
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

/// CPU time of the kernel's workers for the io_uring of the calling thread, which have its number in their name. Those
/// that have ended are not in it; the event has them.
fn worker_time() -> Duration {
    let mine = fs::read_link("/proc/thread-self").unwrap_or_default();
    let Some(mine) = mine.file_name().and_then(|number| number.to_str()) else { return Duration::ZERO };
    let name = format!("iou-wrk-{mine}");
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
/// # Errors
/// What clock_gettime(2) says.
pub fn process_now() -> io::Result<CpuSpent> {
    // First: the trial behind it, on the first call, is not the caller's CPU time.
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
        let sum = whole.and(less);
        assert_eq!(sum, less.and(whole));
        assert_eq!(sum.time, Duration::from_millis(7));
        assert_eq!(sum.scope.to_string(), "softirq excluded (IRQ_TIME_ACCOUNTING)");
        assert!(!sum.scope.judges_senders() && whole.scope.judges_senders());
    }
}
