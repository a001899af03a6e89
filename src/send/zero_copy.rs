//! `zerocopy`: one `sendmsg()` with an iovec for each field and MSG_ZEROCOPY.
//!
//! The copies: (1) `sendmsg()` pins the pages and queues references to them without a copy; (2) if the
//! receiver is on the same machine (loopback, veth), the kernel copies later, in the receive softirq on the
//! sender's CPU time (skb_orphan_frags_rx, include/linux/skbuff.h), and the completion says so; (3) the
//! receiver's `recv()` copies once more.
//!
//! The memory belongs to the kernel until the completion is read. Until then the crate `zerosend` keeps a
//! clone of each message's `Arc`. Servers use the same crate, so this measures what they get.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zerosend::{Blocking, Limits, Memory, Options, Payload, Policy, ReportTimes, Stats};

use super::{Budget, Ledger, Release, SendPath, Sender, Unsupported, stalled};
use crate::message::{Message, Spec};
use crate::sys::socket::{CallCounter, Socket};

pub(super) const PATH: SendPath = SendPath {
    name: "zerocopy",
    description: "sendmsg(MSG_ZEROCOPY): no copy by the call; over loopback the kernel copies later; the receiver copies once",
    aliases: &["MSG_ZEROCOPY", "SO_ZEROCOPY"],
    release: Release::OnCompletion,
    delays: false,
    probe: has_zero_copy,
    open: |socket, _, config| Ok(Box::new(ZeroCopy::new(socket, config.budget)?)),
};

/// How long an aborted sender waits for packets that the network card holds, which takes milliseconds at
/// usual rates.
const LINGER: Duration = Duration::from_millis(100);

pub(super) fn has_zero_copy(_: &Spec) -> Result<(), Unsupported> {
    zerosend::supported().map_err(|error| {
        Unsupported(format!("this kernel has no MSG_ZEROCOPY for TCP (needs Linux 4.14 or later): {error}"))
    })
}

/// Sends all fields by reference and keeps them alive until the kernel has released them.
///
/// Sending your own buffer and getting it back:
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Read;
/// use std::net::{TcpListener, TcpStream};
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
///
/// use copycost::message::Message;
/// use copycost::send::{Budget, Sender, ZeroCopy, ZeroCopyLimits, drain};
/// use copycost::send::Socket;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
///
/// let socket = Socket::from(server);
/// let send_buffer = socket.options().send_buffer_size()?;
/// let mut sender = ZeroCopy::new(socket, Budget::share(&ZeroCopyLimits::of_process(), 1, send_buffer))?;
///
/// let message = Arc::new(Message::from_bytes(*b"my own bytes"));
/// sender.send(&message)?;
///
/// let mut received = [0; 12];
/// client.read_exact(&mut received)?;
/// assert_eq!(&received, b"my own bytes");
///
/// // The kernel is done when the peer has acknowledged; then the buffer has no other owner.
/// drain(&mut sender, Instant::now() + Duration::from_secs(10))?;
/// assert!(Arc::try_unwrap(message).is_ok());
/// # Ok(())
/// # }
/// ```
///
/// Dropping it does not wait and does not cut off sent data: see `zerosend::Sender`.
pub struct ZeroCopy {
    sender: Blocking,
    /// The times of notifications that are in the ledger.
    recorded: ReportTimes,
    calls: CallCounter,
    /// What the sender does not count: the time to a notification, and undrained calls.
    ledger: Ledger,
}

impl ZeroCopy {
    /// Completions are read after this many bytes, or [`REAP_CALLS`](Self::REAP_CALLS).
    pub const REAP_BYTES: usize = zerosend::Sender::READS_AFTER_BYTES;
    /// Completions are read after this many calls.
    pub const REAP_CALLS: u32 = zerosend::Sender::READS_AFTER_CALLS;

    /// A sender on a connected socket. Sets SO_ZEROCOPY.
    ///
    /// If the kernel has no MSG_ZEROCOPY, or the connection already has SO_ZEROCOPY.
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

    /// A sender with another policy, which copies if the kernel has no MSG_ZEROCOPY.
    pub(super) fn with_policy(socket: Socket, budget: Budget, policy: Policy) -> io::Result<Self> {
        let (stream, calls) = socket.into_stream();
        let timeout = stream.write_timeout()?;
        let limits = Limits { bytes: budget.bytes, calls: budget.notifications };
        let sender = zerosend::Sender::with_options(stream, Options { policy, limits })?;
        let mut sender = Blocking::new(sender);
        sender.set_timeout(timeout)?;
        Ok(Self { sender, recorded: ReportTimes::default(), calls, ledger: Ledger::default() })
    }

    pub(super) fn stats(&self) -> Stats {
        self.sender.stats()
    }

    /// The number of calls that the kernel has not released yet.
    pub fn outstanding(&self) -> u64 {
        self.sender.pending() as u64
    }

    /// Sends `payload`.
    #[inline(always)] // `Socket::counted` has the reason.
    pub(super) fn send_payload(&mut self, payload: Payload) -> io::Result<()> {
        let sent = self.sender.send(payload).map_err(|error| stalled(error.into()));
        self.update_counts();
        sent
    }

    /// Updates the counts after calls.
    #[inline]
    fn update_counts(&mut self) {
        let stats = self.sender.stats();
        self.calls.set(stats.system_calls);
        let (times, recorded) = (stats.report_times, self.recorded);
        // The sender times one call at a time, so this is rarely the mean of several.
        if let new @ 1.. = times.timed - recorded.timed {
            let mean = (times.total - recorded.total).div_f64(new as f64);
            self.ledger.notification.record(mean);
            self.recorded = times;
        }
    }
}

/// A message's memory in the form that a payload owns.
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
        self.update_counts();
        released.map(|_| true)
    }

    fn abort(&mut self) {
        let sender = self.sender.get_mut();
        if sender.abort().is_ok() {
            // A network card releases packets when it has sent them.
            let by = Instant::now() + LINGER;
            while sender.pending() > 0 && Instant::now() < by {
                if !matches!(sender.reap(), Ok(1..)) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.ledger.undrained = sender.pending() as u64;
        self.update_counts();
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
