//! `sendfile`: one `sendfile()` from the memfd that holds the fields.
//!
//! The copies: (1) `sendfile()` puts references to the file's pages into the socket without a copy
//! (splice_to_socket with MSG_SPLICE_PAGES, fs/splice.c, since Linux 6.5; sendpage before). Over loopback
//! they stay references up to the receiver's socket; (2) the receiver's `recv()` copies once.
//!
//! The kernel never reports when it is done with these pages, and an acknowledgement does not show it: over
//! loopback the receiver's queue holds the same pages. So the sender keeps a clone of each message's `Arc` as
//! long as anyone else has one, even after the sender is dropped ([`HeldMessages`]), and the memory is never
//! rewritten. A message without another owner can be dropped with the sender, because the kernel keeps the
//! pages and gives them to nobody else.

use std::io;
use std::sync::Arc;

use super::{Release, SendPath, Sender, Unsupported, constant_only, send_all, stalled};
use crate::message::{Layout, Message, Spec};
use crate::sys::memory::Block;
use crate::sys::socket::Socket;
use crate::sys::splice::HeldMessages;

pub(super) const PATH: SendPath = SendPath {
    name: "sendfile",
    description: "sendfile() from a memfd: by reference, even over loopback; no report when memory is free; \
        receiver copies once",
    aliases: &["sendfile64"],
    release: Release::Never,
    delays: false,
    probe,
    open: |socket, _, _| Ok(Box::new(SendFile::new(socket))),
};

fn probe(spec: &Spec) -> Result<(), Unsupported> {
    if spec.layout != Layout::Memfd {
        return Err(Unsupported("it sends from a file: use --layout memfd".to_owned()));
    }
    constant_only(spec)?;
    Block::in_memfd(1, 1).map(drop).map_err(|error| {
        Unsupported(format!("this kernel has no memfd_create (needs Linux 3.17 or later): {error}"))
    })
}

/// Sends messages from a file.
#[derive(Debug)]
pub struct SendFile {
    socket: Socket,
    kept: HeldMessages,
}

impl SendFile {
    /// A sender on a connected socket for messages with the layout [`Layout::Memfd`].
    pub fn new(socket: Socket) -> Self {
        Self { socket, kept: HeldMessages::default() }
    }
}

impl Sender for SendFile {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        if !message.is_in_file() {
            let why = "sendfile() sends only messages of the layout memfd";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        // The fields are adjacent, so one call sends them all.
        send_all(message, |_, left| {
            self.socket.sendfile(&mut self.kept, message, message.size() - left).map_err(stalled)
        })
    }
}
