//! `uring-sendzc`: four messages in one SENDMSG_ZC request, with an iovec for each piece of memory, and one
//! system call. Messages that together exceed 256 KiB have one request each, in a linked chain.
//!
//! The copies: (1) the request pins the pages and queues references to them without a copy; (2) if the
//! receiver is on the same machine, the kernel copies later, as for `zerocopy`; (3) the receiver's `recv()`
//! copies once more.
//!
//! Messages share a request and fields an iovec, because a request by reference costs a notification and a
//! walk through the page tables for each iovec. In the lab (`huge`, 1 client) this takes 0.25 of the sender's
//! CPU time of `zerocopy` at 4 KiB, 0.52 at 16 KiB and 0.86 at 64 KiB (±3 to 5 %). With one field (64 KiB) it
//! takes as much as `zerocopy` (±2.9 %).
//!
//! Each request has two completions: the number of bytes sent, and later that the kernel is done with the
//! memory. The second comes through the ring, where `zerocopy` needs a call. It also says whether the bytes
//! were copied, which is not reliable (see [`Ledger::doubtful`](crate::send::Ledger::doubtful)).
//!
//! Pinned pages count against the user's memory lock, as for `zerocopy`. The kernel refuses with ENOMEM,
//! which the ledger counts as `enobufs`.

use super::{Operation, Operations, Uring, can_lock, operations};
use crate::send::{Release, SendPath, Unsupported};

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-sendzc",
    description: "io_uring SENDMSG_ZC, 4 messages a call: no copy by the call; over loopback the kernel copies later; the receiver once",
    aliases: &["send_zc", "IORING_OP_SENDMSG_ZC"],
    release: Release::OnCompletion,
    delays: true,
    probe: |_| probe(),
    open: |socket, _, config| Ok(Box::new(Uring::open(socket, Operation::SendMsgZc, config)?)),
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
