//! The sender: owns a connection, and what the kernel still refers to.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::payload::Place;
use crate::receipt::Claim;
use crate::stats::Decision;
use crate::sys::connection::{self, Connection, Shared};
use crate::sys::socket::{self, Interest};
use crate::{Options, Outcome, Payload, Receipt, Released, Stats, reaper};

/// A payload on its way, and how much of it went.
///
/// It may be sent by [`Sender::try_send`] in as many steps as it takes. Once its first byte went, the rest belongs behind it: no other
/// sender takes it, and its sender takes no other payload before it. Dropped then, it ends the stream of messages: the sender
/// refuses every other payload, and ends the connection by a reset when it is dropped, so that the peer does not take a part for
/// the whole.
#[derive(Debug)]
pub struct Cursor {
    state: State,
    len: usize,
    sent: usize,
    /// Where what is copied altogether goes on; of other payloads the sender knows it.
    place: Place,
    /// By which the sender knows it; 0 before its first byte.
    number: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing of it was sent by reference, and it is here.
    Here(Payload, Option<Claim>),
    /// It is in the sender.
    There,
    Done,
}

/// What one [`Sender::try_send`] sends at most.
const TURN_BYTES: usize = 4 << 20;

/// Numbers of cursors that were begun, unique in this process.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Cursor {
    /// At the beginning of a payload. It is freed when the kernel is done with it.
    pub fn new(payload: impl Into<Payload>) -> Self {
        Self::with(payload.into(), None)
    }

    /// The same, with a receipt by which the payload comes back.
    pub fn with_receipt(payload: impl Into<Payload>) -> (Self, Receipt) {
        let (receipt, claim) = Receipt::new();
        (Self::with(payload.into(), Some(claim)), receipt)
    }

    #[inline]
    fn with(payload: Payload, claim: Option<Claim>) -> Self {
        Self {
            len: payload.len(),
            sent: 0,
            state: State::Here(payload, claim),
            place: Place::default(),
            number: 0,
        }
    }

    /// After `sent` bytes that were copied up to `place`.
    #[cfg(feature = "tokio")]
    pub(crate) fn after(payload: Payload, place: Place, sent: usize) -> (Self, Receipt) {
        let (cursor, receipt) = Self::with_receipt(payload);
        (Self { place, sent, ..cursor }, receipt)
    }

    /// How many bytes were handed to the kernel.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// How many are left.
    pub fn remaining(&self) -> usize {
        self.len - self.sent
    }

    /// Whether all of it was handed to the kernel.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The payload again, if nothing of it was sent.
    ///
    /// # Errors
    /// The cursor, where some of it was.
    #[inline]
    #[allow(clippy::result_large_err, reason = "it comes back by value, as it was given")]
    pub fn into_payload(self) -> Result<Payload, Self> {
        match self.state {
            State::Here(payload, _) if self.sent == 0 => Ok(payload),
            _ => Err(self),
        }
    }
}

/// A socket that [`Sender::new`] did not take, and why.
#[derive(Debug)]
pub struct Refused<S> {
    /// As it was.
    pub socket: S,
    /// `InvalidInput` for what is no TCP socket, `NotConnected`, or `AlreadyExists` where it has SO_ZEROCOPY already.
    pub error: io::Error,
}

impl<S> fmt::Display for Refused<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S: fmt::Debug> std::error::Error for Refused<S> {}

impl<S> From<Refused<S>> for io::Error {
    fn from(refused: Refused<S>) -> Self {
        refused.error
    }
}

/// Sends payloads on one connection, by reference where they ask for it and its [`Policy`](crate::Policy) agrees.
///
/// It never blocks and starts no thread. With an event loop, register its descriptor ([`AsRawFd`]): when it is writable, call
/// [`try_send`](Self::try_send) again; when it has an error (EPOLLERR, which comes without being asked for), call
/// [`reap`](Self::reap). To block, use [`Blocking`](crate::Blocking).
///
/// # What is assumed
/// No other handle to the same socket, a `try_clone` made before or a descriptor in another process, sends with MSG_ZEROCOPY or reads
/// the error queue: the kernel would count those sends as well. After a fork one of the processes uses the sender. DESIGN.md
/// says what follows if this is not so.
///
/// # Dropping it
/// Does not block, does not cut off what was sent, and does not leak: see [`linger`](crate::linger). What the kernel is done with is freed when
/// reports are read: within `try_send` now and then, and by [`reap`](Self::reap) and [`Read`]. A connection that does none of these keeps
/// the payloads that it sent last.
#[derive(Debug)]
pub struct Sender {
    connection: Living,
    /// The cursor whose payload is sent in part.
    begun: Option<u64>,
}

/// A connection that is never closed while the kernel refers to its payloads.
#[derive(Debug)]
struct Living {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    process: u32,
}

impl Deref for Living {
    type Target = Connection;

    #[inline]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Living {
    #[inline]
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.process == std::process::id() {
            reaper::take_over(connection);
        } else {
            // After a fork it is the other process's: this one closes its descriptor, and frees nothing that both may share.
            connection.leak();
        }
    }
}

impl Sender {
    /// `try_send` reads reports after this many bytes by reference, or [`READS_AFTER_CALLS`](Self::READS_AFTER_CALLS).
    pub const READS_AFTER_BYTES: usize = connection::REAP_BYTES;
    /// The same in calls.
    pub const READS_AFTER_CALLS: u32 = connection::REAP_CALLS;

    /// On a connected TCP socket, a `TcpStream` or an `OwnedFd`, on which nobody has sent by reference yet; sets its SO_ZEROCOPY.
    /// Where the kernel cannot send by reference, everything is copied, and [`Sender::is_able`] says so.
    ///
    /// # Errors
    /// [`Refused`], which gives the socket back.
    pub fn new<S: Into<OwnedFd> + From<OwnedFd>>(socket: S) -> Result<Self, Refused<S>> {
        Self::with_options(socket, Options::default())
    }

    /// The same with another policy, or other limits.
    ///
    /// # Errors
    /// As for [`Sender::new`].
    pub fn with_options<S: Into<OwnedFd> + From<OwnedFd>>(
        socket: S,
        options: impl Into<Options>,
    ) -> Result<Self, Refused<S>> {
        match Connection::new(TcpStream::from(socket.into()), options.into()) {
            Ok(connection) => {
                let connection = Living { connection: Some(connection), process: std::process::id() };
                Ok(Self { connection, begun: None })
            }
            Err((stream, error)) => Err(Refused { socket: OwnedFd::from(stream).into(), error }),
        }
    }

    /// Whether the kernel takes sends by reference on this connection. It has no MSG_ZEROCOPY before Linux 4.14; it takes none on a
    /// kTLS socket; and none is made where TCP probes for a larger MTU (net.ipv4.tcp_mtu_probing), because what such a probe
    /// sends is not in any report.
    pub fn is_able(&self) -> bool {
        self.connection.is_able()
    }

    /// Sends what is left of a payload, as far as the send buffer has room, or 4 MiB of it, so that a fast reader does not keep
    /// an event loop: how many bytes that were. The cursor keeps its place.
    ///
    /// # Errors
    /// `WouldBlock` where nothing could be sent now; `InvalidInput` where another payload was begun and is not finished, or
    /// this one was begun on another sender; otherwise those of the connection, after which nothing can be sent. What was
    /// sent before an error is in [`Cursor::sent`].
    pub fn try_send(&mut self, cursor: &mut Cursor) -> io::Result<usize> {
        let before = cursor.sent;
        loop {
            match self.step(cursor, libc::MSG_DONTWAIT) {
                Ok(()) if !cursor.is_done() && cursor.sent - before < TURN_BYTES => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock || cursor.sent == before => {
                    return Err(error);
                }
                _ => return Ok(cursor.sent - before),
            }
        }
    }

    /// One call of a payload of which nothing was sent, if it is to be copied altogether: how many bytes went, up to `place`. Where
    /// it was not all of them, a cursor [`after`](Cursor::after) them must be [begun](Self::set_begun).
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn try_copy(&mut self, payload: &Payload, place: &mut Place) -> io::Result<usize> {
        self.check(0)?;
        let decision = self.connection.decide(payload);
        if decision.by_reference() {
            return Ok(0);
        }
        let sent = self.connection.copy(payload, place, payload.len(), libc::MSG_DONTWAIT)?;
        self.connection.count(decision);
        let _ = self.connection.read_reports_if_due();
        Ok(sent)
    }

    /// How many bytes were handed to the kernel.
    #[cfg(feature = "tokio")]
    pub(crate) fn written(&self) -> u64 {
        self.connection.written()
    }

    /// Copies some of `slices`, which are borrowed: they cannot go by reference.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_write(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.check(0)?;
        let sent = self.connection.write(slices, libc::MSG_DONTWAIT)?;
        let _ = self.connection.read_reports_if_due();
        Ok(sent)
    }

    /// One call. Without MSG_DONTWAIT among the flags it blocks as the socket does.
    #[inline]
    pub(crate) fn step(&mut self, cursor: &mut Cursor, flags: libc::c_int) -> io::Result<()> {
        if cursor.is_done() {
            return Ok(());
        }
        self.check(cursor.number)?;
        let left = cursor.remaining();
        let decision = match &cursor.state {
            State::Here(payload, _) if cursor.sent == 0 => Some(self.connection.decide(payload)),
            _ => None,
        };
        let sent = match &mut cursor.state {
            // What is copied altogether need not be kept.
            State::Here(payload, _) if !decision.is_some_and(Decision::by_reference) => {
                self.connection.copy(payload, &mut cursor.place, left, flags)?
            }
            _ => {
                self.begin(cursor);
                // Before the call: where a `Memory` panics in it, no other payload may come behind this one.
                self.set_begun(cursor);
                match self.connection.send(left, flags) {
                    Ok(sent) => sent,
                    Err(error) => {
                        if cursor.sent == 0 {
                            self.take_back(cursor);
                        }
                        return Err(error);
                    }
                }
            }
        };
        decision.into_iter().for_each(|decision| self.connection.count(decision));
        cursor.sent += sent;
        if cursor.sent < cursor.len {
            self.set_begun(cursor);
        } else {
            self.begun = None;
            if let State::Here(payload, Some(claim)) = mem::replace(&mut cursor.state, State::Done) {
                claim.resolve(Released { payload, outcome: Outcome::Copied });
            }
        }
        // An error of the queue is not one of the bytes, which went: `reap` reports it.
        let _ = self.connection.read_reports_if_due();
        Ok(())
    }

    /// From now on only this cursor may go on.
    pub(crate) fn set_begun(&mut self, cursor: &mut Cursor) {
        if cursor.number == 0 {
            cursor.number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        }
        self.begun = Some(cursor.number);
    }

    /// Whether it is the turn of the cursor with this number, which is 0 for what was not begun.
    #[inline]
    fn check(&self, number: u64) -> io::Result<()> {
        if !self.connection.is_disconnected() && (number, self.begun) == (0, None) {
            return Ok(());
        }
        let noted = || self.connection.shared().noted();
        let refused = |why| Err(noted().unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, why)));
        if self.connection.is_disconnected() {
            return Err(noted().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()));
        }
        match (number, self.begun) {
            (0, None) => Ok(()),
            (number, Some(begun)) if number == begun => Ok(()),
            (0, Some(_)) => refused("another payload was begun on this connection and is not finished"),
            _ => refused("this payload was begun on another connection"),
        }
    }

    /// Moves a payload from its cursor into the connection, if it is there.
    #[inline]
    fn begin(&mut self, cursor: &mut Cursor) {
        if let State::Here(..) = cursor.state
            && let State::Here(payload, claim) = mem::replace(&mut cursor.state, State::There)
        {
            self.connection.begin(payload, claim);
        }
    }

    /// Nothing of a payload could be sent: it is the cursor's again.
    fn take_back(&mut self, cursor: &mut Cursor) {
        if let Some((payload, claim)) = self.connection.take_back() {
            cursor.state = State::Here(payload, claim);
            cursor.number = 0;
            self.begun = None;
        }
    }

    /// Reads what the kernel has reported, and resolves the receipts of what it is done with. Returns how many calls were released.
    ///
    /// # Errors
    /// An error of the connection, once it has one: then the descriptor stays ready, and there is nothing to wait for.
    /// `InvalidData` where the kernel has reported what was not sent: another handle of the socket has sent by
    /// reference. Nothing more is released then.
    pub fn reap(&mut self) -> io::Result<usize> {
        let released = self.connection.read_reports()?;
        if self.connection.is_frozen() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the kernel has reported sends that this sender did not make: another handle of the socket sends by reference",
            ));
        }
        if self.connection.in_flight() == 0 {
            self.connection.shrink();
        }
        if released == 0 && !self.connection.is_disconnected() {
            self.connection.take_error()?;
            // Taken by the read half before, or an orderly end of both directions: the descriptor stays ready all the same.
            if let Some(error) = self.connection.shared().noted() {
                return Err(error);
            }
            if self.connection.in_flight() == 0 && self.connection.is_over() {
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
        Ok(released)
    }

    /// How many calls by reference the kernel is not done with.
    #[inline]
    pub fn pending(&self) -> usize {
        self.connection.in_flight()
    }

    /// What was counted so far.
    #[inline]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// Waits until a send may go on, or only for reports: false at the deadline.
    pub(crate) fn wait(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> io::Result<Option<socket::Ready>> {
        socket::wait(self.connection.stream(), interest, deadline)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.connection.stream()
    }

    /// A handle that receives from the connection, for another thread or beside this one.
    pub fn read_half(&self) -> ReadHalf {
        ReadHalf { shared: Arc::clone(self.connection.shared()) }
    }

    /// Half-closes: what was sent goes out, then the end of the stream. Nothing can be sent after it.
    ///
    /// # Errors
    /// `InvalidInput` where a payload was begun and is not finished: its part would look like the whole. Otherwise those of
    /// shutdown(2).
    pub fn shutdown(&mut self) -> io::Result<()> {
        if self.begun.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a payload was begun and is not finished",
            ));
        }
        self.connection.shutdown_send()
    }

    /// Ends the connection by a reset, and reads what the kernel reports then. It drops what the peer has not acknowledged, and so
    /// gives back what a peer never reads. What a network card still has is pending after it, and comes within moments by
    /// [`Sender::reap`].
    ///
    /// # Errors
    /// Those of connect(2) with AF_UNSPEC.
    pub fn abort(&mut self) -> io::Result<()> {
        self.connection.disconnect()
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream().local_addr()
    }

    /// TCP_NODELAY
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.stream().set_nodelay(on)
    }

    /// O_NONBLOCK, which only the [reading](ReadHalf) of a sender heeds.
    ///
    /// # Errors
    /// Those of ioctl(2).
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.stream().set_nonblocking(on)
    }

    /// The socket again, when the kernel is done with everything and there is no [`ReadHalf`]. Its SO_ZEROCOPY stays set, because the
    /// kernel goes on counting where it was: no sender can be made of it again.
    ///
    /// # Errors
    /// The sender, where something is pending or sent in part, or a read half is left.
    #[allow(clippy::result_large_err, reason = "it comes back by value, as it was given")]
    pub fn into_inner<S: From<OwnedFd>>(mut self) -> Result<S, Self> {
        if self.pending() > 0 || self.begun.is_some() || self.connection.is_frozen() {
            return Err(self);
        }
        if Arc::strong_count(self.connection.shared()) > 1 {
            return Err(self);
        }
        let shared = Arc::clone(self.connection.shared());
        // Nothing is in flight, so that it is dropped and not passed on.
        drop(self.connection.connection.take());
        let shared = Arc::try_unwrap(shared).expect("nobody else has one, and nobody can make one");
        Ok(OwnedFd::from(shared.stream).into())
    }
}

impl AsRawFd for Sender {
    /// To poll, and for options: nothing is to be sent on it. There is no `AsFd`, through which the standard library's safe
    /// functions could clone the socket.
    ///
    /// Take it out of an event loop before the sender is dropped: the descriptor stays open while the sender is waited for in the
    /// background, and the loop would be told of its events.
    fn as_raw_fd(&self) -> RawFd {
        self.stream().as_raw_fd()
    }
}

impl Read for Sender {
    /// As [`ReadHalf`]. Reads reports first: who asks for the next request may send nothing for long.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.connection.in_flight() > 0 {
            let _ = self.connection.read_reports();
        }
        self.connection.shared().receive(buffer)
    }
}

/// Receives from the connection of a [`Sender`]. The connection stays open until both are dropped; the peer sees the end of the stream when the
/// sender is.
#[derive(Debug, Clone)]
pub struct ReadHalf {
    shared: Arc<Shared>,
}

impl ReadHalf {
    /// SO_RCVTIMEO: how long a read blocks.
    ///
    /// # Errors
    /// Those of setsockopt(2), and `InvalidInput` for no time.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.stream.set_read_timeout(timeout)
    }

    /// Ends the receiving direction; whoever waits in a read gets the end of the stream.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn shutdown(&self) -> io::Result<()> {
        self.shared.stream.shutdown(Shutdown::Read)
    }
}

impl AsRawFd for ReadHalf {
    /// As [`Sender`]'s.
    fn as_raw_fd(&self) -> RawFd {
        self.shared.stream.as_raw_fd()
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.shared.receive(buffer)
    }
}

impl Read for &ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.shared.receive(buffer)
    }
}
