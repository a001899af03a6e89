//! `vmsplice`: the fields' pages by `vmsplice()` into a pipe, and by `splice()` from the pipe to the socket.
//!
//! The copies: (1) `vmsplice()` puts references to the pages into the pipe, and `splice()` moves them to the socket,
//! without a copy (splice_to_socket, fs/splice.c); they stay references over loopback too, up to the receiver's socket;
//! (2) the receiver's `recv()` copies once.
//!
//! No notification says when the kernel is done with the pages, and an acknowledgement does not either: over loopback
//! the receiver's queue holds the same pages. So the sender keeps a clone of each message's `Arc` for as long as anybody
//! else has one, also when it is gone itself ([`HeldMessages`]): the memory is never written again. Nor may an allocator give it
//! to somebody else while the kernel may still send it, so that messages on the heap are refused; pages of their own stay
//! as they are when they are unmapped.

use std::io;
use std::sync::Arc;

use super::{Release, SendPath, Sender, Unsupported, constant_only, send_all, stalled};
use crate::message::{FIELDS, Layout, Message, Spec};
use crate::sys::memory::page_size;
use crate::sys::socket::Socket;
use crate::sys::splice::{HeldMessages, Pipe};

pub(super) const PATH: SendPath = SendPath {
    name: "vmsplice",
    about: "vmsplice() and splice() by a pipe: by reference, even over loopback; no report when memory is \
        free; receiver copies",
    also: &["splice"],
    release: Release::Never,
    delays: false,
    probe,
    open: |socket, _, _| Ok(Box::new(Vmsplice::new(socket))),
};

/// The most slots that a pipe is given: 1 MiB of whole pages, which is what fs.pipe-max-size allows anybody, and more
/// than a send buffer takes at once.
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

/// Sends references to messages that lie on pages of their own.
#[derive(Debug)]
pub struct Vmsplice {
    socket: Socket,
    /// Empty between messages. Made for the first one, and anew after an error, which leaves bytes in it.
    pipe: Option<Pipe>,
    kept: HeldMessages,
}

impl Vmsplice {
    /// A sender on a connected socket, of messages on pages of their own alone: every layout but [`Layout::Heap`].
    pub fn new(socket: Socket) -> Self {
        Self { socket, pipe: None, kept: HeldMessages::default() }
    }

    /// Moves `bytes` from the pipe to the socket, all of them.
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
        // Taken out, so that an error drops it with what it still holds.
        let pipe = match self.pipe.take() {
            Some(pipe) => pipe,
            None => Pipe::new(slots(message.size()))?,
        };
        send_all(message, |rest, left| {
            let filled = self.socket.vmsplice(&mut self.kept, &pipe, message, rest)?;
            Self::empty(&self.socket, &pipe, filled, filled < left).map(|()| filled)
        })?;
        self.pipe = Some(pipe);
        Ok(())
    }
}

/// The slots that a message of `size` bytes takes: one for each page of each field, whose ends may share a page.
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
            sender.pipe = Some(Pipe::new(1).unwrap());
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
