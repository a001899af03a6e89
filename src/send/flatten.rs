//! `flatten`: the fields gathered into one buffer, then one `send()`.
//!
//! The copies: (1) the sender copies every field into a staging buffer of its own, in user space; (2) `send()` copies
//! the buffer into socket buffers (tcp_sendmsg_locked, net/ipv4/tcp.c); (3) the receiver's `recv()` copies once more.
//! So this is what sends by two copies literally. The first of them is cheap where the message fits the caches, and it
//! spares the kernel a walk over eight iovecs.

use std::io;
use std::sync::Arc;

use super::{Release, SendPath, Sender, send_bytes};
use crate::message::Message;
use crate::sys::socket::{SendFlags, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "flatten",
    about: "memcpy of 8 fields into one buffer, send(): 2 copies by the sender; the receiver copies once more",
    release: Release::OnReturn,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, _| Ok(Box::new(Flatten::new(socket))),
};

/// Gathers each message into one buffer and sends that.
#[derive(Debug)]
pub struct Flatten {
    socket: Socket,
    /// As long as the longest message so far.
    staging: Vec<u8>,
}

impl Flatten {
    /// A sender on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, staging: Vec::new() }
    }
}

impl Sender for Flatten {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        self.staging.clear();
        self.staging.reserve_exact(message.size());
        message.slices().iter().for_each(|field| self.staging.extend_from_slice(field));
        send_bytes(&self.socket, &self.staging, SendFlags::NONE)
    }
}
