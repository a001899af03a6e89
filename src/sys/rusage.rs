//! `getrusage(2)` of the calling thread: context switches and page faults without any privilege.
//!
//! These counts are exact. Only the split of time into user and system is sampled, on kernels with tick
//! accounting.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The result of `getrusage(RUSAGE_THREAD)`, since the thread started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Time in user mode; sampled at the tick (1 to 10 ms) on most kernels.
    pub user: Duration,
    /// Time in kernel mode; sampled likewise.
    pub system: Duration,
    /// Page faults without input or output.
    pub minor_faults: u64,
    /// Page faults that read from a device.
    pub major_faults: u64,
    /// How often the thread gave up the CPU to wait.
    pub voluntary_switches: u64,
    /// How often the thread was preempted.
    pub involuntary_switches: u64,
}

impl Usage {
    /// Both kinds of context switch together.
    pub fn switches(&self) -> u64 {
        self.voluntary_switches + self.involuntary_switches
    }

    /// Both kinds of page fault together.
    pub fn faults(&self) -> u64 {
        self.minor_faults + self.major_faults
    }

    /// The difference to `earlier`, of the same thread.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
        }
    }

    /// Adds the usage of another thread, or of the same one at another time.
    pub fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}

fn duration(time: libc::timeval) -> Duration {
    // CPU times are never negative, so the casts keep the value.
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}

/// The usage of the calling thread so far.
pub fn thread_usage() -> io::Result<Usage> {
    let mut raw = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `raw` is writable memory of the size of a rusage, and the call writes no more than that.
    if unsafe { libc::getrusage(libc::RUSAGE_THREAD, raw.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all fields are integers, for which the zeroes written before the call are valid too.
    let raw = unsafe { raw.assume_init() };
    // The kernel's counts are never negative, so the casts keep the value.
    Ok(Usage {
        user: duration(raw.ru_utime),
        system: duration(raw.ru_stime),
        minor_faults: raw.ru_minflt as u64,
        major_faults: raw.ru_majflt as u64,
        voluntary_switches: raw.ru_nvcsw as u64,
        involuntary_switches: raw.ru_nivcsw as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::thread_cpu_time;

    #[test]
    fn a_sleep_is_a_voluntary_switch() {
        let before = thread_usage().unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let after = thread_usage().unwrap();
        assert!(after.voluntary_switches > before.voluntary_switches);
        assert!(after.switches() > before.switches());
    }

    #[test]
    fn touching_fresh_memory_faults() {
        let before = thread_usage().unwrap();
        // Fresh pages come from mmap above malloc's threshold; one byte in each page is touched.
        let mut fresh = vec![0u8; 16 << 20];
        for byte in fresh.iter_mut().step_by(4096) {
            *std::hint::black_box(byte) = 1;
        }
        let after = thread_usage().unwrap();
        assert!(after.faults() > before.faults(), "{before:?} {after:?}");
    }

    #[test]
    fn usage_agrees_with_the_thread_clock() {
        const BURNT: Duration = Duration::from_millis(20);
        let (clock, before) = (thread_cpu_time().unwrap(), thread_usage().unwrap());
        while thread_cpu_time().unwrap() - clock < BURNT {
            (0..10_000u64).for_each(|n| _ = std::hint::black_box(n));
        }
        let used = thread_usage().unwrap().since(&before);
        let spent = thread_cpu_time().unwrap() - clock;
        // The split is sampled; the sum is the scheduler's own, read slightly before or after.
        let sum = used.user + used.system;
        assert!(sum > spent / 2 && sum < spent * 2, "{used:?}, {spent:?} by the clock");
    }
}
