//! `uring-fixed`: one SEND_ZC request from a registered buffer for each message, with four messages in a
//! linked chain and one system call.
//!
//! The copies: as `uring-sendzc`. The pages are pinned once, when the path is opened, not for each send.
//!
//! It saves the walk through the page tables, but it needs a request and a notification for each message,
//! where `uring-sendzc` has one for four. In the lab (`huge`, 1 client) `uring-sendzc` needs less of the
//! sender's CPU time (±4 to 10 %):
//!
//! | size | `uring-fixed` / `onecopy` | `uring-sendzc` / `onecopy` |
//! |---|---:|---:|
//! | 4 KiB | 1.02 | 0.62 |
//! | 16 KiB | 0.86 | 0.62 |
//! | 64 KiB | 0.80 | 0.65 |
//!
//! On huge pages the kernel also charges more memory for registered buffers, so that the send buffer is full
//! earlier: see docs/tuning.md, "`uring-fixed` on huge pages" (io_sg_from_iter, io_uring/net.c).

use std::io;
use std::sync::Arc;

use super::{Operation, Operations, Uring, can_lock, operations};
use crate::message::{Layout, Message, Spec};
use crate::send::{Release, SendPath, Sender, SenderConfig, Unsupported};
use crate::sys::socket::Socket;
use crate::sys::uring::MOST_BUFFERS;

pub(in crate::send) const PATH: SendPath = SendPath {
    name: "uring-fixed",
    description: "io_uring SEND_ZC, registered buffers, 4 messages a call: copies as uring-sendzc; layouts arena and huge",
    aliases: &["IORING_OP_SEND_ZC", "registered"],
    release: Release::OnCompletion,
    delays: true,
    probe,
    open,
};

fn probe(spec: &Spec) -> Result<(), Unsupported> {
    let Operations { send_zc: true, reports_usage: true, .. } = operations()? else {
        let message = "this kernel's io_uring has no SEND_ZC that reports copies (needs Linux 6.2 or later)";
        return Err(Unsupported(message.to_owned()));
    };
    if !matches!(spec.layout, Layout::Arena | Layout::Huge) {
        let message = format!(
            "it registers messages that lie in one piece: use --layout arena or --layout huge, not {}",
            spec.layout
        );
        return Err(Unsupported(message));
    }
    let messages = spec.pool_messages();
    if messages > MOST_BUFFERS {
        let message = format!(
            "a ring can register at most {MOST_BUFFERS} messages, but this run has {messages}: use a smaller \
             --footprint or --buffers, or a larger --size"
        );
        return Err(Unsupported(message));
    }
    can_lock(messages as u64 * (spec.size as u64).div_ceil(4096))
}

fn open(socket: Socket, messages: &[Arc<Message>], config: SenderConfig) -> io::Result<Box<dyn Sender>> {
    if messages.len() > MOST_BUFFERS {
        let why = format!(
            "a ring can register at most {MOST_BUFFERS} messages, but this mix has {}: use a smaller --footprint",
            messages.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut sender = Uring::open(socket, Operation::SendZc, config)?;
    sender.ring.register(messages.iter().map(|message| &**message)).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ENOMEM) => io::Error::new(
                error.kind(),
                "the memory-lock limit is too low for the registered buffers: run \
             `prlimit --pid $$ --memlock=unlimited` as root",
            ),
            _ => error,
        }
    })?;
    // Registered memory is not charged again.
    sender.budget.pages = None;
    Ok(Box::new(sender))
}
