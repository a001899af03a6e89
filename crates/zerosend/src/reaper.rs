//! What becomes of a dropped sender: one thread half-closes its connection, waits for the kernel to be done with its payloads, and closes.
//!
//! The thread looks at each connection now and then, from every millisecond to every 200 ms, instead of waiting for events: a
//! connection that both ends have closed is ready for ever, and at most a thousand are looked at. It starts with the first one and
//! ends when there has been none for a second.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::rota::Rota;
use crate::sys::connection::{Connection, Input};
use crate::sys::socket;

/// For how long dropped senders may go on in the background, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linger {
    /// A connection on which the peer has acknowledged nothing for this long is reset. One with a [`ReadHalf`](crate::ReadHalf) that is
    /// still in use is not.
    pub time: Duration,
    /// Bytes of payloads, over all connections. Beyond them the oldest connections are reset whose peers have acknowledged nothing for
    /// a second; beyond twice as many the oldest, whatever their peers do.
    pub bytes: usize,
    /// Likewise connections, each of which has a descriptor.
    pub connections: usize,
}

impl Default for Linger {
    /// 30 s, 64 MiB, and 1,024 connections, or a quarter of the descriptors that the process may have where that is less.
    fn default() -> Self {
        let descriptors = socket::most_descriptors().unwrap_or(1024);
        Self {
            time: Duration::from_secs(30),
            bytes: 64 << 20,
            connections: (descriptors / 4).clamp(16, 1024),
        }
    }
}

/// What became of dropped senders, in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Senders that were dropped before the kernel was done.
    pub taken_over: u64,
    /// Of these, those whose connections were closed when everything was acknowledged.
    pub closed: u64,
    /// Of these, those whose peers ended the connection before that.
    pub broken: u64,
    /// Of these, those that were reset: the time was over, a bound was reached, or a payload was cut off by its cursor's drop.
    pub reset: u64,
    /// Bytes of payloads that are leaked, because the kernel never reported that it is done with them.
    pub leaked_bytes: u64,
    /// Connections that are waited for now.
    pub waiting: usize,
}

/// A connection whose sender was dropped.
struct Orphan {
    connection: Connection,
    /// What the peer had taken, and when that last changed.
    progress: (u64, u64),
    progressed: Instant,
    /// The peer goes on sending, so that a close now would reset the connection before it has read everything: when it last did.
    input: Option<Instant>,
    /// When it is looked at next, and how long after that.
    next: Instant,
    pause: Duration,
}

struct State {
    orphans: Rota<Orphan>,
    /// The process whose thread it is: a fork has no thread.
    process: u32,
    linger: Option<Linger>,
    counts: Dropped,
}

static STATE: Mutex<State> = Mutex::new(State {
    orphans: Rota::new(),
    process: 0,
    linger: None,
    counts: Dropped { taken_over: 0, closed: 0, broken: 0, reset: 0, leaked_bytes: 0, waiting: 0 },
});
/// Wakes the thread when there is a new one, and whoever waits for all of them when one is gone.
static CHANGED: Condvar = Condvar::new();

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Without progress for this long, a connection may be reset where there are too many.
const STALLED: Duration = Duration::from_secs(1);
/// A peer that sends on is waited for until it was quiet for this long.
const QUIET: Duration = Duration::from_secs(2);
/// The thread ends when it had nothing to do for this long.
const IDLE: Duration = Duration::from_secs(1);

fn state() -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if state.process != process {
        // After a fork: these connections are the other process's, and so are their payloads.
        for orphan in mem::replace(&mut state.orphans, Rota::new()).take() {
            orphan.connection.leak();
        }
        state.process = process;
    }
    state
}

/// For how long dropped senders may go on, for all of this process from now on.
pub fn set_linger(linger: Linger) {
    state().linger = Some(linger);
    CHANGED.notify_all();
}

/// The value that [`set_linger`] has set.
pub fn linger() -> Linger {
    state().linger.unwrap_or_default()
}

/// What became of dropped senders so far.
pub fn dropped() -> Dropped {
    let state = state();
    Dropped { waiting: state.orphans.len(), ..state.counts }
}

/// Waits until no dropped sender is waited for any more: call it before the process ends, which would reset connections with unread
/// data. False: at the deadline there still are some.
pub fn wait_for_dropped(deadline: Instant) -> bool {
    let mut state = state();
    loop {
        if state.orphans.is_empty() {
            return true;
        }
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            return false;
        }
        if !state.orphans.is_running() {
            // No thread could be started: this one looks at them.
            state = round(state, now);
            state = CHANGED
                .wait_timeout(state, left.min(LONGEST_PAUSE))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            continue;
        }
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Takes a connection whose sender was dropped: closes it if there is nothing to wait for, and leaves it to the thread otherwise.
pub(crate) fn take_over(mut connection: Connection) {
    let _ = connection.read_reports();
    let cut = connection.is_cut();
    let done = !connection.may_be_referred_to() && !cut && connection.is_acknowledged();
    if done && (connection.has_reader() || !connection.has_input())
        || connection.is_over() && !connection.may_be_referred_to()
    {
        if connection.has_reader() {
            let _ = connection.shutdown_send();
        }
        return;
    }
    connection.forget_linger();
    if !cut {
        // After this the peer sees an orderly end behind what was sent; what was cut off must not look like that.
        let _ = connection.shutdown_send();
    }
    let now = Instant::now();
    let (progress, progressed) = (connection.progress(), now);
    let orphan = Orphan {
        connection,
        progress,
        progressed,
        input: None,
        next: now + SHORTEST_PAUSE,
        pause: SHORTEST_PAUSE,
    };
    let mut state = state();
    state.counts.taken_over += 1;
    if state.orphans.add(orphan) {
        let thread = || thread::Builder::new().name("zerosend".to_owned()).spawn(run);
        if socket::without_signals(thread).is_err() {
            state.orphans.did_not_start();
            // No thread is to be had: whoever drops a sender looks at all of them, and the next one tries again.
            drop(round(state, now));
            return;
        }
    }
    drop(state);
    CHANGED.notify_all();
}

/// Looks at all connections once.
fn round(mut state: MutexGuard<'static, State>, now: Instant) -> MutexGuard<'static, State> {
    let mut orphans = state.orphans.take();
    let count = orphans.len();
    let linger = state.linger.unwrap_or_default();
    drop(state);
    // Without the lock: to free a payload runs its owner's code, which may drop a sender. Nothing else here runs anybody's.
    let counts = look_at(&mut orphans, linger, now);
    let mut state = self::state();
    state.orphans.put_back(orphans, count);
    state.counts.closed += counts.closed;
    state.counts.broken += counts.broken;
    state.counts.reset += counts.reset;
    state.counts.leaked_bytes += counts.leaked_bytes;
    CHANGED.notify_all();
    state
}

/// The thread.
fn run() {
    let mut idle_since = Instant::now();
    let mut state = state();
    loop {
        let now = Instant::now();
        if !state.orphans.is_empty() {
            idle_since = now;
        }
        let next = state.orphans.waiting().iter().map(|orphan| orphan.next).min();
        let until = match next {
            None if now >= idle_since + IDLE && state.orphans.stop_if_empty() => return,
            None => idle_since + IDLE,
            Some(_) if is_over(&state) => now,
            Some(next) => next,
        };
        if until > now {
            state = CHANGED.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        state = round(state, now);
    }
}

/// Whether there are so many connections that they cannot wait for their turn.
fn is_over(state: &State) -> bool {
    crowd(0, state.orphans.len(), state.linger.unwrap_or_default()) == Crowd::Hard
}

/// How far more is held than there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Crowd {
    None,
    /// Those that are stalled must go.
    Soft,
    /// The oldest must go.
    Hard,
}

fn crowd(bytes: usize, connections: usize, linger: Linger) -> Crowd {
    let over = |times: usize| {
        bytes > linger.bytes.saturating_mul(times) || connections > linger.connections.saturating_mul(times)
    };
    match (over(1), over(2)) {
        // A single one may be as large as it likes.
        _ if connections <= 1 => Crowd::None,
        (_, true) => Crowd::Hard,
        (true, _) => Crowd::Soft,
        _ => Crowd::None,
    }
}

/// Looks at those whose turn it is, and resets what is too old or too much.
fn look_at(orphans: &mut Vec<Orphan>, linger: Linger, now: Instant) -> Dropped {
    let mut counts = Dropped::default();
    let mut kept = Vec::with_capacity(orphans.len());
    let crowded_out = orphans.len() > linger.connections;
    // Those that were reset wait for a network device, which returns what it has in moments: they count no more.
    let counts_of = |orphan: &Orphan| match orphan.connection.is_disconnected() {
        true => (0, 0),
        false => (orphan.connection.held(), 1),
    };
    let held: Vec<(usize, usize)> = orphans.iter().map(counts_of).collect();
    let (mut bytes, mut connections) = held.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    for (mut orphan, held) in orphans.drain(..).zip(held) {
        let crowd = crowd(bytes, connections, linger);
        if orphan.next > now && crowd < Crowd::Hard {
            kept.push(orphan);
            continue;
        }
        orphan.pause = (2 * orphan.pause).min(LONGEST_PAUSE);
        orphan.next = now + orphan.pause;
        // An owner that panics when it is freed loses its own connection's turn and nothing else.
        let turn = catch_unwind(AssertUnwindSafe(|| orphan.turn(now, linger.time, crowd, crowded_out)));
        let verdict = turn.unwrap_or(Verdict::Wait);
        if verdict != Verdict::Wait || orphan.connection.is_disconnected() {
            bytes -= held.0;
            connections -= held.1;
        }
        match verdict {
            Verdict::Wait => {
                kept.push(orphan);
                continue;
            }
            Verdict::Closed => counts.closed += 1,
            Verdict::Broken => counts.broken += 1,
            Verdict::Reset | Verdict::Leaked => counts.reset += 1,
        }
        if verdict == Verdict::Leaked {
            counts.leaked_bytes += orphan.connection.leak() as u64;
        } else {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(orphan.connection)));
        }
    }
    *orphans = kept;
    counts
}

/// What became of a connection in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Wait,
    /// Everything was acknowledged.
    Closed,
    /// The peer ended it before that.
    Broken,
    /// It was ended by us, and the kernel is done with its payloads.
    Reset,
    /// It was ended, and the kernel will not say that it is done.
    Leaked,
}

impl Orphan {
    fn turn(&mut self, now: Instant, time: Duration, crowd: Crowd, crowded_out: bool) -> Verdict {
        let connection = &mut self.connection;
        let _ = connection.read_reports();
        let done = !connection.may_be_referred_to();
        if connection.is_disconnected() {
            return match done {
                true => Verdict::Reset,
                false if connection.is_frozen() => Verdict::Leaked,
                // A network device still has it. It is waited for as long as there is room, and for a second in any case.
                false if crowded_out && now.duration_since(self.progressed) >= STALLED => Verdict::Leaked,
                false => Verdict::Wait,
            };
        }
        if !connection.has_reader() {
            match connection.discard_input() {
                Input::Some => self.input = Some(now),
                Input::Ended => self.input = None,
                Input::None => {}
            }
        }
        let progress = connection.progress();
        if progress != self.progress {
            (self.progress, self.progressed) = (progress, now);
        }
        let acknowledged = connection.is_acknowledged();
        let quiet = self.input.is_none_or(|last| now.duration_since(last) >= QUIET);
        match (done, connection.is_over()) {
            (true, true) if acknowledged => return Verdict::Closed,
            (true, true) => return Verdict::Broken,
            (true, false) if acknowledged && quiet && !connection.is_cut() => return Verdict::Closed,
            _ => {}
        }
        let still = now.duration_since(self.progressed);
        let cut_off = done && acknowledged && connection.is_cut();
        let late = still >= time && !connection.has_reader();
        let crowded = crowd == Crowd::Hard || (crowd == Crowd::Soft && still >= STALLED);
        if !(cut_off || late || crowded) {
            return Verdict::Wait;
        }
        // A kernel that refuses for now is asked again in the next turn.
        if connection.disconnect().is_err() {
            return if crowd == Crowd::Hard { Verdict::Leaked } else { Verdict::Wait };
        }
        (self.next, self.pause, self.progressed) = (now + SHORTEST_PAUSE, SHORTEST_PAUSE, now);
        match (connection.may_be_referred_to(), connection.is_frozen()) {
            (false, _) => Verdict::Reset,
            (true, true) => Verdict::Leaked,
            (true, false) => Verdict::Wait,
        }
    }
}
