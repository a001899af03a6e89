//! `batched`: several messages in one `sendmsg()`.
//!
//! The copies: (1) `sendmsg()` copies the fields of all messages of a batch from user memory into socket
//! buffers (tcp_sendmsg_locked, net/ipv4/tcp.c); (2) the receiver's `recv()` copies once more. It saves calls
//! and segments but adds delay: a message waits until the batch is full or the caller flushes. So its figures
//! are not comparable with those of a path that sends at once.
//!
//! A clone of the `Arc` holds each message until its batch is sent. A ring with fewer messages than a batch
//! makes the batches as small as the ring.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;

use super::{Release, SendPath, Sender, send_all, stalled};
use crate::message::{FIELDS, Message};
use crate::sys::socket::{SendFlags, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "batched",
    description: "up to 64 KiB of messages in one sendmsg(): copies as onecopy, in fewer calls, and delays each message",
    aliases: &["batch"],
    release: Release::OnFlush,
    delays: true,
    probe: |_| Ok(()),
    open: |socket, _, _| Ok(Box::new(Batched::new(socket))),
};

/// UIO_MAXIOV (include/uapi/linux/uio.h): the most iovecs that one call takes.
const IOVECS: usize = 1024;

/// Every field of a message takes an iovec.
const MESSAGES: usize = IOVECS / FIELDS;

/// Collects messages and sends them together.
#[derive(Debug)]
pub struct Batched {
    socket: Socket,
    held: ArrayVec<Arc<Message>, MESSAGES>,
    bytes: usize,
}

impl Batched {
    /// A batch is sent when it has this many bytes: one full segment, beyond which fewer calls save nothing
    /// (`copycost run -p onecopy,batched -s 1KiB,64KiB`).
    pub const BYTES: usize = 64 << 10;

    /// A sender on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, held: ArrayVec::new(), bytes: 0 }
    }

    /// Sends the held messages. An error loses them, because the connection has ended.
    fn send_held(&mut self) -> io::Result<()> {
        let result = send_together(&self.socket, &self.held);
        self.clear();
        result
    }

    fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}

fn send_together(socket: &Socket, messages: &[Arc<Message>]) -> io::Result<()> {
    // On the stack, because a list of iovecs that outlives this call would need `unsafe`.
    let fields = messages.iter().flat_map(|message| message.slices());
    let mut slices: ArrayVec<IoSlice<'_>, IOVECS> = fields.copied().collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let sent = socket.sendmsg(rest, SendFlags::NONE).map_err(stalled)?;
        IoSlice::advance_slices(&mut rest, sent);
    }
    Ok(())
}

impl Sender for Batched {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        if self.bytes + message.size() > Self::BYTES {
            self.send_held()?;
        }
        if message.size() >= Self::BYTES {
            return send_all(message, |rest, _| self.socket.sendmsg(rest, SendFlags::NONE).map_err(stalled));
        }
        self.held.push(Arc::clone(message));
        self.bytes += message.size();
        if self.bytes >= Self::BYTES || self.held.is_full() { self.send_held() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_held()
    }

    fn reap(&mut self, _by: Instant) -> io::Result<bool> {
        let held = !self.held.is_empty();
        self.send_held().map(|()| held)
    }

    fn abort(&mut self) {
        self.clear();
    }
}
