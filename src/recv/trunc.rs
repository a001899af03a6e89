//! `trunc`: `recv()` with MSG_TRUNC and no buffer.
//!
//! The copies: none. The kernel drops the bytes from the socket's queue (tcp_recvmsg_locked, net/ipv4/tcp.c).
//! This removes the receiver's cost, so the figures show the sender alone and are upper bounds for any
//! receiver. It cannot verify anything.

use std::io;

use super::{ReceivePath, Receiver};
use crate::sys::socket::Socket;
use crate::unsupported::Unsupported;

pub(super) const PATH: ReceivePath = ReceivePath {
    name: "trunc",
    description: "recv(MSG_TRUNC): the kernel drops the bytes; isolates the sender, and cannot be combined with \
        --verify",
    probe: |verify| {
        if verify {
            return Err(Unsupported(
                "it receives no bytes to verify: leave out --verify, or use another receive path".to_owned(),
            ));
        }
        Ok(())
    },
    open: |socket, _| Ok(Box::new(TruncReceiver::new(socket))),
};

/// Lets the kernel drop the received bytes.
#[derive(Debug)]
pub struct TruncReceiver {
    socket: Socket,
}

impl TruncReceiver {
    /// A receiver on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket }
    }
}

impl Receiver for TruncReceiver {
    fn recv(&mut self, max: usize, _see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        self.socket.discard(max)
    }
}
