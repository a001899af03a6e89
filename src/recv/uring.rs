//! `uring`: one io_uring receive that goes on (multishot), into buffers that are lent to the kernel and given back.
//!
//! The copies: the kernel copies from socket buffers into the next buffer (io_recv, io_uring/net.c, calls
//! tcp_recvmsg), as `recv()` does. What is spared is calls: one waits for whatever has come, in several buffers if there
//! is much, and what is there already takes none.

use std::io;
use std::time::Duration;

use super::{ReceivePath, Receiver};
use crate::offset::BufferStart;
use crate::sys::socket::Socket;
use crate::sys::uring::{self, ReceiveRing};
use crate::unsupported::Unsupported;

pub(super) const PATH: ReceivePath = ReceivePath {
    name: "uring",
    about: "io_uring multishot receive into provided buffers: the kernel copies once",
    probe: |_| probe(),
    open: |socket, begin| Ok(Box::new(UringReceiver::new(socket, begin)?)),
};

/// Buffers of a segment of 64 KiB each, together as large as the buffer of `recv`.
const BUFFERS: (u16, u32) = (4, 64 << 10);

/// The wait on a socket without SO_RCVTIMEO.
const ENDLESS: Duration = Duration::from_secs(1 << 32);

fn probe() -> Result<(), Unsupported> {
    // Multishot receives came with SEND_ZC.
    match uring::operations().map_err(Unsupported)? {
        operations if operations.send_zc => Ok(()),
        _ => Err(Unsupported(
            "this kernel's io_uring has no multishot receive (needs Linux 6.0 or later)".to_owned(),
        )),
    }
}

/// Receives by one request that goes on.
#[derive(Debug)]
pub struct UringReceiver {
    receives: ReceiveRing,
    /// SO_RCVTIMEO, as it was when this was opened.
    patience: Duration,
}

impl UringReceiver {
    /// A receiver on a connected socket, whose buffers begin at `begin`; a ring's memory is never the allocator's.
    pub fn new(socket: Socket, begin: BufferStart) -> io::Result<Self> {
        let first = match begin {
            BufferStart::At(offset) => offset,
            BufferStart::Malloc => 0,
        };
        let patience = socket.options().read_timeout()?.unwrap_or(ENDLESS);
        Ok(Self { receives: ReceiveRing::open(socket, BUFFERS.0, BUFFERS.1, first)?, patience })
    }
}

impl Receiver for UringReceiver {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let bytes = self.receives.recv(max, self.patience)?;
        see(bytes);
        Ok(bytes.len())
    }

    fn buffer_offset(&self) -> Option<usize> {
        Some(self.receives.buffer_offset())
    }
}
