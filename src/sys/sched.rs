//! Where a thread runs and under which policy: `sched_setaffinity(2)`, `sched_setscheduler(2)`.

use std::io;

/// The CPUs that the calling thread may run on, ascending.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut set = empty_set();
    // SAFETY: `set` is a live cpu_set_t and its size is the length given; pid 0 is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    super::checked(result)?;
    // SAFETY: every index is below CPU_SETSIZE, the number of bits in a cpu_set_t.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// Lets the calling thread run on `cpus` only.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = empty_set();
    for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below CPU_SETSIZE (filtered above), the number of bits in a cpu_set_t.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: `set` is a live cpu_set_t and its size is the length given; pid 0 is the calling thread.
    super::checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map(drop)
}

/// Puts the calling thread under SCHED_BATCH, which needs no privilege.
pub fn batch() -> io::Result<()> {
    // The kernel's sched_param: the priority alone. musl's type has more fields, and musl's function only fails (ENOSYS).
    let priority: libc::c_int = 0;
    // SAFETY: `priority` lives through the call; SCHED_BATCH takes priority 0; pid 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const priority) };
    super::checked(result as libc::c_int).map(drop)
}

/// Has sleeps of the calling thread end when they should: the kernel otherwise lets each last 50 µs longer, to join it
/// with others (`prctl(PR_SET_TIMERSLACK)`).
pub fn sleep_exactly() -> io::Result<()> {
    const LEAST: libc::c_ulong = 1;
    // SAFETY: the call takes numbers.
    super::checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, LEAST) }).map(drop)
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of bits; all zeroes is the empty set.
    unsafe { std::mem::zeroed() }
}
