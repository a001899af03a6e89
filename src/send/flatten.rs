//! `flatten`: copies the fields into one buffer, then calls `send()`.
//!
//! The copies: (1) the sender copies every field into a staging buffer in user space; (2) `send()` copies the
//! buffer into socket buffers (tcp_sendmsg_locked, net/ipv4/tcp.c); (3) the receiver's `recv()` copies once
//! more. So the sender really copies twice. The first copy is cheap if the message fits the caches, and the
//! kernel does not have to handle eight iovecs.

use std::io;
use std::sync::Arc;

use super::staging::Staging;
use super::{Release, SendPath, Sender, send_bytes};
use crate::message::Message;
use crate::offset::BufferStart;
use crate::sys::socket::{SendFlags, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "flatten",
    description: "memcpy of 8 fields into one buffer, send(): 2 copies by the sender; the receiver copies once more",
    aliases: &["copy", "concat", "BufWriter"],
    release: Release::OnReturn,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, config| Ok(Box::new(Flatten::with_staging(socket, config.staging))),
};

/// Copies each message into one buffer and sends it.
#[derive(Debug)]
pub struct Flatten {
    socket: Socket,
    /// As long as the longest message so far.
    staging: Staging,
}

impl Flatten {
    /// A sender on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self::with_staging(socket, None)
    }

    /// As [`Flatten::new`], with the buffer at offset `begin`. `None`: an offset at which no copy is slow.
    pub fn with_staging(socket: Socket, begin: Option<BufferStart>) -> Self {
        Self { socket, staging: Staging::new(begin) }
    }
}

impl Sender for Flatten {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        let staging = self.staging.for_message(message, message.size())?;
        let mut filled = 0;
        for field in message.slices() {
            staging[filled..filled + field.len()].copy_from_slice(field);
            filled += field.len();
        }
        send_bytes(&self.socket, &staging[..filled], SendFlags::NONE)
    }

    fn staging_offset(&self) -> Option<usize> {
        self.staging.offset()
    }
}
