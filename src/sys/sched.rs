//! The CPUs and the scheduling policy of a thread: `sched_setaffinity(2)`, `sched_setscheduler(2)`.

use std::io;

/// The CPUs that the calling thread may run on, ascending. CPUs that are offline are not included, although
/// the mask in /proc/self/status has them (sched_getaffinity, kernel/sched/syscalls.c).
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut mask = vec![0u64; FEWEST_WORDS];
    loop {
        let bytes = size_of_val(&mask[..]);
        // SAFETY: the call writes at most `bytes` bytes to `mask`, which has as many; pid 0 is the calling thread.
        let result = unsafe { libc::sched_getaffinity(0, bytes, mask.as_mut_ptr().cast()) };
        match super::checked(result) {
            Ok(_) => {
                return Ok((0..mask.len() * WORD)
                    .filter(|cpu| mask[cpu / WORD] >> (cpu % WORD) & 1 == 1)
                    .collect());
            }
            // The kernel has more CPUs than the mask.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && mask.len() < MOST_WORDS => {
                mask.resize(2 * mask.len(), 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Restricts the calling thread to `cpus`.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let words = cpus.iter().max().map_or(0, |most| most / WORD + 1).clamp(FEWEST_WORDS, MOST_WORDS);
    // No allocation, because a child calls this between fork and exec.
    let mut mask = [0u64; MOST_WORDS];
    let mask = &mut mask[..words];
    for cpu in cpus.iter().filter(|cpu| **cpu < words * WORD) {
        mask[cpu / WORD] |= 1 << (cpu % WORD);
    }
    // SAFETY: the call reads the bytes of `mask`, whose number is given; pid 0 is the calling thread.
    super::checked(unsafe { libc::sched_setaffinity(0, size_of_val(&mask[..]), mask.as_ptr().cast()) })
        .map(drop)
}

/// CPUs in a word of a mask, which is an array of longs (64 bits on all targets).
const WORD: usize = u64::BITS as usize;

/// A cpu_set_t has 1024 CPUs.
const FEWEST_WORDS: usize = 1024 / WORD;

/// No kernel is built for more than 65,536 CPUs.
const MOST_WORDS: usize = 65_536 / WORD;

/// Puts the calling thread under SCHED_BATCH, which needs no privilege.
pub fn batch() -> io::Result<()> {
    // The kernel's sched_param: the priority alone. musl's type has more fields, and musl's function only fails (ENOSYS).
    let priority: libc::c_int = 0;
    // SAFETY: `priority` lives through the call; SCHED_BATCH takes priority 0; pid 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const priority) };
    super::checked(result as libc::c_int).map(drop)
}

/// Makes sleeps of the calling thread end on time. Otherwise the kernel extends each by 50 µs, to join it
/// with others (`prctl(PR_SET_TIMERSLACK)`).
pub fn sleep_exactly() -> io::Result<()> {
    const LEAST: libc::c_ulong = 1;
    // SAFETY: the call takes numbers.
    super::checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, LEAST) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_cpu() {
        let all = allowed_cpus().unwrap();
        let one = all[all.len() - 1];
        let there = move || pin(&[one, usize::MAX]).and_then(|()| allowed_cpus());
        let there = std::thread::Builder::new().spawn(there).unwrap();
        assert_eq!(there.join().unwrap().unwrap(), [one]);
        assert_eq!(allowed_cpus().unwrap(), all);
        assert!(pin(&[]).is_err());
    }
}
