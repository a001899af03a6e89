//! SIGPIPE for calls without MSG_NOSIGNAL: sendfile(2) and splice(2) raise it when the peer has closed the
//! connection (sk_stream_error, net/core/stream.c), and by default it ends the process.

use std::cell::Cell;
use std::ptr;

thread_local! {
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Blocks SIGPIPE in the calling thread for the rest of its life, because blocking it around each send would
/// cost two system calls for each message. A write to a broken pipe still returns EPIPE.
#[inline]
pub(super) fn block() {
    if !BLOCKED.get() {
        block_in_this_thread();
        BLOCKED.set(true);
    }
}

#[cold]
fn block_in_this_thread() {
    // SAFETY: a sigset_t is plain old data, which sigemptyset initialises before it is read; the old mask is
    // not requested.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut());
    }
}
