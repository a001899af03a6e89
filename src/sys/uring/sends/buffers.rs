//! Memory that a ring has registered. The kernel pins it once, not for each send.

use std::io;

use super::super::Ring;
use crate::sys::memory::Lease;
use crate::sys::message::Message;

/// The most buffers that a ring registers (IORING_MAX_REG_BUFFERS, io_uring/rsrc.c).
pub const MOST_BUFFERS: usize = 1 << 14;

/// Memory that the kernel has pinned.
#[derive(Debug, Default)]
pub(super) struct RegisteredBuffers {
    /// The address, the length and the kernel's index of each buffer, in the order of the addresses.
    spans: Vec<(usize, usize, u16)>,
    /// The position of the last buffer found, because messages are sent in order.
    last: usize,
    /// The kernel knows these addresses, so they must not be reused for other memory.
    _leases: Vec<Lease>,
}

impl RegisteredBuffers {
    /// Registers the memory of messages that are in one mapping.
    ///
    /// # Errors
    /// As [`super::SendRing::register`].
    pub(super) fn register<'a>(ring: &Ring, messages: impl Iterator<Item = &'a Message>) -> io::Result<Self> {
        let (mut iovecs, mut spans, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            let [block] = message.blocks() else { continue };
            let (start, length) = (block.start().as_ptr(), block.length());
            // Messages that share their memory follow each other.
            if spans.last().is_some_and(|&(last, ..): &(usize, usize, u16)| last == start as usize) {
                continue;
            }
            spans.push((start as usize, length, iovecs.len() as u16));
            iovecs.push(libc::iovec { iov_base: start.cast(), iov_len: length });
            leases.push(block.lease());
        }
        if iovecs.is_empty() {
            return Ok(Self::default());
        }
        // SAFETY: the ranges are mapped and stay mapped as long as the leases, which are stored with the
        // ring.
        unsafe { ring.ring.submitter().register_buffers(&iovecs)? };
        spans.sort_unstable();
        Ok(Self { spans, last: 0, _leases: leases })
    }

    /// The index of the buffer that holds these bytes.
    #[inline]
    pub(super) fn find(&mut self, address: usize, length: usize) -> Option<u16> {
        let holds =
            |&(start, span, _): &(usize, usize, u16)| start <= address && address + length <= start + span;
        let next = if self.last + 1 < self.spans.len() { self.last + 1 } else { 0 };
        for guess in [next, self.last] {
            if self.spans.get(guess).is_some_and(holds) {
                self.last = guess;
                return Some(self.spans[guess].2);
            }
        }
        let after = self.spans.partition_point(|(start, ..)| *start <= address);
        let found = after.checked_sub(1).filter(|at| holds(&self.spans[*at]))?;
        self.last = found;
        Some(self.spans[found].2)
    }
}
