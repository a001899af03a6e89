//! A sender that does what the library never does: it sends by reference and keeps nothing alive.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;

use copycost::internals::sys::socket::Socket;
use copycost::message::Message;
use copycost::send::Sender;
use socket2::SockRef;

#[derive(Debug)]
pub struct Forgetful(Socket);

impl Forgetful {
    /// On a connection, whose SO_ZEROCOPY it sets.
    pub fn new(socket: Socket) -> Self {
        turn_zero_copy_on(&socket);
        Self(socket)
    }
}

impl Sender for Forgetful {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        let sent = SockRef::from(&self.0).send_vectored_with_flags(message.slices(), libc::MSG_ZEROCOPY)?;
        assert_eq!(sent, message.size(), "a blocking send takes everything");
        Ok(())
    }
}

/// Sets SO_ZEROCOPY, which the library does only where it keeps account itself.
pub fn turn_zero_copy_on(socket: &Socket) {
    let (on, length): (libc::c_int, _) = (1, size_of::<libc::c_int>() as libc::socklen_t);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the value is a live c_int and its size is the length given.
    #[allow(unsafe_code, reason = "what is tested is what safe code cannot do")]
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, (&raw const on).cast(), length) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
