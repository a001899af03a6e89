//! `twocopy`: one `send()` for each field, the baseline of the original experiment.
//!
//! The copies: (1) each `send()` copies its field from user memory into socket buffers (tcp_sendmsg_locked,
//! net/ipv4/tcp.c); (2) the receiver's `recv()` copies once more. So each byte is copied from user to kernel
//! once, as with `onecopy`, but by eight system calls and in smaller segments. The name is from the original
//! experiment; the path that copies twice on the sending side is `flatten`.

use std::io;
use std::sync::Arc;

use super::{Release, SendPath, Sender, send_bytes};
use crate::message::Message;
use crate::sys::socket::{SendFlags, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "twocopy",
    description: "send() per field: 8 calls, each copies its field user-to-kernel; the receiver copies once more",
    aliases: &["send", "write", "write_all"],
    release: Release::OnReturn,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, config| Ok(Box::new(TwoCopy::new(socket, config.urgent))),
};

/// Sends each field by one call.
#[derive(Debug)]
pub struct TwoCopy {
    socket: Socket,
    /// The flags for all fields but the last.
    flags: SendFlags,
}

impl TwoCopy {
    /// A sender on a connected socket. With `urgent`, MSG_MORE joins the fields of a message, so that
    /// TCP_NODELAY does not send each as a segment.
    pub fn new(socket: Socket, urgent: bool) -> Self {
        Self { socket, flags: if urgent { SendFlags::MORE } else { SendFlags::NONE } }
    }
}

impl Sender for TwoCopy {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        let fields = message.slices();
        for (i, field) in fields.iter().enumerate() {
            let flags = if i + 1 < fields.len() { self.flags } else { SendFlags::NONE };
            send_bytes(&self.socket, field, flags)?;
        }
        Ok(())
    }
}
