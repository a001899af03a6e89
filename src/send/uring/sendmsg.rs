//! `uring-sendmsg`: one SENDMSG request with an iovec for each field, with four messages in a linked chain
//! and one system call.
//!
//! The copies: (1) each request copies all fields of its message from user memory into socket buffers (io_sendmsg,
//! io_uring/net.c, calls tcp_sendmsg_locked); (2) the receiver's `recv()` copies once more.

use super::{Operation, Uring, operations};
use crate::send::{Release, SendPath};

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-sendmsg",
    description: "io_uring SENDMSG, 8 iovecs, 4 messages a call: each copies all fields user-to-kernel; the receiver once more",
    aliases: &["IORING_OP_SENDMSG"],
    release: Release::OnFlush,
    delays: true,
    probe: |_| operations().map(drop),
    open: |socket, _, config| Ok(Box::new(Uring::open(socket, Operation::SendMsg, config)?)),
};
