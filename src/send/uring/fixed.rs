//! `uring-fixed`: a SEND_ZC request from a registered buffer for each message, four messages in one linked chain and
//! one system call.
//!
//! The copies: as `uring-sendzc`. The pages are pinned once, when the path is opened, and not for each send.
//!
//! It saves the walk through the page tables, and has a request and a notification for each message where `uring-sendzc` has
//! one for four. In the lab (huge, 1 client) it needs 1.02, 0.86 and 0.80 of the sender's CPU time of `onecopy` at 4, 16 and
//! 64 KiB, `uring-sendzc` 0.62, 0.62 and 0.65 (±4 to 10 %).
//!
//! On huge pages it is slower than without registering for another reason, too. The kernel joins the pages of a registered
//! huge page into one piece, and charges each part of it that a packet takes with the length *and its offset in the huge
//! page* (io_sg_from_iter, io_uring/net.c: `truesize += PAGE_ALIGN(bv_len + bv_offset)`). A message of 256 KiB at the page's
//! beginning is charged 640 KiB, one of those behind it in the page more, and the send buffer is full so much earlier: then
//! each message waits once (1.00 calls a message). A larger send buffer mends it, and so does the layout arena.

use std::io;

use super::{Operation, Operations, Uring, can_lock, operations};
use crate::message::{Layout, Spec};
use crate::pool::MessagePool;
use crate::send::{Release, SendPath, Sender, SenderConfig, Unsupported};
use crate::sys::socket::Socket;
use crate::sys::uring::MOST_BUFFERS;

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-fixed",
    about: "io_uring SEND_ZC, registered buffers, 4 messages a call: copies as uring-sendzc; layouts arena and huge",
    also: &["IORING_OP_SEND_ZC", "registered"],
    release: Release::OnCompletion,
    delays: true,
    probe,
    open,
};

fn probe(spec: &Spec) -> Result<(), Unsupported> {
    let Operations { send_zc: true, reports_usage: true, .. } = operations()? else {
        let told = "this kernel's io_uring has no SEND_ZC that reports copies (needs Linux 6.2 or later)";
        return Err(Unsupported(told.to_owned()));
    };
    if !matches!(spec.layout, Layout::Arena | Layout::Huge) {
        let told = format!(
            "it registers messages that lie in one piece: use --layout arena or --layout huge, not {}",
            spec.layout
        );
        return Err(Unsupported(told));
    }
    let messages = MessagePool::count(spec);
    if messages > MOST_BUFFERS {
        let told = format!(
            "a ring can register at most {MOST_BUFFERS} messages, but this run has {messages}: use a smaller \
             --footprint or --buffers, or a larger --size"
        );
        return Err(Unsupported(told));
    }
    can_lock(messages as u64 * (spec.size as u64).div_ceil(4096))
}

fn open(socket: Socket, supply: &MessagePool, terms: SenderConfig) -> io::Result<Box<dyn Sender>> {
    let mut sender = Uring::open(socket, Operation::SendZc, terms)?;
    sender.sends.register(supply.messages().iter().map(|message| &**message)).map_err(|error| match error
        .raw_os_error()
    {
        Some(libc::ENOMEM) => io::Error::new(
            error.kind(),
            "the memory-lock limit is too low for the registered buffers: run \
             `prlimit --pid $$ --memlock=unlimited` as root",
        ),
        _ => error,
    })?;
    // What is registered is not charged again.
    sender.budget.pages = None;
    Ok(Box::new(sender))
}
