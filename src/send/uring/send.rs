//! `uring-send`: one SEND request for each field, with the requests of four messages in a linked chain and
//! one system call.
//!
//! The copies: (1) each request copies its field from user memory into socket buffers, as `send()` does
//! (io_send, io_uring/net.c, calls tcp_sendmsg_locked); (2) the receiver's `recv()` copies once more.
//! Adjacent fields (layouts arena and huge) share a request. io_uring saves entries into the kernel, but each
//! request locks the socket and may send a segment, so MSG_MORE joins the fields of a message.

use super::{Operation, Uring, operations};
use crate::send::{Release, SendPath};

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-send",
    description: "io_uring SEND per field, 4 messages a call: each copies its field user-to-kernel; the receiver copies once more",
    aliases: &["io_uring", "IORING_OP_SEND"],
    release: Release::OnFlush,
    delays: true,
    probe: |_| operations().map(drop),
    open: |socket, _, config| Ok(Box::new(Uring::open(socket, Operation::Send, config)?)),
};
