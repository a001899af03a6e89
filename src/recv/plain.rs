//! `recv`: one `recv()` after the other into one reused buffer.
//!
//! The copies: the kernel copies from socket buffers into the buffer (skb_copy_datagram_iter, net/core/datagram.c).

use std::io;

use super::buffer::ReceiveBuffer;
use super::{ReceivePath, Receiver};
use crate::offset::BufferStart;
use crate::sys::socket::Socket;

pub(super) const PATH: ReceivePath = ReceivePath {
    name: "recv",
    description: "recv() into one reused buffer: the kernel copies once",
    probe: |_| Ok(()),
    open: |socket, begin| Ok(Box::new(PlainReceiver::new(socket, begin)?)),
};

/// The buffer stays in the second-level cache (1 MiB here). 64 KiB is one full segment, and larger buffers
/// were not faster.
const BUFFER_BYTES: usize = 256 << 10;

/// Receives into one buffer.
#[derive(Debug)]
pub struct PlainReceiver {
    socket: Socket,
    buffer: ReceiveBuffer,
}

impl PlainReceiver {
    /// A receiver on a connected socket with a buffer at offset `begin`.
    pub fn new(socket: Socket, begin: BufferStart) -> io::Result<Self> {
        Ok(Self { socket, buffer: ReceiveBuffer::new(begin, BUFFER_BYTES)? })
    }
}

impl Receiver for PlainReceiver {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let limit = max.min(self.buffer.len());
        let got = self.socket.recv(&mut self.buffer[..limit])?;
        see(&self.buffer[..got]);
        Ok(got)
    }

    fn buffer_offset(&self) -> Option<usize> {
        Some(self.buffer.offset())
    }
}
