//! `adaptive`: for each message the way that was measured to cost least here, of copying and by reference.
//!
//! The copies are those of the way at hand: `gather` copies as `onecopy` does, `flatten` twice as the path of that name,
//! `reference` as `zerocopy`, `hybrid` as `hybrid`; the receiver's `recv()` copies once more. All ways are blocking calls on
//! one socket, so the order of the bytes is that of the messages, and memory is released as the weakest of them
//! releases it: on completion. Fields that are neighbours in memory go as one piece, whatever the way: by reference the kernel
//! walks the page tables once for each iovec.
//!
//! Nothing else decides but what the connections of this server have seen. A connection's own completions say whether the
//! kernel copies what it is given by reference ([`gate`]); short trials beside the usual way say what each way costs for
//! messages of a [`class`](mod@class), and all connections go by what any of them has found ([`contest`], [`experience`]); between
//! trials, which may take 1 % of the work, nothing is measured, and a message costs a table look-up. The [`Decisions`]
//! stand in the ledger.

mod by_reference;
mod class;
mod contest;
mod controller;
mod course;
mod decisions;
mod evidence;
mod experience;
mod gate;
#[cfg(test)]
mod simulated;
mod trial;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use class::{Class, Division};
use controller::Controller;
use gate::{Link, Outcome};
use trial::Cost;

use super::staging::Staging;
use by_reference::ByReference;

use super::{Budget, Hybrid, Ledger, Release, SendPath, Sender, hybrid};
use crate::message::Message;
use crate::offset::Begin;
use crate::sys::clock::thread_cpu_time;
use crate::sys::socket::{SendFlags, Socket};

pub use contest::Objective;
pub use decisions::{Decisions, Reason, Way};
pub use experience::Experience;

pub(super) const PATH: SendPath = SendPath {
    name: "adaptive",
    about: "measures which of onecopy, flatten, zerocopy and hybrid is cheapest, and sends and copies as \
        that path does",
    also: &["auto"],
    release: Release::OnCompletion,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, terms| {
        let adaptive = Adaptive::new(socket, terms.budget, Objective::Throughput, &terms.experience)?;
        Ok(Box::new(adaptive.gathering_at(terms.staging)))
    },
};

/// Messages are gathered by so many bytes: the piece is still in the second-level cache when the kernel reads it.
const STAGING: usize = 128 << 10;

/// While the kernel holds memory and messages are copied, the error queue is looked at after so many bytes. After
/// those that go by reference `by_reference` decides alone: with a second look after each message of 256 KiB they took 1.14 of
/// `zerocopy`'s CPU time, and take 1.02 (lab, 1 client, ±4 %).
const LOOK_BYTES: usize = 256 << 10;

/// Sends each message by the way that costs least here, as far as it knows by now.
///
/// A server uses it as [`ZeroCopy`](super::ZeroCopy): push messages in, and `Arc::get_mut` or `Arc::try_unwrap` tells when a buffer is its
/// own again; [`drain`](super::drain) before the connection is closed. Connections that share an [`Experience`] learn
/// together: a new one starts with what the others know.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Read;
/// use std::net::{TcpListener, TcpStream};
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
///
/// use copycost::message::Message;
/// use copycost::send::{Adaptive, Budget, Experience, Limits, Objective, Sender, drain};
/// use copycost::send::Socket;
///
/// // One for all connections of the server.
/// let experience = Experience::new();
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
///
/// let socket = Socket::from(server);
/// let budget = Budget::share(&Limits::of_process(), 1, socket.options().send_buffer_size()?);
/// let mut sender = Adaptive::new(socket, budget, Objective::Throughput, &experience)?;
///
/// let message = Arc::new(Message::from_bytes(*b"my own bytes"));
/// sender.send(&message)?;
/// drain(&mut sender, Instant::now() + Duration::from_secs(10))?;
/// assert!(Arc::try_unwrap(message).is_ok());
/// println!("{}", sender.ledger().decisions);
///
/// let mut received = [0; 12];
/// client.read_exact(&mut received)?;
/// assert_eq!(&received, b"my own bytes");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Adaptive {
    inner: ByReference,
    staging: Staging,
    controller: Controller,
    /// Bytes since the error queue was last looked at.
    since_look: usize,
    /// What the controller was told of so far.
    told: Told,
    /// As they stood after what was last timed.
    clocks: Option<Clocks>,
}

impl Adaptive {
    /// A sender on a connected socket; sets SO_ZEROCOPY where the kernel has it, and copies where it has not.
    ///
    /// # Errors
    /// Where the socket is not connected.
    pub fn new(
        socket: Socket,
        budget: Budget,
        objective: Objective,
        experience: &Experience,
    ) -> io::Result<Self> {
        let link = link(&socket)?;
        let inner = ByReference::if_able(socket, budget);
        let able = inner.is_able() && budget.longest_call().is_some();
        let controller = Controller::new(objective, experience.clone(), link, able);
        Ok(Self {
            inner,
            staging: Staging::new(None),
            controller,
            since_look: 0,
            told: Told::default(),
            clocks: None,
        })
    }

    /// Gathers fields in a buffer that begins at `begin`; `None`: where no copy to or from it is slow.
    #[must_use]
    pub fn gathering_at(self, begin: Option<Begin>) -> Self {
        Self { staging: Staging::new(begin), ..self }
    }

    // Copies are inlined for the reason that stands in `Socket::counted`: else `flatten` at 1 KiB moves 0.96 of what the path of that
    // name does, and 0.97 so (lab, heap, 1 client, ±1 %).
    #[inline(always)]
    fn send_by(&mut self, way: Way, message: &Arc<Message>) -> io::Result<()> {
        match way {
            Way::Flatten => self.send_flat(message),
            Way::Gather => match message.runs() {
                [run] => self.inner.send_piece(run, SendFlags::NONE),
                runs => self.inner.send_by_copy(runs, message.size(), SendFlags::NONE),
            },
            Way::Reference | Way::Hybrid => self.send_by_reference(way, message),
        }
    }

    /// Not inlined: of four ways in one place the compiler makes a table, and what an indirect jump costs after a system call hung on
    /// how the build lay: with it 0.98 of `flatten` in one and 0.946 in another, whose copies without it moved 0.973 (as above).
    #[inline(never)]
    fn send_by_reference(&mut self, way: Way, message: &Arc<Message>) -> io::Result<()> {
        match way {
            Way::Hybrid => by_reference::send_divided(&mut self.inner, message),
            _ => self.inner.send_by_reference(message, message.runs(), message.size(), SendFlags::NONE),
        }
    }

    /// Gathers the fields and sends them.
    #[inline(always)]
    fn send_flat(&mut self, message: &Message) -> io::Result<()> {
        if message.size() > STAGING {
            return self.send_pieces(message);
        }
        let staging = self.staging.for_message(message, STAGING)?;
        let mut filled = 0;
        for field in message.slices() {
            staging[filled..filled + field.len()].copy_from_slice(field);
            filled += field.len();
        }
        self.inner.send_piece(&staging[..filled], SendFlags::NONE)
    }

    /// Gathers the fields piece by piece and sends each piece.
    #[cold]
    fn send_pieces(&mut self, message: &Message) -> io::Result<()> {
        let staging = self.staging.for_message(message, STAGING)?;
        let (mut filled, mut left) = (0, message.size());
        for field in message.slices() {
            let mut rest = &**field;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(STAGING - filled));
                staging[filled..filled + now.len()].copy_from_slice(now);
                (filled, left, rest) = (filled + now.len(), left - now.len(), later);
                if filled == STAGING || left == 0 {
                    let flags = if left == 0 { SendFlags::NONE } else { SendFlags::MORE };
                    self.inner.send_piece(&staging[..filled], flags)?;
                    filled = 0;
                }
            }
        }
        Ok(())
    }

    /// Reads completions if it is time to.
    fn look(&mut self, way: Way, size: usize) -> io::Result<()> {
        self.inner.reap_if_due()?;
        if way.by_reference() {
            return Ok(());
        }
        self.since_look += size;
        if self.since_look >= LOOK_BYTES {
            self.since_look = 0;
            self.inner.reap_ready()?;
        }
        Ok(())
    }

    /// Tells the controller what became of a message that was to go by reference, or of others, and which completions were read.
    #[inline]
    fn tell(&mut self, by_reference: bool) {
        let now = Told::from(self.inner.told());
        let before = std::mem::replace(&mut self.told, now);
        if by_reference {
            self.controller.called(match () {
                () if now.refused > before.refused => Outcome::Refused,
                () if now.fallbacks > before.fallbacks => Outcome::Copied,
                () => Outcome::Taken,
            });
        }
        if now.completed > before.completed {
            self.controller.completed(now.completed - before.completed, now.copied - before.copied);
        }
    }

    /// Sends a message, and reads completions if it is time to. True where there is something to [`tell`](Self::tell).
    #[inline(always)]
    fn send_and_look(&mut self, way: Way, message: &Arc<Message>) -> io::Result<bool> {
        self.send_by(way, message)?;
        let holds = self.inner.outstanding() > 0;
        if holds {
            self.look(way, message.size())?;
        }
        Ok(holds || way.by_reference())
    }

    /// The first of a stretch, and all whose cost is wanted.
    #[inline(never)]
    fn send_as_decided(&mut self, class: Class, message: &Arc<Message>) -> io::Result<()> {
        // Asked for each time, for the kernel lets it grow unless SO_SNDBUF was set. Where it cannot be had, blocks are as with a
        // small one.
        let send_buffer = || self.inner.socket().options().send_buffer_size().unwrap_or(0);
        let next = self.controller.next(class, send_buffer);
        let start = self.start_clocks(next.timed)?;
        let has_news = self.send_and_look(next.way, message)?;
        let spent = self.stop_clocks(start)?;
        self.controller.sent(message.size(), spent);
        if has_news {
            self.tell(next.way.by_reference());
        }
        Ok(())
    }

    /// The clocks now, if they are wanted.
    #[inline]
    fn start_clocks(&mut self, wanted: bool) -> io::Result<Option<Clocks>> {
        if !wanted {
            return Ok(None);
        }
        Clocks::read_after(self.clocks.take()).map(Some)
    }

    /// What was spent since.
    #[inline]
    fn stop_clocks(&mut self, start: Option<Clocks>) -> io::Result<Option<Cost>> {
        let Some(start) = start else { return Ok(None) };
        let wall = start.wall.elapsed();
        let end = Clocks::read()?;
        self.clocks = Some(end);
        let nanoseconds = |duration: Duration| duration.as_nanos() as u64;
        Ok(Some(Cost { cpu: nanoseconds(end.cpu.saturating_sub(start.cpu)), wall: nanoseconds(wall) }))
    }
}

impl Sender for Adaptive {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        let class = class(message);
        let Some(way) = self.controller.next_alike(class, message.size()) else {
            return self.send_as_decided(class, message);
        };
        if self.send_and_look(way, message)? {
            self.tell(way.by_reference());
        }
        Ok(())
    }

    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        let timed = self.controller.is_timing();
        let start = self.start_clocks(timed)?;
        let result = self.inner.reap(by);
        if let Some(spent) = self.stop_clocks(start)? {
            self.controller.waited(spent);
        }
        self.tell(false);
        result
    }

    fn abort(&mut self) {
        self.inner.abort();
    }

    fn staging_offset(&self) -> Option<usize> {
        self.staging.offset()
    }

    fn ledger(&self) -> Ledger {
        Ledger { decisions: Box::new(self.controller.decisions()), ..self.inner.ledger() }
    }
}

/// What the controller is told of, as the ledger counts it.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    completed: u64,
    copied: u64,
    /// Calls by reference that the kernel refused.
    refused: u64,
    /// Messages that were copied instead.
    fallbacks: u64,
}

impl From<&Ledger> for Told {
    fn from(ledger: &Ledger) -> Self {
        let Ledger { completed, copied, enobufs: refused, fallbacks, .. } = *ledger;
        Self { completed, copied, refused, fallbacks }
    }
}

/// The two clocks that a cost is read from, at one moment.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    /// Of this thread.
    cpu: Duration,
    wall: Instant,
    thread: usize,
}

impl Clocks {
    /// What begins so soon after the last reading needs no system call for it: the thread has run for no longer.
    const SOON: Duration = Duration::from_micros(1);

    fn read() -> io::Result<Self> {
        Ok(Self { cpu: thread_cpu_time()?, wall: Instant::now(), thread: this_thread() })
    }

    fn read_after(last: Option<Self>) -> io::Result<Self> {
        let now = Instant::now();
        match last {
            // A sender behind a lock goes from thread to thread.
            Some(last) if now - last.wall < Self::SOON && last.thread == this_thread() => {
                Ok(Self { cpu: last.cpu + (now - last.wall), wall: now, ..last })
            }
            _ => Self::read(),
        }
    }
}

/// A number that no other living thread has: asked for with every clock, so an address and not a system call.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

#[inline]
fn class(message: &Message) -> Class {
    let division = match message.runs() {
        [] | [_] => Division::One,
        // No field of it can be large beside others that are not empty. To look at them costs a cold message of 16 KiB as much as
        // 2 % of its CPU time.
        _ if message.size() <= Hybrid::LARGE => Division::Alike,
        fields => match fields.iter().filter(|field| hybrid::is_large(field)).count() {
            large if 0 < large && large < fields.len() => Division::Mixed,
            _ => Division::Alike,
        },
    };
    Class::of(message.size(), division)
}

/// Where the peer is, as far as its address tells.
fn link(socket: &Socket) -> io::Result<Link> {
    let address = |address: socket2::SockAddr| address.as_socket().map(|address| address.ip().to_canonical());
    let (ours, peers) = (address(socket.options().local_addr()?), address(socket.options().peer_addr()?));
    let local = ours == peers || peers.is_some_and(|ip| ip.is_loopback());
    Ok(if local { Link::Local } else { Link::Far })
}
