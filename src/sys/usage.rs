//! What the calling thread has used so far: `clock_gettime(2)`, `getrusage(2)`.

use std::time::Duration;

/// CPU time and context switches of one thread since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the thread's own clock. It holds softirq work done on top of the thread, save where the
    /// kernel has IRQ_TIME_ACCOUNTING.
    pub cpu: Duration,
    /// The part of the time that the kernel's tick found in user space (sampled, 1 to 10 ms).
    pub user: Duration,
    /// Likewise in the kernel.
    pub system: Duration,
    /// Voluntary and involuntary context switches.
    pub switches: u64,
}

impl Usage {
    /// What the calling thread has used.
    pub fn of_thread() -> Self {
        // SAFETY: both structs are plain old data, for which all zeroes is valid; the pointers are live and
        // the calls write only these structs.
        let (time, usage) = unsafe {
            let mut time: libc::timespec = std::mem::zeroed();
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
            (time, usage)
        };
        Self {
            cpu: Duration::new(time.tv_sec as u64, time.tv_nsec as u32),
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
            switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
        }
    }

    /// What was used since `earlier`, of the same thread.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }

    /// Adds what another thread used.
    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.user += other.user;
        self.system += other.system;
        self.switches += other.switches;
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}
