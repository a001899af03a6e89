//! One request: its operation, and which bytes of which messages it sends.

use std::ops::Range;
use std::sync::Arc;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fixed;

use super::super::REPORT_USAGE;
use super::buffers::RegisteredBuffers;
use crate::sys::message::Message;

/// The most messages of one request.
pub const JOINED: usize = 4;

/// The most iovecs of one request: eight fields of each message.
const IOVECS: usize = JOINED * 8;

/// An operation of io_uring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// IORING_OP_SEND: copies contiguous bytes.
    Send,
    /// IORING_OP_SENDMSG: copies.
    SendMsg,
    /// IORING_OP_SENDMSG_ZC: by reference.
    SendMsgZc,
    /// IORING_OP_SEND_ZC: contiguous bytes by reference, from a registered buffer if one holds them.
    SendZc,
}

/// Bytes of a message.
#[derive(Debug)]
pub struct Excerpt<'a> {
    /// The message.
    pub of: &'a Arc<Message>,
    /// The range of its bytes.
    pub range: Range<usize>,
}

/// What follows the bytes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Bytes of the same message, for which the kernel waits (MSG_MORE).
    More,
    /// Any data.
    Anything,
    /// A new packet (MSG_EOR).
    Break,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefused {
    /// No room is left.
    Full,
    /// More than [`JOINED`] excerpts or 32 pieces of memory, or none, or bytes after the end of a message; or
    /// the operation needs contiguous bytes and these are not.
    Scattered,
    /// The ring has failed and submits nothing any more.
    Broken,
}

/// The header of a SENDMSG request.
pub(super) struct Header {
    head: libc::msghdr,
    /// The iovecs, unless the request is one whole message, which has its own.
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
    /// The request for `excerpts`. `None` if the operation cannot send them.
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
        // The kernel itself continues partial sends, so a request is short only if it fails.
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL | after;
        // The registered socket.
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

    /// The header for a request of these bytes, whose places are given by `iovecs`.
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
            // The message's own iovecs, because new ones would still be in the CPU's store buffer when the
            // kernel reads them.
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
            // The excerpt exceeds the message.
            if left > 0 {
                return None;
            }
        }
        self.head.msg_iov = self.cut.as_mut_ptr();
        self.head.msg_iovlen = count as _;
        Some(&raw const self.head)
    }
}

/// The address and the length of an excerpt that is contiguous.
fn one_piece(excerpts: &[Excerpt<'_>]) -> Option<(*const u8, u32)> {
    let [Excerpt { of, range }] = excerpts else { return None };
    let (address, adjacent) = of.run(range.start);
    let length = u32::try_from(range.len()).ok().filter(|_| range.len() <= adjacent)?;
    Some((address as *const u8, length))
}
