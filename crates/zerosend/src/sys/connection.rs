//! A connection, and the payloads that the kernel still refers to.
//!
//! Why this is safe: a payload lies in the queue of the connection before the first call that sends some of it, and leaves it when
//! it is finished and each of its calls was reported. What is dropped before that is leaked. DESIGN.md has the argument in full.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::mem::{self, ManuallyDrop};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::joined::{JOINED, Joined};
use super::socket::{self, Control, Pieces};
use crate::ids::Ids;
use crate::payload::Place;
use crate::receipt::{Claim, Released};
use crate::report::{Entry, Report};
use crate::routes::{self, Answer, Permit, Route};
use crate::stats::{Decision, Told};
use crate::{Options, Outcome, Payload, Policy, Stats};

/// Reports are looked for after this many bytes, or [`REAP_CALLS`]: each look costs a system call even if it finds nothing, and
/// the kernel merges reports that wait. Checked by `cargo bench --bench against_c -- --path zerocopy --reap BYTES`: 64 KiB to 1 MiB differ
/// by less than the noise.
pub(crate) const REAP_BYTES: usize = 256 << 10;
/// The same in calls, for small payloads: half of what the default option memory (net.core.optmem_max) has room for.
pub(crate) const REAP_CALLS: u32 = 64;

/// The most that one call asks for: the kernel charges locked memory for what a call asks for and not for what it takes. With
/// 512 KiB a payload of 1 MiB took 1.2 of the CPU time (loopback, `copycost run -p zerocopy -s 1MiB --with BUILD`).
const CALL_BYTES: usize = 4 << 20;

/// Payloads that fit into the queue of an idle connection: half a KiB.
const KEPT: usize = 4;

/// Reports that are read before the kernel is asked what was acknowledged. Most looks find one.
const BATCH: usize = 8;

/// After an ENOBUFS with nothing in flight, so that nothing of ours can be released, the kernel is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A socket that halves of a connection share, and the error that one of them took from it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stream: TcpStream,
    /// SO_ERROR is reported once; whoever receives must not take the end for an orderly one.
    error: AtomicI32,
}

/// A payload of which something was sent. Dropped with the queue it is leaked.
#[derive(Debug)]
struct Begun {
    payload: ManuallyDrop<Payload>,
    claim: Option<Claim>,
    /// All of it was sent.
    finished: bool,
    /// The id after its last call; `None`: nothing of it went by reference yet.
    end: Option<u64>,
    outcome: Outcome,
}

/// What there was to be thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    None,
    Some,
    /// The peer has ended its direction.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    ids: Ids,
    /// In the order in which they were begun; only the last may be unfinished.
    begun: VecDeque<Begun>,
    /// Where the last one goes on.
    place: Place,
    options: Options,
    /// Where the peer is; `None` until a large piece is to be sent, and where nobody asks.
    route: Option<Arc<Route>>,
    asking: Asking,
    /// The kernel takes sends by reference on this connection.
    able: bool,
    /// A report made no sense: nothing is released any more.
    frozen: bool,
    /// When the kernel last refused for want of memory, and up to which call was released then.
    refused: Option<(Instant, u64)>,
    /// Bytes (a FIN is one) that were handed to the kernel since this connection is ours.
    written: u64,
    /// One of these bytes is a FIN.
    is_shut: bool,
    /// A payload that is copied altogether is sent in part.
    copy_is_cut: bool,
    /// What was acknowledged when the connection was ended here; it cannot be asked afterwards.
    acknowledged_at_end: Option<u64>,
    since_reap: (usize, u32),
    stats: Stats,
    /// The one call whose report is being timed: to read a clock for each would cost 2 % of a small send.
    timed: Option<(u64, Instant)>,
    told: Told,
}

/// Whether this connection is the one that asks, on its route, what the kernel makes of a send by reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    No,
    /// Its next call by reference asks.
    Next,
    /// It was made, and its report is looked for after each call.
    Made,
}

impl Shared {
    /// Keeps an error for the other half, and passes it on.
    pub(crate) fn note(&self, error: io::Error) -> io::Error {
        // Only what has ended the connection: an ICMP error of a connection that goes on is reported once as well (sk_err_soft). EPIPE is
        // none of receiving: this end has closed the direction, or the peer had closed its own before.
        if let Some(code) =
            error.raw_os_error().filter(|code| !matches!(*code, libc::EPIPE | libc::EAGAIN | libc::EINTR))
            && socket::is_closed(&self.stream)
        {
            self.error.store(code, Ordering::Relaxed);
        }
        // After an error that the other half got, a send gets EPIPE alone.
        match error.raw_os_error() {
            Some(libc::EPIPE) => self.noted().unwrap_or(error),
            _ => error,
        }
    }

    /// An error that has ended the connection.
    pub(crate) fn noted(&self) -> Option<io::Error> {
        match self.error.load(Ordering::Relaxed) {
            0 => None,
            code => Some(io::Error::from_raw_os_error(code)),
        }
    }

    /// `recv(2)`. An end that is an error whose report went to a send is that error, and not the end of the stream.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = (&self.stream).read(buffer).map_err(|error| self.note(error))?;
        match self.noted() {
            Some(error) if received == 0 && !buffer.is_empty() => Err(error),
            _ => Ok(received),
        }
    }
}

impl Connection {
    /// On a connected TCP socket, which is given back where it is none or where somebody may have sent by reference before. Where
    /// the kernel has no MSG_ZEROCOPY everything is copied.
    pub(crate) fn new(stream: TcpStream, options: Options) -> Result<Self, (TcpStream, io::Error)> {
        if let Err(error) = socket::require_connected_tcp(&stream) {
            return Err((stream, error));
        }
        let able = match socket::begin_zerocopy(&stream) {
            Ok(()) => !socket::probes_mtu(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err((stream, error)),
            Err(_) => false,
        };
        Ok(Self {
            shared: Arc::new(Shared { stream, error: AtomicI32::new(0) }),
            ids: Ids::default(),
            begun: VecDeque::new(),
            place: Place::default(),
            options,
            route: None,
            asking: Asking::No,
            able,
            frozen: false,
            refused: None,
            written: 0,
            is_shut: false,
            copy_is_cut: false,
            acknowledged_at_end: None,
            since_reap: (0, 0),
            stats: Stats::default(),
            timed: None,
            told: Told::new(),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.shared.stream
    }

    #[inline]
    pub(crate) fn is_able(&self) -> bool {
        self.able && !self.frozen
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.ids.in_flight()
    }

    /// Whether the last payload is sent in part.
    pub(crate) fn is_cut(&self) -> bool {
        self.copy_is_cut || self.has_unfinished()
    }

    fn has_unfinished(&self) -> bool {
        self.begun.back().is_some_and(|begun| !begun.finished)
    }

    /// Bytes of memory that its payloads keep: what is in flight, and what they alone own beside it.
    pub(crate) fn held(&self) -> usize {
        // What is in flight is nearly all of what is owned, or a part of what is shared.
        self.ids.bytes().max(self.begun.iter().map(|begun| begun.payload.held()).sum())
    }

    /// What changes when the peer takes something: how much it has acknowledged, and how many calls were released.
    pub(crate) fn progress(&mut self) -> (u64, u64) {
        (self.acknowledged(), self.ids.base())
    }

    #[inline]
    pub(crate) fn stats(&self) -> Stats {
        Stats { in_flight: self.ids.in_flight(), in_flight_bytes: self.ids.bytes(), ..self.stats }
    }

    /// How a payload goes of which nothing was sent.
    #[inline]
    pub(crate) fn decide(&mut self, payload: &Payload) -> Decision {
        let least = match self.options.policy {
            _ if !payload.has_references() => return Decision::AsGiven,
            _ if !self.is_able() => return Decision::Unable,
            _ if self.options.limits.bytes == 0 || self.options.limits.calls == 0 => return Decision::Never,
            Policy::Always => return Decision::ByReference,
            Policy::Never => return Decision::Never,
            policy => policy.least(),
        };
        if !payload.has_large(least) {
            return Decision::Small;
        }
        match self.permit() {
            Ok(()) if self.asking == Asking::Next => Decision::Asking,
            Ok(()) => Decision::ByReference,
            Err(Answer::Copied) => Decision::RouteCopies,
            Err(Answer::Refused) => Decision::RouteRefuses,
            Err(_) => Decision::RouteUnknown,
        }
    }

    /// A payload went as decided.
    #[inline]
    pub(crate) fn count(&mut self, decision: Decision) {
        self.stats.decisions.count(decision);
    }

    /// Whether the policy lets large pieces go by reference now; or why not.
    #[inline]
    fn permit(&mut self) -> Result<(), Answer> {
        match self.options.policy {
            Policy::Always | Policy::Above(_) => return Ok(()),
            Policy::Never => return Err(Answer::Unknown),
            Policy::Auto => {}
        }
        if self.route.is_none() {
            let stream = &self.shared.stream;
            // Of a connection that has ended there is none, and nothing to send either.
            let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
                return Err(Answer::Unknown);
            };
            self.route = routes::between(local.ip(), peer.ip());
        }
        if self.asking == Asking::Next {
            // Unless another has asked since: it could not send for long.
            if self.route.as_ref().is_some_and(|route| route.is_asked()) {
                return Ok(());
            }
            self.asking = Asking::No;
        }
        match self.route.as_ref().map_or(Permit::Copy(Answer::Unknown), |route| route.permit()) {
            Permit::Go => Ok(()),
            Permit::Ask => {
                self.asking = Asking::Next;
                Ok(())
            }
            Permit::Copy(answer) => Err(answer),
        }
    }

    /// Takes a payload whose bytes come next. The one before must be finished.
    #[inline]
    pub(crate) fn begin(&mut self, payload: Payload, claim: Option<Claim>) {
        self.place = Place::default();
        self.begun.push_back(Begun {
            payload: ManuallyDrop::new(payload),
            claim,
            finished: false,
            end: None,
            outcome: Outcome::ByReference,
        });
    }

    /// Gives back what was begun last. Nothing of it must have been sent.
    pub(crate) fn take_back(&mut self) -> Option<(Payload, Option<Claim>)> {
        if !self.has_unfinished() {
            return None;
        }
        let begun = self.begun.pop_back()?;
        Some((ManuallyDrop::into_inner(begun.payload), begun.claim))
    }

    /// One call that sends some of the payload that was begun last, of which `left` bytes are not sent yet. Blocks as `flags`
    /// (MSG_DONTWAIT or nothing) and the socket say.
    #[inline]
    pub(crate) fn send(&mut self, left: usize, flags: libc::c_int) -> io::Result<usize> {
        if left == 0 {
            self.finish();
            return Ok(0);
        }
        let least = self.options.policy.least();
        let mut was_refused = false;
        loop {
            let most = left.min(CALL_BYTES).min(self.options.limits.bytes.max(1));
            // A route is asked for a piece that goes by reference, and for nothing else.
            let is_large = self.options.policy != Policy::Auto || {
                let mut place = self.place;
                let begun = self.begun.back();
                begun.is_some_and(|begun| begun.payload.pieces(&mut place, least, |_| false) == Some(true))
            };
            // The limits also count what was released and not read, so they are looked at again after reading.
            let permitted = is_large && self.is_able() && self.permit().is_ok();
            let may_refer = permitted
                && (self.may_refer(most)
                    || (self.ids.in_flight() > 0 && self.read_reports()? > 0 && self.may_refer(most)));
            let Some(begun) = self.begun.back().filter(|begun| !begun.finished) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let mut pieces = Pieces::new(if may_refer { most } else { left.min(CALL_BYTES) });
            let wanted =
                begun.payload.pieces(&mut self.place, least, |piece| pieces.push(piece)).unwrap_or(false);
            let by_reference = wanted && may_refer;
            let more = if pieces.bytes() < left { libc::MSG_MORE } else { 0 };
            let zerocopy = if by_reference { libc::MSG_ZEROCOPY } else { 0 };
            self.stats.system_calls += 1;
            // SAFETY: with MSG_ZEROCOPY the pieces are memory of a payload in `begun`. It stays there, unchanged (Segment gives out
            // no `&mut`, and Memory promises the same), until `release` takes it out, after the kernel has reported each of its
            // calls; dropped with the queue it is leaked.
            let result = unsafe { socket::send(&self.shared.stream, &pieces, flags | more | zerocopy) };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.stats.fallbacks += u64::from(wanted && (permitted || was_refused) && !by_reference);
                    self.sent(sent, sent == left, wanted, by_reference);
                    return Ok(sent);
                }
                Err(error) if by_reference && error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.stats.enobufs += 1;
                    was_refused = true;
                    if self.read_reports()? == 0 {
                        self.refused = Some((Instant::now(), self.ids.base()));
                        // With something in flight it may be this socket's own option memory.
                        if let Some(route) = &self.route
                            && self.ids.in_flight() == 0
                        {
                            self.asking = Asking::No;
                            let news = route.refused();
                            route.log(news);
                        }
                    }
                }
                // kTLS, which takes the option and not the flag.
                Err(error) if by_reference && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    was_refused = true;
                    self.able = false;
                }
                Err(error) => return Err(self.shared.note(error)),
            }
        }
    }

    /// One call that copies some of `payload`, all of whose segments are to be copied; it goes on at `place`, and has `left` bytes from there.
    #[inline]
    pub(crate) fn copy(
        &mut self,
        payload: &Payload,
        place: &mut Place,
        left: usize,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        if left == 0 {
            return Ok(0);
        }
        let sent = if left <= JOINED && self.options.policy == Policy::Auto {
            let mut joined = Joined::new();
            payload.pieces(place, usize::MAX, |piece| joined.push(piece));
            let mut piece = Pieces::new(left);
            piece.push(joined.bytes());
            self.send_copying(&piece, flags, 0)?
        } else {
            let mut pieces = Pieces::new(left);
            payload.pieces(place, usize::MAX, |piece| pieces.push(piece));
            let more = if pieces.bytes() < left { libc::MSG_MORE } else { 0 };
            self.send_copying(&pieces, flags, more)?
        };
        *place = payload.advance(*place, sent);
        self.copy_is_cut = sent < left;
        Ok(sent)
    }

    /// One call that copies some of `slices`.
    #[cfg(feature = "tokio")]
    pub(crate) fn write(&mut self, slices: &[io::IoSlice<'_>], flags: libc::c_int) -> io::Result<usize> {
        let mut pieces = Pieces::new(usize::MAX);
        slices.iter().all(|slice| pieces.push(slice));
        if pieces.bytes() == 0 {
            return Ok(0);
        }
        self.send_copying(&pieces, flags, 0)
    }

    /// The call of both. Of `flags` MSG_DONTWAIT counts; `more` is MSG_MORE or nothing.
    #[inline]
    fn send_copying(
        &mut self,
        pieces: &Pieces<'_>,
        flags: libc::c_int,
        more: libc::c_int,
    ) -> io::Result<usize> {
        self.stats.system_calls += 1;
        let flags = (flags & libc::MSG_DONTWAIT) | (more & libc::MSG_MORE);
        // SAFETY: MSG_ZEROCOPY is not among the flags, so the bytes are copied.
        let result = unsafe { socket::send(&self.shared.stream, pieces, flags) };
        let sent = result.map_err(|error| self.shared.note(error))?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += sent as u64;
        self.stats.bytes_copied += sent as u64;
        self.stats.calls_copying += 1;
        Ok(sent)
    }

    /// Whether the next call may send up to `bytes` by reference.
    #[inline]
    fn may_refer(&mut self, bytes: usize) -> bool {
        if !self.is_able() {
            return false;
        }
        if let Some((at, base)) = self.refused {
            let released = self.ids.base() != base;
            if !released && (self.ids.in_flight() > 0 || at.elapsed() < ASK_AGAIN) {
                return false;
            }
            self.refused = None;
        }
        self.ids.in_flight() < self.options.limits.calls
            && bytes <= self.options.limits.bytes.saturating_sub(self.ids.bytes())
    }

    /// Counts a call that sent `bytes` of the last payload.
    #[inline]
    fn sent(&mut self, bytes: usize, last: bool, wanted: bool, by_reference: bool) {
        self.written += bytes as u64;
        let Some(begun) = self.begun.back_mut() else { return };
        // First of all: from here on the ids are the kernel's again.
        if by_reference {
            let id = self.ids.issue(bytes, self.written);
            begun.end = Some(id + 1);
            self.timed.get_or_insert_with(|| (id, Instant::now()));
            if self.asking == Asking::Next {
                self.asking = Asking::Made;
            }
            self.since_reap = (self.since_reap.0 + bytes, self.since_reap.1 + 1);
            self.stats.calls_by_reference += 1;
            self.stats.bytes_by_reference += bytes as u64;
            self.stats.peak_in_flight_bytes = self.stats.peak_in_flight_bytes.max(self.ids.bytes());
        } else {
            self.stats.bytes_copied += bytes as u64;
            self.stats.calls_copying += 1;
            if wanted {
                begun.outcome = begun.outcome.max(Outcome::Copied);
            }
        }
        self.place = begun.payload.advance(self.place, bytes);
        if last {
            self.finish();
        }
    }

    /// All of the last payload was sent.
    #[inline]
    fn finish(&mut self) {
        let Some(begun) = self.begun.back_mut().filter(|begun| !begun.finished) else { return };
        begun.finished = true;
        if begun.end.is_none() {
            // All of it was copied: it is free now, whatever else is in flight.
            begun.outcome = begun.outcome.max(Outcome::Copied);
            if let Some(begun) = self.begun.pop_back() {
                begun.release();
            }
        } else {
            self.release();
        }
    }

    /// Reads reports if enough was sent since the last time.
    #[inline]
    pub(crate) fn read_reports_if_due(&mut self) -> io::Result<()> {
        if self.since_reap.0 >= REAP_BYTES || self.since_reap.1 >= REAP_CALLS || self.asking == Asking::Made {
            self.read_reports()?;
        } else if self.told.is_due() {
            self.tell();
        }
        Ok(())
    }

    /// Adds what was counted to what the process counts.
    pub(crate) fn tell(&mut self) {
        let now = self.stats();
        self.told.tell(now);
    }

    /// Reads every report that is there. Returns how many calls were released.
    pub(crate) fn read_reports(&mut self) -> io::Result<usize> {
        self.since_reap = (0, 0);
        let mut control = Control::new();
        let before = self.ids.base();
        loop {
            let mut reports = [None; BATCH];
            let mut count = 0;
            while count < BATCH {
                self.stats.system_calls += 1;
                match socket::recv_error_queue(&self.shared.stream, &mut control)? {
                    None => break,
                    Some(bytes) => match Entry::parse(bytes) {
                        Entry::Released(report) => {
                            reports[count] = Some(report);
                            count += 1;
                        }
                        Entry::Foreign => self.stats.foreign += 1,
                    },
                }
            }
            if count > 0 {
                // Asked after the reports were read: what they report was acknowledged by then, or never will be.
                let acknowledged = self.acknowledged();
                let mut news = None;
                for report in reports.iter().flatten() {
                    news = self.note(*report, acknowledged).or(news);
                }
                self.release();
                // Last: it may be anybody's code.
                if let Some(route) = &self.route {
                    route.log(news);
                }
            }
            if count < BATCH {
                if let Some((id, at)) = self.timed
                    && self.ids.base() > id
                {
                    self.stats.report_times.note(at.elapsed());
                    self.timed = None;
                }
                self.tell();
                return Ok((self.ids.base() - before) as usize);
            }
        }
    }

    /// Returns what is new of the route.
    fn note(&mut self, report: Report, acknowledged: u64) -> Option<Answer> {
        if self.frozen {
            return None;
        }
        self.stats.merged_reports += u64::from(report.count() > 1);
        // What was not acknowledged may never have been sent, and says nothing of the route.
        let sent = Cell::new(0);
        let outcome = |end: u64| {
            if end > acknowledged {
                return Outcome::Aborted;
            }
            sent.set(sent.get() + 1);
            if report.copied { Outcome::Copied } else { Outcome::ByReference }
        };
        self.frozen = self.ids.note(report, outcome).is_err();
        let route = self.route.as_ref().filter(|_| sent.get() > 0)?;
        self.asking = Asking::No;
        route.reported(sent.get(), report.copied)
    }

    /// How many of the bytes written the peer has acknowledged.
    fn acknowledged(&mut self) -> u64 {
        self.acknowledged_at_end.unwrap_or_else(|| {
            self.stats.system_calls += 1;
            let queued = socket::unacknowledged(&self.shared.stream).unwrap_or(usize::MAX);
            self.written.saturating_sub(queued as u64)
        })
    }

    /// Releases what was reported, in order.
    fn release(&mut self) {
        loop {
            // A payload goes when it is finished and its last call is released, also where that came before it was finished.
            while let Some(front) = self.begun.front()
                && front.finished
                && front.end.is_none_or(|end| end <= self.ids.base())
            {
                // Out of the queue before its owner is dropped: that may be anybody's code, and may panic.
                if let Some(begun) = self.begun.pop_front() {
                    begun.release();
                }
            }
            let Some(outcome) = self.ids.release() else { break };
            self.stats.released += 1;
            self.stats.released_copied += u64::from(outcome == Outcome::Copied);
            self.stats.released_aborted += u64::from(outcome == Outcome::Aborted);
            if let Some(front) = self.begun.front_mut() {
                front.outcome = front.outcome.max(outcome);
            }
        }
        if self.is_disconnected() && !self.may_be_referred_to() {
            self.release_cut();
        }
    }

    /// Gives back what was begun and never finished. The kernel must not refer to anything, and nothing must be sent any more.
    fn release_cut(&mut self) {
        while let Some(mut begun) = self.begun.pop_front() {
            begun.outcome = Outcome::Aborted;
            begun.release();
        }
    }

    /// Gives back what the queues have grown to, where nothing is in flight: for a connection that may be idle from now on.
    pub(crate) fn shrink(&mut self) {
        if self.begun.is_empty() {
            self.begun.shrink_to(KEPT);
            self.ids.shrink();
        }
    }

    /// The error that has ended the connection, if one has.
    pub(crate) fn take_error(&mut self) -> io::Result<()> {
        self.stats.system_calls += 1;
        match self.shared.stream.take_error()? {
            // One of the way, of which the connection may recover, is not its end.
            Some(error) if self.is_over() => Err(self.shared.note(error)),
            _ => Ok(()),
        }
    }

    /// Half-closes: what was sent goes out, then a FIN.
    pub(crate) fn shutdown_send(&mut self) -> io::Result<()> {
        self.stats.system_calls += 1;
        self.shared.stream.shutdown(Shutdown::Write)?;
        // A FIN has a place in the stream, once.
        if !self.is_shut {
            self.is_shut = true;
            self.written += 1;
        }
        Ok(())
    }

    /// Drops the connection and everything that the kernel still holds of it, and reads what it reports then.
    pub(crate) fn disconnect(&mut self) -> io::Result<()> {
        // What is there was released in the ordinary way.
        self.read_reports()?;
        let acknowledged = self.acknowledged();
        // Whoever waits in recv gets this, and no orderly end.
        if self.shared.noted().is_none() {
            self.shared.error.store(libc::ECONNABORTED, Ordering::Relaxed);
        }
        // A thread that waits in recv makes kernels from 6.1.33 to 6.6 refuse (EBUSY): it is woken.
        let _ = self.shared.stream.shutdown(Shutdown::Read);
        self.stats.system_calls += 2;
        socket::disconnect(&self.shared.stream)?;
        self.acknowledged_at_end = Some(acknowledged);
        self.able = false;
        self.read_reports()?;
        self.release();
        Ok(())
    }

    /// Whether it was ended by [`Connection::disconnect`].
    #[inline]
    pub(crate) fn is_disconnected(&self) -> bool {
        self.acknowledged_at_end.is_some()
    }

    /// Whether the connection has ended in both directions, or was reset.
    pub(crate) fn is_over(&self) -> bool {
        socket::is_closed(&self.shared.stream)
    }

    /// Whether all was acknowledged, and not only given up.
    pub(crate) fn is_acknowledged(&self) -> bool {
        socket::unacknowledged(&self.shared.stream).is_ok_and(|bytes| bytes == 0)
    }

    /// Whether the peer has sent something that was not read.
    pub(crate) fn has_input(&self) -> bool {
        socket::unread(&self.shared.stream).is_ok_and(|bytes| bytes > 0)
    }

    /// Throws away what the peer has sent, 1 MiB at most: to close a socket with unread data resets the connection.
    pub(crate) fn discard_input(&self) -> Input {
        match socket::discard(&self.shared.stream) {
            Ok(0) => Input::Ended,
            Ok(_) => Input::Some,
            Err(_) => Input::None,
        }
    }

    /// Whether a read half is left.
    pub(crate) fn has_reader(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// SO_LINGER off: a close neither waits nor drops what is unsent.
    pub(crate) fn forget_linger(&self) {
        socket::forget_linger(&self.shared.stream);
    }

    /// Leaks every payload that the kernel may still refer to, and closes its half of the socket. Returns the bytes that are leaked.
    pub(crate) fn leak(mut self) -> usize {
        let bytes = if self.may_be_referred_to() { self.held() } else { 0 };
        // Also the claims, whose receipts stay pending: to wake a task is anybody's code.
        self.begun.drain(..).for_each(mem::forget);
        bytes
    }

    /// Whether the kernel may still refer to a payload.
    pub(crate) fn may_be_referred_to(&self) -> bool {
        self.frozen || self.ids.in_flight() > 0
    }
}

impl Begun {
    /// The kernel is done with it.
    fn release(self) {
        let payload = ManuallyDrop::into_inner(self.payload);
        if let Some(claim) = self.claim {
            claim.resolve(Released { payload, outcome: self.outcome });
        }
    }
}

impl Drop for Connection {
    /// What the kernel may still refer to is leaked. The rest is a payload that was never finished.
    fn drop(&mut self) {
        self.told.end(self.stats);
        if !self.may_be_referred_to() {
            self.release_cut();
        }
    }
}
