//! `uring`: one io_uring receive request that stays active (multishot), with buffers that the kernel fills
//! and the receiver returns.
//!
//! The copies: the kernel copies from socket buffers into the next buffer (io_recv, io_uring/net.c, calls
//! tcp_recvmsg), as `recv()` does. It saves calls: one call waits for all data that has arrived, in several
//! buffers if necessary, and data that is already there takes no call.

use std::io;
use std::time::Duration;

use super::{ReceivePath, Receiver};
use crate::offset::BufferStart;
use crate::sys::socket::Socket;
use crate::sys::uring::{self, ReceiveRing};
use crate::unsupported::Unsupported;

pub(super) const PATH: ReceivePath = ReceivePath {
    name: "uring",
    description: "io_uring multishot receive into provided buffers: the kernel copies once",
    probe: |_| probe(),
    open: |socket, begin| Ok(Box::new(UringReceiver::new(socket, begin)?)),
};

/// The number and size of the buffers: a segment of 64 KiB each, together as large as the buffer of `recv`.
const BUFFERS: (u16, u32) = (4, 64 << 10);

/// The timeout on a socket without SO_RCVTIMEO.
const NO_TIMEOUT: Duration = Duration::from_secs(1 << 32);

fn probe() -> Result<(), Unsupported> {
    // Multishot receives came with SEND_ZC.
    match uring::operations().map_err(Unsupported)? {
        operations if operations.send_zc => Ok(()),
        _ => Err(Unsupported(
            "this kernel's io_uring has no multishot receive (needs Linux 6.0 or later)".to_owned(),
        )),
    }
}

/// Receives by one multishot request.
#[derive(Debug)]
pub struct UringReceiver {
    ring: ReceiveRing,
    /// SO_RCVTIMEO, as it was when this was opened.
    patience: Duration,
}

impl UringReceiver {
    /// A receiver on a connected socket with buffers at offset `begin`. A ring's memory never comes from the
    /// allocator.
    pub fn new(socket: Socket, begin: BufferStart) -> io::Result<Self> {
        let first = match begin {
            BufferStart::At(offset) => offset,
            BufferStart::Malloc => 0,
        };
        let patience = socket.options().read_timeout()?.unwrap_or(NO_TIMEOUT);
        Ok(Self { ring: ReceiveRing::open(socket, BUFFERS.0, BUFFERS.1, first)?, patience })
    }
}

impl Receiver for UringReceiver {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let bytes = self.ring.recv(max, self.patience)?;
        see(bytes);
        Ok(bytes.len())
    }

    fn buffer_offset(&self) -> Option<usize> {
        Some(self.ring.buffer_offset())
    }
}
