//! A clock that costs a few nanoseconds.

/// Milliseconds since some moment, to a few of them (CLOCK_MONOTONIC_COARSE).
#[inline]
pub(crate) fn milliseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is live, and the kernel or its vDSO writes it. It cannot fail with this clock, and then the time is 0.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
