//! What becomes of a dropped sender: one thread half-closes its connection, waits for the kernel to be done with its payloads, and closes.
//!
//! The thread looks at each connection now and then, from every millisecond to every 100 ms, instead of waiting for events: a
//! connection that both ends have closed is ready for ever, and at most a thousand are looked at. It starts with the first one and
//! ends when there has been none for a second.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::connection::Connection;
use crate::sys::socket;

/// For how long dropped senders may go on in the background, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linger {
    /// A connection on which the kernel is not done by then is reset. One with a [`ReadHalf`](crate::ReadHalf) that is still in
    /// use is not.
    pub time: Duration,
    /// Bytes of payloads, over all connections. Beyond them the oldest connections are reset.
    pub bytes: usize,
    /// Likewise connections, each of which has a descriptor.
    pub connections: usize,
}

impl Default for Linger {
    /// 30 s, 64 MiB, 1,024 connections.
    fn default() -> Self {
        Self { time: Duration::from_secs(30), bytes: 64 << 20, connections: 1024 }
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
    deadline: Instant,
    /// When it is looked at next, and how long after that.
    next: Instant,
    pause: Duration,
}

struct State {
    /// The oldest first.
    orphans: Vec<Orphan>,
    /// The thread has some of them in hand.
    in_hand: usize,
    running: bool,
    linger: Option<Linger>,
    counts: Dropped,
}

static STATE: Mutex<State> = Mutex::new(State {
    orphans: Vec::new(),
    in_hand: 0,
    running: false,
    linger: None,
    counts: Dropped { taken_over: 0, closed: 0, reset: 0, leaked_bytes: 0, waiting: 0 },
});
/// Wakes the thread when there is a new one, and whoever waits for all of them when one is gone.
static CHANGED: Condvar = Condvar::new();

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The thread ends when it had nothing to do for this long.
const IDLE: Duration = Duration::from_secs(1);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
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
    Dropped { waiting: state.orphans.len() + state.in_hand, ..state.counts }
}

/// Waits until no dropped sender is waited for any more: call it before the process ends, which would reset connections with unread
/// data. False: at the deadline there still are some.
pub fn wait_for_dropped(deadline: Instant) -> bool {
    let mut state = state();
    loop {
        if state.orphans.is_empty() && state.in_hand == 0 {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Takes a connection whose sender was dropped: closes it if there is nothing to wait for, and leaves it to the thread otherwise.
pub(crate) fn take_over(mut connection: Connection) {
    let _ = connection.read_reports();
    let cut = connection.is_cut();
    if !connection.may_be_referred_to() && !cut && connection.is_settled() {
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
    let mut state = state();
    state.counts.taken_over += 1;
    let deadline = now + state.linger.unwrap_or_default().time;
    state.orphans.push(Orphan { connection, deadline, next: now + SHORTEST_PAUSE, pause: SHORTEST_PAUSE });
    if !state.running {
        let thread = || thread::Builder::new().name("zerosend".to_owned()).stack_size(128 << 10).spawn(run);
        // No thread is to be had: whoever drops the next sender tries again. Until then nothing is freed early.
        state.running = socket::without_signals(thread).is_ok();
    }
    drop(state);
    CHANGED.notify_all();
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
        let next = state.orphans.iter().map(|orphan| orphan.next).min();
        let until = match next {
            None if now >= idle_since + IDLE => {
                state.running = false;
                return;
            }
            None => idle_since + IDLE,
            Some(_) if is_over(&state) => now,
            Some(next) => next,
        };
        if until > now {
            state = CHANGED.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let mut orphans = mem::take(&mut state.orphans);
        let linger = state.linger.unwrap_or_default();
        state.in_hand = orphans.len();
        drop(state);
        // Without the lock: to free a payload runs its owner's code, which may drop a sender.
        let counts = look_at(&mut orphans, linger, now);
        state = self::state();
        state.in_hand = 0;
        state.counts.closed += counts.closed;
        state.counts.reset += counts.reset;
        state.counts.leaked_bytes += counts.leaked_bytes;
        orphans.append(&mut state.orphans);
        state.orphans = orphans;
        CHANGED.notify_all();
    }
}

/// Whether there are more connections than there may be, so that the oldest cannot wait for their turn.
fn is_over(state: &State) -> bool {
    state.orphans.len() > state.linger.unwrap_or_default().connections
}

/// Looks at those whose turn it is, and resets what is too old or too much.
fn look_at(orphans: &mut Vec<Orphan>, linger: Linger, now: Instant) -> Dropped {
    let mut counts = Dropped::default();
    let mut kept = Vec::with_capacity(orphans.len());
    let held: Vec<usize> = orphans.iter().map(|orphan| orphan.connection.held()).collect();
    let (mut bytes, mut connections) = (held.iter().sum::<usize>(), orphans.len());
    for (mut orphan, held) in orphans.drain(..).zip(held) {
        let crowded = bytes > linger.bytes || connections > linger.connections;
        if orphan.next > now && !crowded {
            kept.push(orphan);
            continue;
        }
        orphan.pause = (2 * orphan.pause).min(LONGEST_PAUSE);
        orphan.next = now + orphan.pause;
        // An owner that panics when it is freed loses its own connection's turn and nothing else.
        let verdict = catch_unwind(AssertUnwindSafe(|| orphan.turn(now, crowded))).unwrap_or(Verdict::Wait);
        match verdict {
            Verdict::Wait => {
                kept.push(orphan);
                continue;
            }
            Verdict::Closed => counts.closed += 1,
            Verdict::Reset => counts.reset += 1,
            Verdict::Leaked => {
                counts.reset += 1;
                counts.leaked_bytes += held as u64;
            }
        }
        bytes -= held;
        connections -= 1;
        let freed = match verdict {
            Verdict::Leaked => {
                orphan.connection.leak();
                Ok(())
            }
            _ => catch_unwind(AssertUnwindSafe(|| drop(orphan.connection))),
        };
        drop(freed);
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
    /// It was ended by us, and the kernel is done with its payloads.
    Reset,
    /// It was ended, and the kernel will not say that it is done.
    Leaked,
}

impl Orphan {
    fn turn(&mut self, now: Instant, crowded: bool) -> Verdict {
        let connection = &mut self.connection;
        let _ = connection.read_reports();
        if !connection.has_reader() {
            connection.discard_input();
        }
        let done = !connection.may_be_referred_to();
        if connection.is_disconnected() {
            return match done {
                true => Verdict::Reset,
                // A network device still has it, for as long as it likes. It is waited for as long as there is room.
                false if crowded || connection.is_frozen() => Verdict::Leaked,
                false => Verdict::Wait,
            };
        }
        let settled = done && connection.is_settled();
        if settled && !connection.is_cut() {
            return Verdict::Closed;
        }
        let late = now >= self.deadline && !connection.has_reader();
        if settled || late || crowded {
            // A kernel that refuses for now is asked again in the next turn.
            if connection.disconnect().is_err() {
                return if crowded { Verdict::Leaked } else { Verdict::Wait };
            }
            self.next = now + SHORTEST_PAUSE;
            self.pause = SHORTEST_PAUSE;
            return match (connection.may_be_referred_to(), connection.is_frozen()) {
                (false, _) => Verdict::Reset,
                (true, true) => Verdict::Leaked,
                (true, false) => Verdict::Wait,
            };
        }
        Verdict::Wait
    }
}
