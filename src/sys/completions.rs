//! MSG_ZEROCOPY notifications: read one, and know which sends it releases. Pure, without system calls, so that
//! merges, reorderings and the wrap of the ids can be tested to exhaustion.
//!
//! The kernel's rules (Documentation/networking/msg_zerocopy.rst; net/core/skbuff.c): every call that returned
//! more than 0 consumes one id of a 32-bit counter that wraps; a notification tells an inclusive range of ids;
//! ranges may be merged and may come in any order.

use std::collections::VecDeque;

/// One notification: ids `low` to `high` inclusive, modulo 2^32, are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The first id.
    pub low: u32,
    /// The last id; below `low` when the counter wrapped in between.
    pub high: u32,
    /// The kernel copied at least one of them.
    pub copied: bool,
}

/// Control data that is not what the kernel documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Garbled {
    /// The control buffer was too short for what the kernel had to say.
    #[error("the control data of a notification was truncated")]
    Truncated,
    /// No extended error among the control messages.
    #[error("the error queue held a message without an extended error")]
    NoError,
    /// An extended error of another kind: of ICMP, of a timestamp, or an errno.
    #[error(
        "the error queue held an error of origin {origin} with errno {errno}, not a zero-copy completion"
    )]
    Foreign {
        /// ee_origin
        origin: u8,
        /// ee_errno
        errno: u32,
    },
    /// A range that holds an id which is not outstanding.
    #[error("a completion covers sends {low} to {high}, but {strays} of them are not outstanding")]
    Stray {
        /// The first id told.
        low: u32,
        /// The last id told.
        high: u32,
        /// How many of the ids were never sent or already completed.
        strays: u64,
    },
}

/// struct cmsghdr: length, level, type.
const HEADER: usize = size_of::<libc::cmsghdr>();
/// struct sock_extended_err: errno u32; origin, type, code, pad u8; info, data u32.
const EXTENDED_ERROR: usize = 16;
/// SO_EE_ORIGIN_ZEROCOPY and SO_EE_CODE_ZEROCOPY_COPIED, include/uapi/linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;
const CODE_COPIED: u8 = 1;

impl Completion {
    /// Reads the control bytes of one `recvmsg(MSG_ERRQUEUE)`; `truncated` is its MSG_CTRUNC.
    pub fn parse(control: &[u8], truncated: bool) -> Result<Self, Garbled> {
        if truncated {
            return Err(Garbled::Truncated);
        }
        let mut rest = control;
        while rest.len() >= HEADER {
            let length = usize::from_ne_bytes(array(rest, 0));
            if length < HEADER || length > rest.len() {
                return Err(Garbled::Truncated);
            }
            let level = i32::from_ne_bytes(array(rest, size_of::<usize>()));
            let kind = i32::from_ne_bytes(array(rest, size_of::<usize>() + 4));
            let is_error = matches!(
                (level, kind),
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
            );
            if is_error {
                return Self::from_extended_error(&rest[HEADER..length]);
            }
            rest = &rest[length.next_multiple_of(size_of::<usize>()).min(rest.len())..];
        }
        Err(Garbled::NoError)
    }

    fn from_extended_error(bytes: &[u8]) -> Result<Self, Garbled> {
        if bytes.len() < EXTENDED_ERROR {
            return Err(Garbled::Truncated);
        }
        let (errno, origin, code) = (u32::from_ne_bytes(array(bytes, 0)), bytes[4], bytes[6]);
        if origin != ORIGIN_ZEROCOPY || errno != 0 {
            return Err(Garbled::Foreign { origin, errno });
        }
        Ok(Self {
            low: u32::from_ne_bytes(array(bytes, 8)),
            high: u32::from_ne_bytes(array(bytes, 12)),
            copied: code & CODE_COPIED != 0,
        })
    }

    /// How many ids the range holds, over the wrap too.
    pub fn count(&self) -> u64 {
        u64::from(self.high.wrapping_sub(self.low)) + 1
    }
}

/// `N` bytes from `at` on; the callers have checked that they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// What a [`Tracker`] has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that consumed an id.
    pub issued: u64,
    /// Ids told released, each once.
    pub completed: u64,
    /// Of these, those in ranges marked copied.
    pub copied: u64,
    /// Notifications that told more than one id.
    pub merged_ranges: u64,
}

/// Which sends are outstanding, and what each of them holds (`T`) until it is released.
#[derive(Debug)]
pub struct Tracker<T> {
    /// Outstanding and out-of-order completed sends, from `base` on.
    held: VecDeque<Option<T>>,
    /// The id of the first entry of `held`, counted without wrapping.
    base: u64,
    /// The 32-bit id that the kernel gave to id 0 of ours.
    first: u32,
    tally: Tally,
    /// Sends that were given up: neither completed nor outstanding.
    taken: u64,
}

impl<T> Default for Tracker<T> {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl<T> Tracker<T> {
    /// A tracker of a socket whose next id is `first`: 0 for a new one.
    pub fn starting_at(first: u32) -> Self {
        // Room for what a budget allows, so that sending does not allocate.
        Self { held: VecDeque::with_capacity(1024), base: 0, first, tally: Tally::default(), taken: 0 }
    }

    /// A call returned more than 0: it consumed the next id. What it keeps alive is given back by
    /// [`Tracker::complete`]. Returns the id, counted from 0 without wrapping.
    pub fn issue(&mut self, holds: T) -> u64 {
        let id = self.base + self.held.len() as u64;
        self.held.push_back(Some(holds));
        self.tally.issued += 1;
        id
    }

    /// Gives what the completed sends held to `release`, with their ids. An id that is not outstanding is counted
    /// in the error and nowhere else; the rest of the range is completed all the same.
    pub fn complete(
        &mut self,
        completion: Completion,
        mut release: impl FnMut(u64, T),
    ) -> Result<(), Garbled> {
        // Relative to the base, modulo 2^32: what is outstanding lies at 0 up to held.len(), which is far below 2^31.
        let offset = completion.low.wrapping_sub(self.first.wrapping_add(self.base as u32));
        let mut taken = 0;
        for step in 0..completion.count() {
            let at = (u64::from(offset) + step) & u64::from(u32::MAX);
            if at >= self.held.len() as u64 {
                // Skip to where the modular range meets the outstanding ids again, if it does.
                let to_wrap = (1 << 32) - at;
                if completion.count() - step <= to_wrap {
                    break;
                }
                return self.complete_after_gap(completion, step + to_wrap, taken, release);
            }
            if let Some(holds) = self.held.get_mut(at as usize).and_then(Option::take) {
                taken += 1;
                release(self.base + at, holds);
            }
        }
        self.settle(completion, taken)
    }

    /// The part of a range that begins before the outstanding ids: its first `skipped` ids are strays.
    fn complete_after_gap(
        &mut self,
        completion: Completion,
        skipped: u64,
        mut taken: u64,
        mut release: impl FnMut(u64, T),
    ) -> Result<(), Garbled> {
        let left = (completion.count() - skipped).min(self.held.len() as u64);
        for at in 0..left {
            if let Some(holds) = self.held.get_mut(at as usize).and_then(Option::take) {
                taken += 1;
                release(self.base + at, holds);
            }
        }
        self.settle(completion, taken)
    }

    fn settle(&mut self, completion: Completion, taken: u64) -> Result<(), Garbled> {
        while let Some(None) = self.held.front() {
            self.held.pop_front();
            self.base += 1;
        }
        self.tally.completed += taken;
        self.tally.copied += if completion.copied { taken } else { 0 };
        self.tally.merged_ranges += u64::from(completion.count() > 1);
        match completion.count() - taken {
            0 => Ok(()),
            strays => Err(Garbled::Stray { low: completion.low, high: completion.high, strays }),
        }
    }

    /// How many sends are not yet completed.
    pub fn outstanding(&self) -> u64 {
        self.tally.issued - self.tally.completed - self.taken
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes what is still outstanding, in the order of sending: given up, and neither outstanding nor completed.
    pub fn take_outstanding(&mut self) -> impl Iterator<Item = T> {
        self.base += self.held.len() as u64;
        let held = std::mem::take(&mut self.held);
        self.taken += held.iter().flatten().count() as u64;
        held.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
