//! One request: what it asks of the kernel, and which bytes of which messages.

use std::ops::Range;
use std::sync::Arc;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fixed;

use super::super::REPORT_USAGE;
use super::buffers::RegisteredBuffers;
use crate::sys::message::Message;

/// Messages that one request may take from, at most.
pub const JOINED: usize = 4;

/// The iovecs of one request, at most: eight fields of each message.
const IOVECS: usize = JOINED * 8;

/// A request of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// IORING_OP_SEND: copies bytes that lie in one piece.
    Send,
    /// IORING_OP_SENDMSG: copies.
    SendMsg,
    /// IORING_OP_SENDMSG_ZC: by reference.
    SendMsgZc,
    /// IORING_OP_SEND_ZC: bytes in one piece by reference, from a registered buffer if they lie in one.
    SendZc,
}

/// Bytes of a message.
#[derive(Debug)]
pub struct Excerpt<'a> {
    /// The message.
    pub of: &'a Arc<Message>,
    /// Which of its bytes.
    pub range: Range<usize>,
}

/// What comes after the bytes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Bytes of the same message: they wait for them (MSG_MORE).
    More,
    /// Whatever comes.
    Anything,
    /// Nothing that shares their last packet (MSG_EOR).
    Break,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefused {
    /// As many are in flight as there is room for.
    Full,
    /// More than [`JOINED`] excerpts or than 32 pieces of memory, or none, or bytes beyond a message; or the operation takes
    /// one piece only, and the bytes do not lie in one.
    Scattered,
    /// The ring has failed: it submits nothing any more.
    Broken,
}

/// What a SENDMSG points at.
pub(super) struct Header {
    head: libc::msghdr,
    /// Of anything but one whole message, which lends its own.
    cut: [libc::iovec; IOVECS],
}

impl Default for Header {
    fn default() -> Self {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: msghdr is plain old data, and all zeroes means no address, no payload, no control.
        Self { head: unsafe { std::mem::zeroed() }, cut: [nothing; IOVECS] }
    }
}

impl Header {
    /// The request for `excerpts`. `None`: they are not what the operation takes.
    pub(super) fn entry(
        &mut self,
        operation: Operation,
        excerpts: &[Excerpt<'_>],
        after: After,
        buffers: &mut RegisteredBuffers,
    ) -> Option<Entry> {
        let after = match after {
            After::More => libc::MSG_MORE,
            After::Anything => 0,
            After::Break => libc::MSG_EOR,
        };
        // Partial sends go on within the kernel, so that a request is short only if it fails.
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL | after;
        // The one that is registered.
        let fd = Fixed(0);
        Some(match operation {
            Operation::Send => {
                let (start, length) = one_piece(excerpts)?;
                opcode::Send::new(fd, start, length).flags(flags).build()
            }
            Operation::SendZc => {
                let (start, length) = one_piece(excerpts)?;
                opcode::SendZc::new(fd, start, length)
                    .flags(flags)
                    .zc_flags(REPORT_USAGE)
                    .buf_index(buffers.find(start as usize, length as usize))
                    .build()
            }
            Operation::SendMsg => {
                let head = self.of(excerpts, Message::iovecs_of_fields)?;
                opcode::SendMsg::new(fd, head).flags(flags as u32).build()
            }
            Operation::SendMsgZc => {
                // The kernel walks the page tables once for each iovec.
                let head = self.of(excerpts, Message::iovecs_of_runs)?;
                opcode::SendMsgZc::new(fd, head).flags(flags as u32).ioprio(REPORT_USAGE).build()
            }
        })
    }

    /// For a request of these bytes, which lie where `iovecs` says.
    fn of(
        &mut self,
        excerpts: &[Excerpt<'_>],
        iovecs: fn(&Message) -> &[libc::iovec],
    ) -> Option<*const libc::msghdr> {
        if excerpts.is_empty() || excerpts.len() > JOINED {
            return None;
        }
        if let [Excerpt { of, range }] = excerpts
            && let all = iovecs(of)
            && *range == (0..all.iter().map(|field| field.iov_len).sum())
        {
            // Made once: made anew they would still be in the CPU's store buffer when the kernel reads them.
            self.head.msg_iov = all.as_ptr().cast_mut();
            self.head.msg_iovlen = all.len() as _;
            return Some(&raw const self.head);
        }
        let mut count = 0;
        for Excerpt { of, range } in excerpts {
            let (mut skip, mut left) = (range.start, range.len());
            for field in iovecs(of) {
                let skipped = skip.min(field.iov_len);
                let length = (field.iov_len - skipped).min(left);
                skip -= skipped;
                left -= length;
                if length > 0 {
                    let iov_base = field.iov_base.wrapping_byte_add(skipped);
                    *self.cut.get_mut(count)? = libc::iovec { iov_base, iov_len: length };
                    count += 1;
                }
            }
            // The excerpt goes beyond the message.
            if left > 0 {
                return None;
            }
        }
        self.head.msg_iov = self.cut.as_mut_ptr();
        self.head.msg_iovlen = count as _;
        Some(&raw const self.head)
    }
}

/// The address and the length of an excerpt that lies in one piece.
fn one_piece(excerpts: &[Excerpt<'_>]) -> Option<(*const u8, u32)> {
    let [Excerpt { of, range }] = excerpts else { return None };
    let (address, adjacent) = of.run(range.start);
    let length = u32::try_from(range.len()).ok().filter(|_| range.len() <= adjacent)?;
    Some((address as *const u8, length))
}
