//! Sends by reference as `adaptive` makes them: within a budget of pages, and waiting a moment where the kernel refuses.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use super::super::budget::pages_charged;
use super::super::hybrid::is_large;
use super::super::{Budget, Ledger, Sender, released_soon, send_bytes, send_slices, stalled};
use crate::message::{FIELDS, Message};
use crate::sys::socket::{SendFlags, Socket};
use crate::sys::zerocopy::References;

/// How long an aborted sender waits for packets that the network card has: milliseconds at any rate in use.
const LINGER: Duration = Duration::from_millis(100);

/// Sends all fields by reference and keeps them alive until the kernel has released them.
///
/// Dropping it does not wait: what the kernel still holds then is leaked, because freed memory could be sent. A
/// connection that is to be closed should [`drain`](crate::send::drain) first, and [`Sender::abort`] if that fails.
#[derive(Debug)]
pub(super) struct ByReference {
    references: References<Lent>,
    budget: Budget,
    /// What the outstanding calls hold.
    in_flight: InFlight,
    since_reap: InFlight,
    /// The one call whose notification is being timed: a clock reading a call would cost 2 % of a small send.
    timed: Option<(u64, Instant)>,
    /// The last wait for a release was in vain.
    starved: bool,
    /// The connection was ended: what is completed now was never read by the peer.
    aborting: bool,
    ledger: Ledger,
}

/// What one call has in flight until it is completed.
#[derive(Debug)]
struct Lent {
    bytes: usize,
    pages: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct InFlight {
    calls: u32,
    bytes: usize,
    pages: u64,
}

/// How the next call may be made.
enum Room {
    /// By reference, with at most this many bytes.
    ByReference(usize),
    /// Not by reference: the budget has no room, and will have none soon.
    CopyOnly,
}

impl ByReference {
    /// The error queue is looked at after this many bytes, or [`REAP_CALLS`](Self::REAP_CALLS): each look costs a
    /// system call even if it finds nothing, and the kernel merges notifications that wait. 64 KiB to 1 MiB differ
    /// by less than the noise (`cargo bench --bench against_c -- --path zerocopy --reap BYTES`).
    const REAP_BYTES: usize = 256 << 10;
    /// The same in calls, for small messages: half of what the default option memory has room for.
    const REAP_CALLS: u32 = 64;

    pub(super) fn socket(&self) -> &Socket {
        self.references.socket()
    }

    /// On a connected socket, whose SO_ZEROCOPY it sets; where that is not possible, one that sends nothing by reference.
    pub(super) fn if_able(socket: Socket, budget: Budget) -> Self {
        Self::with(References::if_able(socket), budget)
    }

    /// Whether it can send by reference.
    pub(super) fn is_able(&self) -> bool {
        self.references.is_able()
    }

    fn with(references: References<Lent>, budget: Budget) -> Self {
        Self {
            references,
            budget,
            in_flight: InFlight::default(),
            since_reap: InFlight::default(),
            timed: None,
            starved: false,
            aborting: false,
            ledger: Ledger::default(),
        }
    }

    /// How many calls the kernel has not yet released.
    pub(super) fn outstanding(&self) -> u64 {
        self.references.outstanding()
    }

    /// Sends `slices`, which are `size` bytes of `message`, by reference; `flags` beside MSG_ZEROCOPY.
    #[inline]
    pub(super) fn send_by_reference(
        &mut self,
        message: &Arc<Message>,
        slices: &[IoSlice<'_>],
        size: usize,
        flags: SendFlags,
    ) -> io::Result<()> {
        send_slices(slices, size, |rest, left| self.send_some(message, rest, left, flags))
    }

    /// Sends `slices`, which are `size` bytes, by a copy because the caller prefers it.
    #[inline]
    pub(super) fn send_by_copy(
        &mut self,
        slices: &[IoSlice<'_>],
        size: usize,
        flags: SendFlags,
    ) -> io::Result<()> {
        self.ledger.plain += 1;
        send_slices(slices, size, |rest, _| self.socket().sendmsg(rest, flags).map_err(stalled))
    }

    /// Sends bytes that lie in one piece, a message's or not, by a copy.
    #[inline(always)] // For the reason that stands in `Socket::counted`.
    pub(super) fn send_piece(&mut self, bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        self.ledger.plain += 1;
        send_bytes(self.socket(), bytes, flags)
    }

    /// What was told so far, to be looked at after each message.
    #[inline]
    pub(super) fn told(&self) -> &Ledger {
        &self.ledger
    }

    /// Reads notifications if enough was sent since the last time.
    #[inline]
    pub(super) fn reap_if_due(&mut self) -> io::Result<()> {
        if self.since_reap.bytes >= Self::REAP_BYTES || self.since_reap.calls >= Self::REAP_CALLS {
            self.reap_ready()?;
        }
        Ok(())
    }

    /// Sends some of `slices`, which hold `left` bytes of `message` that are still to be sent.
    fn send_some(
        &mut self,
        message: &Arc<Message>,
        slices: &[IoSlice<'_>],
        left: usize,
        flags: SendFlags,
    ) -> io::Result<usize> {
        loop {
            let Room::ByReference(bytes) = self.make_room(left)? else {
                return self.send_copying(slices, flags);
            };
            let part;
            let slices = if bytes < left {
                part = front(slices, bytes);
                &part
            } else {
                slices
            };
            let pages = pages_charged(bytes);
            match self.references.send(message, slices, flags, |bytes| Lent { bytes, pages }) {
                Ok((id, sent)) => {
                    self.issued(id, sent, pages);
                    return Ok(sent);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.ledger.enobufs += 1;
                    if !self.released_soon()? {
                        return self.send_copying(slices, flags);
                    }
                }
                Err(error) => return Err(stalled(error)),
            }
        }
    }

    /// Counts a call by reference.
    fn issued(&mut self, id: u64, bytes: usize, pages: u64) {
        if self.timed.is_none() {
            self.timed = Some((id, Instant::now()));
        }
        self.ledger.sends += 1;
        for count in [&mut self.in_flight, &mut self.since_reap] {
            count.calls += 1;
            count.bytes += bytes;
            count.pages += pages;
        }
        self.ledger.peak_in_flight_bytes = self.ledger.peak_in_flight_bytes.max(self.in_flight.bytes as u64);
    }

    fn send_copying(&mut self, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        self.ledger.fallbacks += 1;
        self.socket().sendmsg(slices, flags).map_err(stalled)
    }

    /// Reaps and waits until a call for `left` bytes, or for the part of them that fits, is within the budget.
    fn make_room(&mut self, left: usize) -> io::Result<Room> {
        let Some(longest) = self.budget.longest_call() else { return Ok(Room::CopyOnly) };
        let bytes = left.min(longest);
        if self.fits(bytes) {
            return Ok(Room::ByReference(bytes));
        }
        self.reap_ready()?;
        while !self.fits(bytes) {
            self.ledger.waits += 1;
            if !self.released_soon()? {
                return Ok(Room::CopyOnly);
            }
        }
        Ok(Room::ByReference(bytes))
    }

    /// Waits a moment for the kernel to release something. False: it does not, or nothing is in flight, so that
    /// copying is the faster way on.
    fn released_soon(&mut self) -> io::Result<bool> {
        let released = released_soon(self.starved, |by| self.reap(by))?;
        self.starved = !released;
        Ok(released)
    }

    /// A sender with nothing in flight may always send: a message larger than the bound would wait for ever.
    fn fits(&self, bytes: usize) -> bool {
        let InFlight { calls, bytes: held, pages } = self.in_flight;
        calls == 0
            || (held.saturating_add(bytes) <= self.budget.bytes
                && (calls as usize) < self.budget.notifications
                && self.budget.pages.is_none_or(|most| pages + pages_charged(bytes) <= most))
    }

    /// Reads every notification that is there; returns how many calls they released.
    pub(super) fn reap_ready(&mut self) -> io::Result<u64> {
        self.since_reap = InFlight::default();
        let Self { references, in_flight, timed, ledger, aborting, .. } = self;
        let before = references.tally();
        let result = references.reap(|id, lent: Lent| {
            in_flight.calls -= 1;
            in_flight.bytes -= lent.bytes;
            in_flight.pages -= lent.pages;
            if let Some((timed_id, sent)) = *timed
                && timed_id == id
            {
                ledger.notification.record(sent.elapsed());
                *timed = None;
            }
        });
        let after = references.tally();
        let released = after.completed - before.completed;
        if *aborting {
            ledger.aborted += released;
        } else {
            ledger.completed += released;
            ledger.copied += after.copied - before.copied;
            ledger.merged_ranges += after.merged_ranges - before.merged_ranges;
        }
        result.map(|()| released)
    }

    /// What the kernel still holds is leaked: freed or written again, it could still be sent.
    fn give_up(&mut self) {
        self.ledger.undrained += self.references.give_up();
        self.in_flight = InFlight::default();
    }

    /// Something woke the poll and released nothing: report a broken connection once; after that it is only
    /// waited for, in short sleeps, because a connection that hung up wakes every poll at once.
    fn nothing_released(&self) -> io::Result<()> {
        match self.socket().options().take_error()? {
            Some(error) => Err(error),
            None => {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            }
        }
    }
}

/// Sends each field the way of its size.
pub(super) fn send_divided(inner: &mut ByReference, message: &Arc<Message>) -> io::Result<()> {
    let mut left = message.slices();
    while let Some(first) = left.first() {
        let alike = left.iter().take_while(|field| is_large(field) == is_large(first)).count();
        let (run, after) = left.split_at(alike);
        let bytes = run.iter().map(|field| field.len()).sum();
        let flags = if after.is_empty() { SendFlags::NONE } else { SendFlags::MORE };
        if is_large(first) {
            inner.send_by_reference(message, run, bytes, flags)?;
        } else {
            inner.send_by_copy(run, bytes, flags)?;
        }
        left = after;
    }
    Ok(())
}

impl Sender for ByReference {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        self.send_by_reference(message, message.slices(), message.size(), SendFlags::NONE)?;
        self.reap_if_due()
    }

    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        if self.references.outstanding() == 0 {
            return Ok(false);
        }
        if self.reap_ready()? > 0 {
            return Ok(true);
        }
        loop {
            let woken = self.socket().poll_error_queue(by)?;
            if self.reap_ready()? > 0 {
                return Ok(true);
            }
            if !woken || Instant::now() >= by {
                let held = self.outstanding();
                let told = format!("the kernel still holds {held} sends because the peer did not read");
                return Err(io::Error::new(io::ErrorKind::TimedOut, told));
            }
            self.nothing_released()?;
        }
    }

    fn abort(&mut self) {
        // What is ready was completed in the ordinary way; only what the disconnect brings is aborted.
        let _ = self.reap_ready();
        self.aborting = true;
        if self.socket().disconnect().is_ok() {
            // Packets that a network card was given are returned when it has sent them.
            let by = Instant::now() + LINGER;
            while matches!(self.reap(by), Ok(true)) {}
        }
        self.give_up();
    }

    fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }
}

impl Drop for ByReference {
    /// Does not wait: what the kernel has not released by now is leaked. Drain first, and abort if that fails.
    fn drop(&mut self) {
        let _ = self.reap_ready();
        self.give_up();
    }
}

/// The first `bytes` bytes of `slices`.
fn front<'a>(slices: &'a [IoSlice<'_>], bytes: usize) -> ArrayVec<IoSlice<'a>, FIELDS> {
    let mut left = bytes;
    let mut part = ArrayVec::new();
    for slice in slices {
        let n = slice.len().min(left);
        part.push(IoSlice::new(&slice[..n]));
        left -= n;
        if left == 0 {
            break;
        }
    }
    part
}
