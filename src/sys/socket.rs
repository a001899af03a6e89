//! A TCP socket that counts its system calls. Calls per message are part of the cost of a path, and a path
//! that counted them itself could miss one.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

/// The number of system calls of a socket's owner. Clones share one count, and only one thread adds to it.
#[derive(Debug, Clone, Default)]
pub struct CallCounter(Arc<AtomicU64>);

impl CallCounter {
    /// The calls so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the number of calls, for a caller that counts them elsewhere.
    #[inline]
    pub(crate) fn set(&self, calls: u64) {
        self.0.store(calls, Ordering::Relaxed);
    }

    /// Adds one call. It uses a load and a store instead of an atomic addition, because there is one writer
    /// and every send calls it.
    #[inline]
    pub(super) fn add(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// A TCP socket. Calls interrupted by a signal are repeated; sending never raises SIGPIPE.
#[derive(Debug)]
pub struct Socket {
    inner: socket2::Socket,
    calls: CallCounter,
}

/// The options of a socket and other calls of [`socket2::Socket`], except its sends. Those take any flag,
/// including MSG_ZEROCOPY, and any slice, which may be freed before the kernel has read it.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions<'a>(&'a socket2::Socket);

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        impl SocketOptions<'_> {
            $(
                #[doc = concat!("[`socket2::Socket::", stringify!($name), "`]")]
                ///
                /// # Errors
                /// Those of the call.
                pub fn $name(self $(, $argument: $type)*) -> io::Result<$result> {
                    self.0.$name($($argument),*)
                }
            )+
        }
    };
}

forward! {
    bind(address: &SockAddr) -> ();
    connect(address: &SockAddr) -> ();
    connect_timeout(address: &SockAddr, timeout: Duration) -> ();
    listen(backlog: i32) -> ();
    local_addr() -> SockAddr;
    peer_addr() -> SockAddr;
    read_timeout() -> Option<Duration>;
    recv_buffer_size() -> usize;
    send_buffer_size() -> usize;
    set_linger(time: Option<Duration>) -> ();
    set_read_timeout(time: Option<Duration>) -> ();
    set_recv_buffer_size(bytes: usize) -> ();
    set_reuse_address(reuse: bool) -> ();
    set_send_buffer_size(bytes: usize) -> ();
    set_tcp_congestion(name: &[u8]) -> ();
    set_tcp_keepalive(probes: &TcpKeepalive) -> ();
    set_tcp_nodelay(on: bool) -> ();
    set_tcp_quickack(on: bool) -> ();
    set_tcp_user_timeout(time: Option<Duration>) -> ();
    set_write_timeout(time: Option<Duration>) -> ();
    shutdown(how: Shutdown) -> ();
    take_error() -> Option<io::Error>;
    tcp_congestion() -> Vec<u8>;
    tcp_nodelay() -> bool;
    write_timeout() -> Option<Duration>;
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// Data, or the end of the stream.
    Ready,
    /// Only the error queue: it has notifications, or the socket has an error. It ends every poll until the
    /// queue is empty.
    ByErrorQueue,
    /// The deadline.
    Late,
}

/// Whether this kernel has MSG_ZEROCOPY for TCP.
pub use zerosend::supported as has_zero_copy;

/// Flags of a call that copies. MSG_ZEROCOPY is not one of them, because the kernel would read borrowed
/// memory that may be freed or written by then; zerosend holds the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendFlags(libc::c_int);

impl SendFlags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// MSG_MORE: the next data may share a segment.
    pub const MORE: Self = Self(libc::MSG_MORE);
    /// MSG_DONTWAIT: a full send buffer is `WouldBlock`.
    pub const DONTWAIT: Self = Self(libc::MSG_DONTWAIT);

    /// The flags for the call. A send never raises SIGPIPE.
    pub(super) const fn bits(self) -> libc::c_int {
        self.0 | libc::MSG_NOSIGNAL
    }
}

impl Socket {
    /// A new TCP socket of the address family of `address`.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map(Self::from)
    }

    /// Another handle on the same connection with its own call count.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.inner.try_clone().map(Self::from)
    }

    /// The socket as the standard library's type, and its count, which the caller must then maintain.
    pub fn into_stream(self) -> (std::net::TcpStream, CallCounter) {
        (self.inner.into(), self.calls)
    }

    /// The count of calls made through this handle.
    pub fn calls(&self) -> CallCounter {
        self.calls.clone()
    }

    /// The socket options. Their calls are not counted, because they are set before the clock starts.
    pub fn options(&self) -> SocketOptions<'_> {
        SocketOptions(&self.inner)
    }

    /// `send(2)`, which copies.
    ///
    /// This and [`Socket::sendmsg`] bypass glibc's functions, which are cancellation points and add about 1 %
    /// to a small send (docs/tuning.md, "Small costs around a system call"). A Rust thread is never
    /// cancelled. A program that calls glibc pays this on every path.
    #[inline]
    pub fn send(&self, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        let (nowhere, no_length) = (ptr::null::<libc::sockaddr>(), 0);
        let flags = flags.bits();
        // SAFETY: pointer and length are those of a live slice, which the call only reads, and no flag makes
        // the kernel read it later. sendto(2) with a null address is send(2).
        self.counted(|fd| unsafe {
            libc::syscall(libc::SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, nowhere, no_length)
        })
    }

    /// `sendmsg(2)` with one iovec for each slice, which copies.
    #[inline]
    pub fn sendmsg(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        let flags = flags.bits();
        // SAFETY: msghdr is plain old data, and all zeroes means no address, no payload, no control.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len() as _;
        // SAFETY: an IoSlice is an iovec (documented); `message` points to a live slice of them, and each of
        // them is a live slice of bytes. The call writes to none of them, and no flag makes the kernel read
        // them after it has returned.
        self.counted(|fd| unsafe { libc::syscall(libc::SYS_sendmsg, fd, &raw const message, flags) })
    }

    /// `recv(2)`: 0 is the end of the stream.
    #[inline]
    pub fn recv(&self, bytes: &mut [u8]) -> io::Result<usize> {
        // SAFETY: pointer and length are those of a live slice, which is borrowed to be written.
        self.counted(|fd| unsafe {
            libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) as libc::c_long
        })
    }

    /// `recv(2)` with MSG_TRUNC: the kernel drops at most `most` bytes (1 GiB at a time) and returns their
    /// number; 0 is the end of the stream.
    #[inline]
    pub fn discard(&self, most: usize) -> io::Result<usize> {
        let most = most.min(1 << 30);
        // SAFETY: with MSG_TRUNC a TCP socket writes nothing to the buffer (tcp(7)), so it may be null.
        self.counted(|fd| unsafe { libc::recv(fd, ptr::null_mut(), most, libc::MSG_TRUNC) as libc::c_long })
    }

    /// `poll(2)` for data or the end of the stream.
    pub fn readable_by(&self, until: Instant) -> io::Result<WakeReason> {
        self.poll(libc::POLLIN, until)
    }

    fn poll(&self, events: i16, until: Instant) -> io::Result<WakeReason> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, because rounding down would turn the last millisecond into a spin.
            let timeout = left.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
            let mut poll = libc::pollfd { fd: self.inner.as_raw_fd(), events, revents: 0 };
            self.calls.add();
            // SAFETY: `poll` is one valid pollfd that outlives the call, and the count given is 1.
            match super::checked(unsafe { libc::poll(&raw mut poll, 1, timeout) }) {
                Ok(0) if left.is_zero() => return Ok(WakeReason::Late),
                Ok(0) => {}
                Ok(_) if poll.revents == libc::POLLERR => return Ok(WakeReason::ByErrorQueue),
                Ok(_) => return Ok(WakeReason::Ready),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `connect(2)` with AF_UNSPEC: the kernel drops the connection and all its data, and so releases memory
    /// that the peer never read (net/ipv4/tcp.c, tcp_disconnect).
    pub fn disconnect(&self) -> io::Result<()> {
        // SAFETY: sockaddr is plain old data, all zeroes is a valid value, and with AF_UNSPEC (0) the call
        // reads no more of it.
        let result = unsafe {
            let unspecified: libc::sockaddr = std::mem::zeroed();
            libc::connect(
                self.inner.as_raw_fd(),
                &raw const unspecified,
                size_of::<libc::sockaddr>() as libc::socklen_t,
            )
        };
        super::checked(result).map(drop)
    }

    /// `shutdown(2)` of both directions. Every thread that blocks on this connection, on any handle, wakes
    /// up.
    pub fn shutdown(&self) {
        // ENOTCONN means that the other end has already closed the connection.
        let _ = self.inner.shutdown(Shutdown::Both);
    }

    /// `accept(2)`. A listener that was shut down returns EINVAL.
    pub fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        let (inner, peer) = self.inner.accept()?;
        let peer = peer.as_socket().ok_or_else(|| io::Error::other("a peer without an IP address"))?;
        Ok((Self::from(inner), peer))
    }

    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a socket without an IP address"))
    }

    /// Fills `bytes` before `deadline`. Returns false if the stream ended before the first byte. A later end
    /// is an error, and so is a missed deadline. It changes the receive timeout.
    pub fn recv_exact(&self, bytes: &mut [u8], deadline: Instant) -> io::Result<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.inner.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.recv(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Makes `call` and counts it, and repeats it if a signal interrupts it. It is inlined, and so are its
    /// callers up to the measured loop: see docs/tuning.md, "Small costs around a system call".
    #[inline]
    pub(super) fn counted(&self, mut call: impl FnMut(libc::c_int) -> libc::c_long) -> io::Result<usize> {
        loop {
            self.calls.add();
            // A count that is not a usize is -1.
            if let Ok(count) = usize::try_from(call(self.inner.as_raw_fd())) {
                return Ok(count);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl From<socket2::Socket> for Socket {
    fn from(inner: socket2::Socket) -> Self {
        Self { inner, calls: CallCounter::default() }
    }
}

impl From<std::net::TcpStream> for Socket {
    fn from(stream: std::net::TcpStream) -> Self {
        socket2::Socket::from(stream).into()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}
