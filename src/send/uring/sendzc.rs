//! `uring-sendzc`: four messages in one SENDMSG_ZC request with an iovec for each piece of memory, and one system call.
//! Messages that are longer together than 256 KiB have a request each, in one linked chain.
//!
//! The copies: (1) the request pins the pages and queues references to them, without a copy; (2) where the packets are
//! received on the same machine the kernel makes the copy after all, as for `zerocopy`; (3) the receiver's `recv()`
//! copies once more.
//!
//! Both are done because they are what a request by reference costs, beside its pages: a notification, and a walk
//! through the page tables for each iovec. In the lab (huge, 1 client) it needs 0.25, 0.52 and 0.86 (±3 to 5 %) of the sender's
//! CPU time of `zerocopy`, which has an iovec for each of eight neighbouring fields, at 4, 16 and 64 KiB; of messages of one
//! field (64 KiB) as much as `zerocopy`, 1.00 (±2.9 %).
//!
//! Each request has two completions: how much was sent, and later that the kernel is done with the memory. The second
//! comes through the ring, in passing, where `zerocopy` makes a call for it. It tells whether the bytes were copied,
//! and cannot be believed when it says so (see [`Ledger::doubtful`](crate::send::Ledger::doubtful)).
//!
//! Pinned pages count against the user's memory lock as for `zerocopy`, and the refusal is ENOMEM; it is counted as
//! `enobufs`.

use super::{Operation, Operations, Uring, can_lock, operations};
use crate::send::{Release, SendPath, Unsupported};

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-sendzc",
    about: "io_uring SENDMSG_ZC, 4 messages a call: no copy by the call; over loopback the kernel copies later; the receiver once",
    also: &["send_zc", "IORING_OP_SENDMSG_ZC"],
    release: Release::OnCompletion,
    delays: true,
    probe: |_| probe(),
    open: |socket, _, terms| Ok(Box::new(Uring::open(socket, Operation::SendMsgZc, terms)?)),
};

fn probe() -> Result<(), Unsupported> {
    match operations()? {
        Operations { sendmsg_zc: true, reports_usage: true, .. } => can_lock(0),
        _ => Err(Unsupported(
            "this kernel's io_uring has no SENDMSG_ZC that reports copies (needs Linux 6.2 or later)"
                .to_owned(),
        )),
    }
}
