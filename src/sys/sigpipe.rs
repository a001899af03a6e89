//! SIGPIPE, for the calls that know no MSG_NOSIGNAL: sendfile(2) and splice(2) raise it when the peer has gone
//! (sk_stream_error, net/core/stream.c), and by default it ends the process.

use std::cell::Cell;
use std::ptr;

thread_local! {
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Blocks SIGPIPE in the calling thread, from the first call on for as long as the thread lives: to block it around each
/// send would cost two system calls a message. What a write to a broken pipe returns stays EPIPE, and a signal that is
/// pending ends with the thread. A thread that nobody's SIGPIPE handler waits for loses nothing by it.
#[inline]
pub(super) fn block() {
    if !BLOCKED.get() {
        block_in_this_thread();
        BLOCKED.set(true);
    }
}

#[cold]
fn block_in_this_thread() {
    // SAFETY: a sigset_t is plain old data, which sigemptyset initialises before it is read; the old mask is not asked for.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut());
    }
}
