//! `clock_gettime(2)` for the CPU clocks, and the unit of `/proc/stat`.
//!
//! The standard library has no CPU clocks. They are the fallback if perf is refused.

use std::io;
use std::time::Duration;

/// CPU time of the calling thread since it started (`CLOCK_THREAD_CPUTIME_ID`), resolution 1 ns.
pub fn thread_cpu_time() -> io::Result<Duration> {
    clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of the process, including ended ones (`CLOCK_PROCESS_CPUTIME_ID`).
pub(crate) fn process_cpu_time() -> io::Result<Duration> {
    clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The length of one tick of `/proc/stat` (`USER_HZ`, 10 ms nearly everywhere).
pub(crate) fn stat_tick() -> io::Result<Duration> {
    // SAFETY: sysconf takes a number and touches no memory of the process.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    match u64::try_from(per_second) {
        Ok(n) if n > 0 => Ok(Duration::from_nanos(1_000_000_000 / n)),
        _ => Err(io::Error::other("sysconf(_SC_CLK_TCK) failed")),
    }
}

fn clock_gettime(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call, and the kernel writes nothing else.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Both fields of a CPU clock are never negative, so the casts keep the value.
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_clock_covers_the_thread_clock() {
        let thread = thread_cpu_time().unwrap();
        let process = process_cpu_time().unwrap();
        assert!(process >= thread, "{process:?} < {thread:?}");
    }

    #[test]
    fn a_tick_is_a_part_of_a_second() {
        let tick = stat_tick().unwrap();
        assert!(tick > Duration::ZERO && tick <= Duration::from_secs(1));
    }
}
