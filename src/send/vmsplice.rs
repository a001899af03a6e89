//! `vmsplice`: puts the fields' pages into a pipe with `vmsplice()` and moves them to the socket with
//! `splice()`.
//!
//! The copies: (1) `vmsplice()` puts references to the pages into the pipe and `splice()` moves them to the
//! socket, without a copy (splice_to_socket, fs/splice.c). Over loopback they stay references up to the
//! receiver's socket; (2) the receiver's `recv()` copies once.
//!
//! The kernel never reports when it is done with these pages, and an acknowledgement does not show it: over
//! loopback the receiver's queue holds the same pages. So the sender keeps a clone of each message's `Arc` as
//! long as anyone else has one, even after the sender is dropped ([`HeldMessages`]), and the memory is never
//! rewritten. Messages on the heap are refused, because the allocator could reuse their memory while the
//! kernel may still send it. A mapping can be unmapped, because its pages stay as they are.

use std::io;
use std::sync::Arc;

use super::{Release, SendPath, Sender, Unsupported, constant_only, send_all, stalled};
use crate::message::{FIELDS, Layout, Message, Spec};
use crate::sys::memory::page_size;
use crate::sys::socket::Socket;
use crate::sys::splice::{HeldMessages, Pipe};

pub(super) const PATH: SendPath = SendPath {
    name: "vmsplice",
    description: "vmsplice() and splice() by a pipe: by reference, even over loopback; no report when memory is \
        free; receiver copies",
    aliases: &["splice"],
    release: Release::Never,
    delays: false,
    probe,
    open: |socket, _, _| Ok(Box::new(Vmsplice::new(socket))),
};

/// The most slots of a pipe: 1 MiB of whole pages, which fs.pipe-max-size allows every user and which exceeds
/// what a send buffer takes at once.
const MOST_SLOTS: usize = 256;

fn probe(spec: &Spec) -> Result<(), Unsupported> {
    if spec.layout == Layout::Heap {
        return Err(Unsupported(
            "an allocator would reuse memory that the kernel may still send: use --layout page, arena, huge \
             or memfd"
                .to_owned(),
        ));
    }
    constant_only(spec)?;
    Pipe::new(1).map(drop).map_err(|error| Unsupported(format!("no pipe could be made: {error}")))
}

/// Sends references to messages on their own pages.
#[derive(Debug)]
pub struct Vmsplice {
    socket: Socket,
    /// Empty between messages. It is made for the first message, for a larger one, and again after an error, which leaves
    /// bytes in it.
    pipe: Option<Pipe>,
    /// The slots that the pipe was made with.
    slots: usize,
    kept: HeldMessages,
}

impl Vmsplice {
    /// A sender on a connected socket for messages on their own pages: every layout except [`Layout::Heap`].
    pub fn new(socket: Socket) -> Self {
        Self { socket, pipe: None, slots: 0, kept: HeldMessages::default() }
    }

    /// Moves all `bytes` from the pipe to the socket.
    fn empty(socket: &Socket, pipe: &Pipe, bytes: usize, more: bool) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            match socket.splice(pipe, left, more).map_err(stalled)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                moved => left -= moved,
            }
        }
        Ok(())
    }
}

impl Sender for Vmsplice {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        if !message.has_own_pages() {
            let why = "vmsplice() sends only messages on pages of their own: use any layout except heap";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        // Taken out, so that an error drops the pipe and the bytes in it.
        let slots = slots(message.size());
        let pipe = match self.pipe.take().filter(|_| slots <= self.slots) {
            Some(pipe) => pipe,
            None => {
                self.slots = slots;
                Pipe::new(slots)?
            }
        };
        send_all(message, |rest, left| {
            let filled = self.socket.vmsplice(&mut self.kept, &pipe, message, rest)?;
            Self::empty(&self.socket, &pipe, filled, filled < left).map(|()| filled)
        })?;
        self.pipe = Some(pipe);
        Ok(())
    }
}

/// The slots for a message of `size` bytes: one for each page of each field. Two fields may share a page.
fn slots(size: usize) -> usize {
    (size / page_size() + 2 * FIELDS).min(MOST_SLOTS)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn connected() -> (Vmsplice, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (Vmsplice::new(Socket::from(server)), client)
    }

    fn message(layout: Layout, size: usize) -> Arc<Message> {
        Arc::new(Message::new(&Spec { layout, ..Spec::new(size).unwrap() }).unwrap())
    }

    #[test]
    fn a_pipe_of_one_slot_sends_a_message_page_by_page() {
        for layout in Layout::ALL.iter().filter(|layout| **layout != Layout::Heap) {
            let (mut sender, mut client) = connected();
            let message = message(*layout, 100_001);
            (sender.pipe, sender.slots) = (Some(Pipe::new(1).unwrap()), usize::MAX);
            sender.send(&message).unwrap();
            let mut received = vec![0; 100_001];
            client.read_exact(&mut received).unwrap();
            let sent: Vec<u8> = message.slices().iter().flat_map(|field| field.to_vec()).collect();
            assert!(received == sent, "{layout}");
            assert!(sender.socket.calls().get() >= 2 * 25, "a turn for each page");
        }
    }

    #[test]
    fn an_error_leaves_nothing_in_a_pipe() {
        let (mut sender, _client) = connected();
        sender.socket.options().set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let message = message(Layout::Arena, 1 << 20);
        let error = (0..100).find_map(|_| sender.send(&message).err()).expect("buffers are not endless");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(sender.pipe.is_none(), "what was left in it is gone");
    }

    #[test]
    fn memory_of_an_allocator_is_refused() {
        let (mut sender, _client) = connected();
        let error = sender.send(&Arc::new(Message::from_bytes([0; 64]))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
