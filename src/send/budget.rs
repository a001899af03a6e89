//! How much data one zero-copy sender may have in flight, so that the kernel never refuses a send.
//!
//! Three limits refuse a MSG_ZEROCOPY send with ENOBUFS or bound it: the socket's option memory, which holds
//! the notifications (sock_omalloc, net/core/sock.c); the user's locked memory, which pinned pages are charged
//! to unless CAP_IPC_LOCK lifts it (mm_account_pinned_pages, net/core/skbuff.c); and the send buffer.

use std::fs;

use crate::sys::limits;

/// The kernel charges in pages of this size, whatever the architecture's page size is (PAGE_SHIFT 12 on
/// x86-64).
const PAGE_SHIFT: u32 = 12;

/// What one notification takes of the option memory: 832 bytes on Linux 6.18, x86-64 (docs/tuning.md, "Option
/// memory"). 1,024 leaves room for other configurations.
const NOTIFICATION_BYTES: u64 = 1024;

/// net.core.optmem_max before Linux 6.8, the smallest default. Used if the sysctl cannot be read.
const OPTMEM_OLDEST: u64 = 20 << 10;

/// The limits of this process that bound zero-copy sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroCopyLimits {
    /// net.core.optmem_max: bytes of option memory for each socket.
    pub optmem_max: u64,
    /// Pages that the user may lock with all sockets; `None` is no limit (CAP_IPC_LOCK, or RLIMIT_MEMLOCK
    /// unlimited).
    pub locked_pages: Option<u64>,
}

impl ZeroCopyLimits {
    /// The limits of the calling process.
    pub fn of_process() -> Self {
        let optmem_max = fs::read_to_string("/proc/sys/net/core/optmem_max")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(OPTMEM_OLDEST);
        let limit = limits::locked_memory().map_or(0, |limit| limit.soft);
        let unlimited = limit == u64::MAX || limits::can_lock_memory();
        Self { optmem_max, locked_pages: (!unlimited).then_some(limit >> PAGE_SHIFT) }
    }
}

/// What one sender may have in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes handed over and not yet known to be released.
    pub bytes: usize,
    /// Calls handed over and not yet known to be released.
    pub notifications: usize,
    /// Pages charged to the user; `None` is no limit.
    pub pages: Option<u64>,
}

impl Budget {
    /// An equal share of `limits` for each of `senders` sockets whose send buffer is `send_buffer` bytes as
    /// SO_SNDBUF reads back.
    ///
    /// The bytes are twice the send buffer. The kernel itself holds at most one, so this limit is reached
    /// only if completions are read late.
    pub fn share(limits: &ZeroCopyLimits, senders: usize, send_buffer: usize) -> Self {
        Self {
            bytes: 2 * send_buffer.max(4096),
            notifications: usize::try_from(limits.optmem_max / NOTIFICATION_BYTES)
                .unwrap_or(usize::MAX)
                .max(1),
            pages: limits.locked_pages.map(|pages| pages / senders.max(1) as u64),
        }
    }

    /// No limit except the kernel's refusal, to test what happens then.
    pub fn unbounded() -> Self {
        Self { bytes: usize::MAX, notifications: usize::MAX, pages: None }
    }

    /// The most bytes that one call should send. A call that takes more than half of the page budget would
    /// leave the connection idle until it is released. `None`: not even the smallest call fits, so copy.
    pub fn longest_call(&self) -> Option<usize> {
        match self.pages {
            None => Some(usize::MAX),
            Some(0 | 1) => None,
            Some(pages @ 2..=5) => Some((((pages - 1) << PAGE_SHIFT) - 1) as usize),
            Some(pages) => Some((((pages / 2 - 1) << PAGE_SHIFT) - 1) as usize),
        }
    }
}

/// The pages that the kernel charges for a call that asks for `bytes` (mm_account_pinned_pages).
pub(super) fn pages_charged(bytes: usize) -> u64 {
    (bytes as u64 >> PAGE_SHIFT) + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_call_fits_the_pages() {
        for pages in 2..200 {
            let budget = Budget { pages: Some(pages), ..Budget::unbounded() };
            let longest = budget.longest_call().unwrap();
            assert!(pages_charged(longest) <= pages, "{longest} bytes in {pages} pages");
            assert!(longest >= 4095);
        }
        assert_eq!(Budget { pages: Some(1), ..Budget::unbounded() }.longest_call(), None);
        assert_eq!(Budget::unbounded().longest_call(), Some(usize::MAX));
    }

    #[test]
    fn the_lock_is_divided_among_the_senders_and_the_option_memory_is_not() {
        let limits = ZeroCopyLimits { optmem_max: 131_072, locked_pages: Some(2048) };
        let budget = Budget::share(&limits, 8, 1 << 19);
        assert_eq!(budget, Budget { bytes: 1 << 20, notifications: 128, pages: Some(256) });
    }
}
