//! `batched`: several messages gathered into one `sendmsg()`.
//!
//! The copies: (1) `sendmsg()` copies the fields of all messages of a batch from user memory into socket buffers
//! (tcp_sendmsg_locked, net/ipv4/tcp.c); (2) the receiver's `recv()` copies once more. What is saved is calls and
//! segments, and what it costs is delay: a message waits until the batch is full or the caller flushes. So its figures
//! are not comparable with those of a path that sends at once.
//!
//! A message is held, by a clone of its `Arc`, until its batch is sent; a ring of fewer messages than a batch has makes
//! the batches as small as the ring.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;

use super::{Release, SendPath, Sender, send_all, stalled};
use crate::message::{FIELDS, Message};
use crate::sys::socket::{SendFlags, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "batched",
    about: "up to 64 KiB of messages in one sendmsg(): copies as onecopy, in fewer calls, and delays each message",
    also: &["batch"],
    release: Release::OnFlush,
    delays: true,
    probe: |_| Ok(()),
    open: |socket, _, _| Ok(Box::new(Batched::new(socket))),
};

/// UIO_MAXIOV (include/uapi/linux/uio.h): the most iovecs that one call takes.
const IOVECS: usize = 1024;

/// Every message of a batch has its fields in iovecs of their own.
const MESSAGES: usize = IOVECS / FIELDS;

/// Collects messages and sends them together.
#[derive(Debug)]
pub struct Batched {
    socket: Socket,
    held: ArrayVec<Arc<Message>, MESSAGES>,
    bytes: usize,
}

impl Batched {
    /// A batch is sent when it has so many bytes: one full segment, beyond which there is no call left to save
    /// (`copycost run -p onecopy,batched -s 1KiB,64KiB`).
    pub const BYTES: usize = 64 << 10;

    /// A sender on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, held: ArrayVec::new(), bytes: 0 }
    }

    /// Sends what is held. An error loses it: the connection is at its end.
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
    // On the stack: a list of iovecs that outlived this call would have to promise what the borrow proves.
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
