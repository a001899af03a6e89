//! `trunc`: `recv()` with MSG_TRUNC and no buffer.
//!
//! The copies: none; the kernel drops the bytes from the socket's queue (tcp_recvmsg_locked, net/ipv4/tcp.c). A receiver
//! that reads is left out of the measurement, so that what is left is the sender, and the figures are upper bounds of
//! what any receiver can take. There is nothing to check.

use std::io;

use super::{ReceivePath, Receiver};
use crate::sys::socket::Socket;
use crate::unsupported::Unsupported;

pub(super) const PATH: ReceivePath = ReceivePath {
    name: "trunc",
    about: "recv(MSG_TRUNC): the kernel drops the bytes; isolates the sender, and cannot be combined with \
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

/// Has the kernel drop what comes.
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
