//! A TCP socket by its system calls. Calls that a signal interrupts are repeated, and sending never raises SIGPIPE.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most pieces of memory that one call sends. More would cost stack and few payloads have them.
pub(crate) const PIECES: usize = 64;

/// Room for the control data of one entry of the error queue: an extended error with an address, and what other options add
/// before it, such as timestamps.
pub(crate) const CONTROL_BYTES: usize = 512;

/// The result of a call that returns -1 on failure.
pub(super) fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same, again when a signal interrupts it. Inlined, as is what stands between it and the caller of a send: the kernel's own calls
/// evict ours from the CPU's return stack, so that each return to a frame from before the call is mispredicted.
#[inline]
fn repeated(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        // A count that is no usize is -1.
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The value of an integer option.
fn option(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let (mut value, mut length): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the value is a live c_int, its size is the length given, and the kernel writes to both.
    checked(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) })?;
    Ok(value)
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is a live c_int and its size is the length given.
    checked(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Which bytes one call sends: up to [`PIECES`] pieces that live for `'a`.
pub(crate) struct Pieces<'a> {
    /// The first `count` are initialised.
    pieces: [MaybeUninit<io::IoSlice<'a>>; PIECES],
    count: usize,
    bytes: usize,
    most: usize,
}

impl<'a> Pieces<'a> {
    /// With room for `most` bytes.
    #[inline]
    pub(crate) fn new(most: usize) -> Self {
        Self { pieces: [const { MaybeUninit::uninit() }; PIECES], count: 0, bytes: 0, most }
    }

    /// One more piece, or what there is room for of it. False: there is no more room.
    #[inline]
    pub(crate) fn push(&mut self, piece: &'a [u8]) -> bool {
        let piece = &piece[..piece.len().min(self.most - self.bytes)];
        if let Some(slot) = self.pieces.get_mut(self.count)
            && !piece.is_empty()
        {
            slot.write(io::IoSlice::new(piece));
            self.count += 1;
            self.bytes += piece.len();
        }
        self.count < PIECES && self.bytes < self.most
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn as_slice(&self) -> &[io::IoSlice<'a>] {
        // SAFETY: the first `count` are initialised, and a MaybeUninit has the layout of what is in it.
        unsafe { std::slice::from_raw_parts(self.pieces.as_ptr().cast(), self.count) }
    }
}

/// Whether a connected TCP socket, and nothing that only looks like one: MPTCP numbers its sends otherwise.
pub(crate) fn require_connected_tcp(fd: &TcpStream) -> io::Result<()> {
    let is = |name, wanted: &[libc::c_int]| {
        option(fd.as_raw_fd(), libc::SOL_SOCKET, name).map(|value| wanted.contains(&value))
    };
    let tcp = is(libc::SO_DOMAIN, &[libc::AF_INET, libc::AF_INET6])?
        && is(libc::SO_PROTOCOL, &[libc::IPPROTO_TCP])?;
    if !tcp {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a TCP socket"));
    }
    match state(fd)? {
        // SYN_RECV: accepted by TCP Fast Open, which may send.
        tcp_state::ESTABLISHED | tcp_state::SYN_RECV | tcp_state::CLOSE_WAIT => fd.peer_addr().map(drop),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Whether TCP in the network namespace of this thread may probe for a larger MTU (net.ipv4.tcp_mtu_probing), or may not tell. A probe refers to the pages of
/// calls by reference without a part in their reports (tcp_clone_payload, net/ipv4/tcp_output.c, since Linux 6.2): what is reported may be
/// sent once more.
pub(crate) fn probes_mtu() -> bool {
    thread_local! {
        // Read once a second at most: it is the administrator's, and a server may have thousands of connections in that time. For each
        // thread, which may be in a namespace of its own.
        static LAST: Cell<Option<(Instant, bool)>> = const { Cell::new(None) };
    }
    match LAST.get() {
        Some((at, probes)) if at.elapsed() < Duration::from_secs(1) => probes,
        _ => {
            // What cannot be read may be anything.
            let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_mtu_probing").unwrap_or_default();
            let probes = text.trim() != "0";
            LAST.set(Some((Instant::now(), probes)));
            probes
        }
    }
}

/// Bytes that the peer has sent and nobody has read (SIOCINQ).
pub(crate) fn unread(fd: &TcpStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD, which is SIOCINQ, writes one int to the address given, which is live.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Bytes that were handed to the kernel and not acknowledged, a FIN among them (SIOCOUTQ).
pub(crate) fn unacknowledged(fd: &TcpStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int to the address given, which is live.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// RLIMIT_NOFILE: how many descriptors this process may have.
pub(crate) fn most_descriptors() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is live, and the kernel writes it.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }).ok()?;
    usize::try_from(limit.rlim_cur).ok()
}

/// SO_LINGER off: a close neither waits nor drops what is unsent.
pub(crate) fn forget_linger(fd: &TcpStream) {
    let off = libc::linger { l_onoff: 0, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value is a live linger and its size is the length given. That it fails is no reason to keep the socket.
    let _ = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const off).cast(), length)
    };
}

/// Runs `start` with every signal blocked, so that the threads which it starts handle none.
pub(crate) fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: sigset_t is plain old data, which the calls fill; both sets are live. They cannot fail with these arguments.
    let before = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let started = start();
    // SAFETY: `before` was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    started
}

/// Sets SO_ZEROCOPY, once in a connection's life: the kernel numbers what is sent by reference from 0 on, whatever handle it is
/// sent by. `AlreadyExists` where it is set already. The other errors mean that the kernel has no MSG_ZEROCOPY.
pub(crate) fn begin_zerocopy(fd: &TcpStream) -> io::Result<()> {
    // Of two threads with a handle each, one must see what the other has set.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let fd = fd.as_raw_fd();
    if option(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY)? != 0 {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "this connection has SO_ZEROCOPY set already, perhaps through another handle: its sends would be mistaken for ours",
        ));
    }
    set_option(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)
}

/// Whether this kernel has MSG_ZEROCOPY for TCP. Where it has no SO_ZEROCOPY it would ignore the flag without a word (net/ipv4/tcp.c).
///
/// # Errors
/// What the kernel answers where it has not.
pub fn supported() -> io::Result<()> {
    // SAFETY: socket(2) takes no pointer; what it returns is a new descriptor, which nobody else has.
    let fd = unsafe {
        let fd =
            checked(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_TCP))?;
        OwnedFd::from_raw_fd(fd)
    };
    set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)
}

/// One `sendmsg(2)`, or `send(2)` for a single piece, which takes the kernel 0.1 µs less at 1 KiB (loopback, system-call entry in
/// `copycost explain -p flatten,adaptive -s 1KiB`). `flags` beside MSG_NOSIGNAL. It goes past glibc's function, which is a cancellation
/// point: that costs about 1 % of a small send, and a Rust thread is never cancelled.
///
/// # Safety
/// With MSG_ZEROCOPY the bytes must stay where they are, unchanged, until the kernel has reported this call or for ever. Without it
/// they are copied before this returns.
// Of several callers, and none may stand between: see `repeated`.
#[inline(always)]
pub(crate) unsafe fn send(fd: &TcpStream, pieces: &Pieces<'_>, flags: libc::c_int) -> io::Result<usize> {
    let (fd, flags) = (fd.as_raw_fd(), flags | libc::MSG_NOSIGNAL);
    if let [piece] = pieces.as_slice() {
        let none = std::ptr::null::<libc::sockaddr>();
        // SAFETY: pointer and length are those of a slice that lives for the call, which reads it, and there is no address; what the
        // kernel refers to after it is the caller's promise.
        return repeated(|| unsafe {
            libc::syscall(libc::SYS_sendto, fd, piece.as_ptr(), piece.len(), flags, none, 0) as libc::ssize_t
        });
    }
    // SAFETY: msghdr is plain old data, and all zeroes means no address, no payload, no control.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice has the layout of iovec (std::io::IoSlice, "guaranteed to be ABI compatible with the iovec type on Unix"); sendmsg
    // does not write to it.
    message.msg_iov = pieces.pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.count as _;
    repeated(|| {
        // SAFETY: `message` points at `count` initialised iovecs, whose bytes live for the call; what the kernel refers to after
        // it is the caller's promise.
        unsafe { libc::syscall(libc::SYS_sendmsg, fd, &raw const message, flags) as libc::ssize_t }
    })
}

/// The control data of the next entry of the error queue; `None` when the queue is empty. It never blocks, and an entry has no
/// payload of ours: its return value of 0 is no end of stream (net/core/sock.c, sock_recv_errqueue).
pub(crate) fn recv_error_queue<'a>(fd: &TcpStream, control: &'a mut Control) -> io::Result<Option<&'a [u8]>> {
    // SAFETY: msghdr is plain old data, and all zeroes means no address, no payload, no control.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: `message` points at `control`, which is live and has the length given, and at nothing else.
    let result = repeated(|| unsafe {
        libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    });
    match result {
        Ok(_) => {
            let length = (message.msg_controllen as usize).min(CONTROL_BYTES);
            Ok(Some(&control.0[..length]))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the kernel writes control data: aligned as `cmsghdr` is.
#[repr(align(8))]
pub(crate) struct Control([u8; CONTROL_BYTES]);

impl Control {
    pub(crate) fn new() -> Self {
        Self([0; CONTROL_BYTES])
    }
}

/// Throws away up to 1 MiB of what the peer has sent. 0: the peer has ended its direction.
pub(crate) fn discard(fd: &TcpStream) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing to the buffer (tcp(7)), so that it may be null.
    repeated(|| unsafe {
        libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), 1 << 20, libc::MSG_TRUNC | libc::MSG_DONTWAIT)
    })
}

/// What to wait for beside the error queue, which is always waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Only reports, and an end of the connection.
    Reports,
    /// Room in the send buffer.
    Writable,
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    /// There may be something in the error queue, or the connection is over.
    pub(crate) reports: bool,
    /// A send may go on, or fail.
    pub(crate) writable: bool,
    /// The connection is over in both directions: a wait for anything else ends at once from now on.
    pub(crate) hung_up: bool,
}

/// `poll(2)`; `None` at the deadline, without one never.
pub(crate) fn wait(
    fd: &TcpStream,
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<Option<Ready>> {
    let events = if interest == Interest::Writable { libc::POLLOUT } else { 0 };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: `poll` is one valid pollfd that outlives the call, and the count given is 1.
        match checked(unsafe { libc::poll(&raw mut poll, 1, milliseconds(left)) }) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
            Ok(0) => {}
            Ok(_) => {
                let has = |bits| poll.revents & bits != 0;
                return Ok(Some(Ready {
                    reports: has(libc::POLLERR | libc::POLLHUP),
                    writable: has(libc::POLLOUT | libc::POLLHUP),
                    hung_up: has(libc::POLLHUP),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// As poll(2) and epoll_wait(2) take it, rounded up: rounding down would turn the last millisecond into a spin.
pub(crate) fn milliseconds(left: Option<Duration>) -> libc::c_int {
    left.map_or(-1, |left| left.as_micros().div_ceil(1000).min(i32::MAX as u128) as libc::c_int)
}

/// `connect(2)` with AF_UNSPEC: the kernel drops the connection and everything it still holds of it, and so gives back the
/// memory that a peer never read (net/ipv4/tcp.c, tcp_disconnect).
pub(crate) fn disconnect(fd: &TcpStream) -> io::Result<()> {
    // SAFETY: sockaddr is plain old data, all zeroes is a valid value, and AF_UNSPEC (0) reads no more of it.
    checked(unsafe {
        let unspecified: libc::sockaddr = std::mem::zeroed();
        libc::connect(fd.as_raw_fd(), &raw const unspecified, size_of::<libc::sockaddr>() as libc::socklen_t)
    })
    .map(drop)
}

/// States of a connection (include/net/tcp_states.h).
mod tcp_state {
    pub(super) const ESTABLISHED: u8 = 1;
    pub(super) const SYN_RECV: u8 = 3;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const CLOSE_WAIT: u8 = 8;
}

/// Whether the connection is over: reset, timed out, disconnected, or ended by both.
pub(crate) fn is_closed(fd: &TcpStream) -> bool {
    state(fd).is_ok_and(|state| state == tcp_state::CLOSE)
}

/// What TCP thinks of the connection: the first byte of TCP_INFO.
fn state(fd: &TcpStream) -> io::Result<u8> {
    let (mut state, mut length): (u8, libc::socklen_t) = (0, 1);
    // SAFETY: the value is one live byte, as the length says, and the kernel writes to both.
    checked(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    })?;
    Ok(state)
}
