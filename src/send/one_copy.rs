//! `onecopy`: one `sendmsg()` with an iovec for each field (scatter-gather).
//!
//! The copies: (1) `sendmsg()` copies every field from user memory straight into socket buffers, without a
//! staging buffer (tcp_sendmsg_locked, net/ipv4/tcp.c); (2) the receiver's `recv()` copies once more.

use std::io;
use std::sync::Arc;

use super::{Release, SendPath, Sender, send_all, stalled};
use crate::message::Message;
use crate::sys::socket::{SendFlags, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "onecopy",
    description: "sendmsg(), 8 iovecs: 1 call copies all fields user-to-kernel; the receiver copies once more",
    aliases: &["sendmsg", "writev", "write_vectored", "IoSlice"],
    release: Release::OnReturn,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, _| Ok(Box::new(OneCopy::new(socket))),
};

/// Sends all fields by one call.
#[derive(Debug)]
pub struct OneCopy {
    socket: Socket,
}

impl OneCopy {
    /// A sender on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket }
    }
}

impl Sender for OneCopy {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        send_all(message, |rest, _| self.socket.sendmsg(rest, SendFlags::NONE).map_err(stalled))
    }
}
