//! One socket in an epoll instance of its own, edge-triggered.
//!
//! A runtime's own epoll cannot be used: a report in the error queue raises EPOLLERR, which mio takes for an end of the
//! writing direction and tokio never clears (tokio#5550), so that every wait for room in the send buffer ends at once.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::socket::checked;

/// What has happened since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Events {
    /// There may be something to receive, or an end.
    pub(crate) readable: bool,
    /// There may be room to send, or an end.
    pub(crate) writable: bool,
    /// There may be reports, or an error.
    pub(crate) reports: bool,
}

/// Readable when something has happened.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn watching(socket: &TcpStream) -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointer, and what it returns is nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        let wanted = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT | libc::EPOLLET;
        let mut event = libc::epoll_event { events: wanted as u32, u64: 0 };
        // SAFETY: the event is live, and the call only reads it.
        checked(unsafe {
            libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        })?;
        Ok(Self(epoll))
    }

    /// What has happened; `None`: nothing.
    pub(crate) fn take(&self) -> io::Result<Option<Events>> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        loop {
            // SAFETY: the event is live, the count given is 1, and the call does not wait.
            match checked(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, 0) }) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let has = |bits: libc::c_int| event.events & bits as u32 != 0;
        let over = has(libc::EPOLLHUP);
        Ok(Some(Events {
            // An error alone is a report: one of the connection ends it, and that is EPOLLHUP (tcp_poll, net/ipv4/tcp.c).
            readable: over || has(libc::EPOLLIN | libc::EPOLLRDHUP),
            writable: over || has(libc::EPOLLOUT),
            reports: over || has(libc::EPOLLERR),
        }))
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
