//! `zerocopy`: one `sendmsg()` with an iovec for each field and MSG_ZEROCOPY.
//!
//! The copies: (1) `sendmsg()` pins the pages and queues references to them, without a copy; (2) where the
//! packets are received on the same machine (loopback, veth) the kernel makes the copy after all, deferred to
//! the receive softirq, which runs on the sender's CPU time (skb_orphan_frags_rx, include/linux/skbuff.h), and
//! says so in the completion; (3) the receiver's `recv()` copies once more.
//!
//! The memory belongs to the kernel until the completion is read. The crate `zerosend`, which servers use, keeps a clone of each
//! message's `Arc` until then, so what is measured here is what they get.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zerosend::{Blocking, Limits, Memory, Options, Payload, Policy, Stats};

use super::{Budget, Ledger, Release, SendPath, Sender, Unsupported, stalled};
use crate::message::{Message, Spec};
use crate::sys::socket::{CallCounter, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "zerocopy",
    about: "sendmsg(MSG_ZEROCOPY): no copy by the call; over loopback the kernel copies later; the receiver copies once",
    also: &["MSG_ZEROCOPY", "SO_ZEROCOPY"],
    release: Release::OnCompletion,
    delays: false,
    probe: has_zero_copy,
    open: |socket, _, terms| Ok(Box::new(ZeroCopy::new(socket, terms.budget)?)),
};

/// How long an aborted sender waits for packets that the network card has: milliseconds at any rate in use.
const LINGER: Duration = Duration::from_millis(100);

pub(super) fn has_zero_copy(_: &Spec) -> Result<(), Unsupported> {
    zerosend::supported().map_err(|error| {
        Unsupported(format!("this kernel has no MSG_ZEROCOPY for TCP (needs Linux 4.14 or later): {error}"))
    })
}

/// Sends all fields by reference and keeps them alive until the kernel has released them.
///
/// A user's own buffers, sent and taken back:
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Read;
/// use std::net::{TcpListener, TcpStream};
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
///
/// use copycost::message::Message;
/// use copycost::send::{Budget, Limits, Sender, ZeroCopy, drain};
/// use copycost::send::Socket;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
///
/// let socket = Socket::from(server);
/// let send_buffer = socket.options().send_buffer_size()?;
/// let mut sender = ZeroCopy::new(socket, Budget::share(&Limits::of_process(), 1, send_buffer))?;
///
/// let message = Arc::new(Message::from_bytes(*b"my own bytes"));
/// sender.send(&message)?;
///
/// let mut received = [0; 12];
/// client.read_exact(&mut received)?;
/// assert_eq!(&received, b"my own bytes");
///
/// // The kernel is done when the peer has acknowledged; then the buffer is ours alone again.
/// drain(&mut sender, Instant::now() + Duration::from_secs(10))?;
/// assert!(Arc::try_unwrap(message).is_ok());
/// # Ok(())
/// # }
/// ```
///
/// Dropping it neither waits nor cuts off what was sent: see `zerosend::Sender`.
pub struct ZeroCopy {
    sender: Blocking,
    /// The one call whose notification is being timed: a clock reading a call would cost 2 % of a small send.
    timed: Option<(u64, Instant)>,
    calls: CallCounter,
    /// What the sender does not count: how long notifications take, and what was given up.
    ledger: Ledger,
}

impl ZeroCopy {
    /// Completions are read after this many bytes, or [`REAP_CALLS`](Self::REAP_CALLS).
    pub const REAP_BYTES: usize = zerosend::Sender::READS_AFTER_BYTES;
    /// The same in calls.
    pub const REAP_CALLS: u32 = zerosend::Sender::READS_AFTER_CALLS;

    /// A sender on a connected socket; sets SO_ZEROCOPY.
    ///
    /// # Errors
    /// Where the kernel has no MSG_ZEROCOPY, or the connection has SO_ZEROCOPY already.
    pub fn new(socket: Socket, budget: Budget) -> io::Result<Self> {
        let this = Self::with_policy(socket, budget, Policy::Always)?;
        if !this.sender.get_ref().is_able() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this connection sends nothing by reference: the kernel has no MSG_ZEROCOPY, or TCP probes for a larger MTU \
                 (net.ipv4.tcp_mtu_probing)",
            ));
        }
        Ok(this)
    }

    /// By another policy; where the kernel has no MSG_ZEROCOPY, it copies.
    pub(super) fn with_policy(socket: Socket, budget: Budget, policy: Policy) -> io::Result<Self> {
        let (stream, calls) = socket.into_stream();
        let timeout = stream.write_timeout()?;
        let limits = Limits { bytes: budget.bytes, calls: budget.notifications };
        let sender = zerosend::Sender::with_options(stream, Options { policy, limits })?;
        let mut sender = Blocking::new(sender);
        sender.set_timeout(timeout)?;
        Ok(Self { sender, timed: None, calls, ledger: Ledger::default() })
    }

    pub(super) fn stats(&self) -> Stats {
        self.sender.stats()
    }

    /// How many calls the kernel has not yet released.
    pub fn outstanding(&self) -> u64 {
        self.sender.pending() as u64
    }

    /// Sends what is in `message`, as `payload` divides it.
    #[inline(always)] // For the reason that stands in `Socket::counted`.
    pub(super) fn send_payload(&mut self, payload: Payload) -> io::Result<()> {
        let before = self.sender.stats().calls_by_reference;
        let sent = self.sender.send(payload).map_err(|error| stalled(error.into()));
        let after = self.sender.stats();
        if self.timed.is_none() && after.calls_by_reference > before {
            self.timed = Some((before, Instant::now()));
        }
        self.look();
        sent
    }

    /// Notes what the last calls have brought.
    #[inline]
    fn look(&mut self) {
        let stats = self.sender.stats();
        self.calls.set(stats.system_calls);
        if let Some((id, sent)) = self.timed
            && stats.released > id
        {
            self.ledger.notification.record(sent.elapsed());
            self.timed = None;
        }
    }
}

/// A message's memory, as a payload owns it.
pub(super) fn memory(message: &Arc<Message>) -> Arc<dyn Memory> {
    Arc::clone(message) as Arc<dyn Memory>
}

impl Sender for ZeroCopy {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        self.send_payload(Payload::from(memory(message)))
    }

    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        if self.sender.pending() == 0 {
            return Ok(false);
        }
        let released = self.sender.wait_for_release(by);
        self.look();
        released.map(|_| true)
    }

    fn abort(&mut self) {
        let sender = self.sender.get_mut();
        if sender.abort().is_ok() {
            // Packets that a network card was given are returned when it has sent them.
            let by = Instant::now() + LINGER;
            while sender.pending() > 0 && Instant::now() < by {
                if !matches!(sender.reap(), Ok(1..)) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.ledger.undrained = sender.pending() as u64;
        self.look();
    }

    fn ledger(&self) -> Ledger {
        let stats = self.sender.stats();
        Ledger {
            sends: stats.calls_by_reference,
            completed: stats.released - stats.released_aborted,
            copied: stats.released_copied,
            merged_ranges: stats.merged_reports,
            enobufs: stats.enobufs,
            fallbacks: stats.fallbacks,
            plain: stats.calls_copying - stats.fallbacks,
            aborted: stats.released_aborted,
            peak_in_flight_bytes: stats.peak_in_flight_bytes as u64,
            ..self.ledger.clone()
        }
    }
}

impl fmt::Debug for ZeroCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroCopy").field("stats", &self.sender.stats()).finish_non_exhaustive()
    }
}
