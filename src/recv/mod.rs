//! The receive paths: ways to take bytes from the socket. The same shape as `send/`, one file a path.

mod plain;
mod verifier;

use std::fmt;
use std::io;

use crate::sys::socket::Socket;

pub use plain::Plain;
pub use verifier::{Verifier, Wrong};

/// Every receive path, in the order in which they are shown.
pub static ALL: &[ReceivePath] = &[plain::PATH];

/// One way to take bytes from a connection.
#[derive(Debug)]
pub struct ReceivePath {
    /// The name in flags and records.
    pub name: &'static str,
    /// One line: the copies, and who makes them.
    pub about: &'static str,
    /// A receiver on a connection.
    pub open: fn(Socket) -> io::Result<Box<dyn Receiver>>,
}

/// Takes bytes from a connection.
pub trait Receiver: Send + fmt::Debug {
    /// Takes at most `max` bytes, shows each chunk to `see` in order, and returns how many there were; 0 is the
    /// end of the stream. A timeout is `WouldBlock`.
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize>;
}
