//! Signals as messages on a pipe: `sigaction(2)` with a handler that only writes the signal and its time.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The pipe of the handler; -1 before [`catch`].
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// A signal's number, then its time on the monotonic clock in ns.
const ARRIVAL_BYTES: usize = 12;

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtSignal {
    /// Its number.
    pub signal: i32,
    /// When it arrived, on the monotonic clock.
    pub at: Duration,
}

/// The caught signals, in order of arrival.
#[derive(Debug)]
pub struct Signals(File);

/// From now on each of `signals` is sent to the returned value and has no other effect. A signal that is
/// ignored stays ignored, because whoever started this process wants that (nohup(1) ignores SIGHUP, a shell
/// the SIGINT of a background job). A second call in a process fails.
pub fn catch(signals: &[i32]) -> io::Result<Signals> {
    let (read, write) = pipe()?;
    PIPE.compare_exchange(-1, write.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst)
        .map_err(|_| io::Error::other("signals are caught already"))?;
    // It stays open, because a handler may use it at any time.
    let _ = write.into_raw_fd();
    for signal in signals {
        if !is_ignored(*signal)? {
            handle(*signal)?;
        }
    }
    Ok(Signals(File::from(read)))
}

impl Signals {
    /// Waits for the next signal.
    pub fn wait(&mut self) -> io::Result<CaughtSignal> {
        let mut bytes = [0; ARRIVAL_BYTES];
        self.0.read_exact(&mut bytes)?;
        let [a, b, c, d, ns @ ..] = bytes;
        let at = Duration::from_nanos(u64::from_ne_bytes(ns));
        Ok(CaughtSignal { signal: i32::from_ne_bytes([a, b, c, d]), at })
    }
}

/// Both ends of a pipe. Writing never blocks: signals that do not fit are dropped, but by then thousands are
/// unread.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two descriptors that the call writes.
    super::checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the call has just made both descriptors, and nobody else owns them.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the descriptor is open, and the command takes a number.
    super::checked(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((read, write))
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    // SAFETY: a sigaction is plain old data; the call fills it in, and null as the new action changes nothing.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        super::checked(libc::sigaction(signal, std::ptr::null(), &raw mut now))?;
        Ok(now.sa_sigaction == libc::SIG_IGN)
    }
}

fn handle(signal: i32) -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int) = arrived;
    // SAFETY: a sigaction is plain old data, and without SA_SIGINFO its handler takes one number, as
    // `arrived` does, which makes async-signal-safe calls only. With SA_RESTART, interrupted calls continue.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        super::checked(libc::sigaction(signal, &raw const action, std::ptr::null_mut()))?;
    }
    Ok(())
}

/// The handler. The kernel writes so few bytes completely or not at all (pipe(7), PIPE_BUF).
extern "C" fn arrived(signal: libc::c_int) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) and write(2) are async-signal-safe. `now` and `bytes` live through the calls
    // and have the given lengths. errno belongs to the calling thread and is restored, because the handler
    // may run between a call and the reading of its errno.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now);
        let ns = (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64);
        let mut bytes = [0u8; ARRIVAL_BYTES];
        bytes[..4].copy_from_slice(&signal.to_ne_bytes());
        bytes[4..].copy_from_slice(&ns.to_ne_bytes());
        libc::write(PIPE.load(Ordering::SeqCst), bytes.as_ptr().cast(), ARRIVAL_BYTES);
        *errno = before;
    }
}
