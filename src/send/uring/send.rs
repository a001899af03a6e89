//! `uring-send`: a SEND request for each field, the requests of four messages in one linked chain and one system call.
//!
//! The copies: (1) each request copies its field from user memory into socket buffers, as `send()` does (io_send,
//! io_uring/net.c, calls tcp_sendmsg_locked); (2) the receiver's `recv()` copies once more. Fields that are neighbours
//! in memory (layouts arena and huge) go in one request. What io_uring spares is the entry into the kernel; the socket
//! is locked for each request, and each makes its own decision to push a segment, so the fields of a message are joined
//! by MSG_MORE.

use super::{Operation, Uring, operations};
use crate::send::{Release, SendPath};

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-send",
    about: "io_uring SEND per field, 4 messages a call: each copies its field user-to-kernel; the receiver copies once more",
    also: &["io_uring", "IORING_OP_SEND"],
    release: Release::OnFlush,
    delays: true,
    probe: |_| operations().map(drop),
    open: |socket, _, terms| Ok(Box::new(Uring::open(socket, Operation::Send, terms)?)),
};
