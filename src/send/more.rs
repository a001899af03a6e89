//! `more`: one `send()` for each field, all but the last with MSG_MORE.
//!
//! The copies: (1) each `send()` copies its field from user memory into socket buffers (tcp_sendmsg_locked,
//! net/ipv4/tcp.c); (2) the receiver's `recv()` copies once more. The calls are those of `twocopy`. MSG_MORE
//! keeps the kernel from sending a segment before the message is complete, so the segments are those of
//! `onecopy`.

use super::{Release, SendPath, TwoCopy};

pub(super) const PATH: SendPath = SendPath {
    name: "more",
    description: "send() per field with MSG_MORE: 8 calls that copy as twocopy's do, joined into full segments",
    aliases: &["MSG_MORE", "TCP_CORK"],
    release: Release::OnReturn,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, _| Ok(Box::new(TwoCopy::new(socket, true))),
};
