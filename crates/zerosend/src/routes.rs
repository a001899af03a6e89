//! What the kernel makes of sends by reference, for each pair of addresses: learned from reports, shared by all connections of the
//! process.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::sys::clock;

/// An answer is believed for so long, in milliseconds; one that reports go on to confirm, for so long after the last.
const BELIEVED: u64 = 60_000;

/// Whoever asks has so long to hear, in milliseconds. Then another may ask: the connection may be gone.
const PATIENCE: u64 = 1_000;

/// Most routes that are remembered.
const ROUTES: usize = 256;

/// What is known of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nothing.
    Unknown,
    /// A call was made to see, and is not reported yet.
    Asked,
    /// The kernel sends by reference.
    ByReference,
    /// The kernel copies what it is given by reference.
    Copied,
    /// The kernel refuses, for want of memory (ENOBUFS).
    Refused,
}

impl Answer {
    const ALL: [Self; 5] = [Self::Unknown, Self::Asked, Self::ByReference, Self::Copied, Self::Refused];
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Asked => "asked",
            Self::ByReference => "by reference",
            Self::Copied => "copied",
            Self::Refused => "refused",
        })
    }
}

/// A route, and what is known of it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// The address of this end.
    pub local: IpAddr,
    /// The address of the peers.
    pub peer: IpAddr,
    /// What the kernel makes of sends by reference.
    pub answer: Answer,
    /// How long ago that was asked, or last reported.
    pub age: Duration,
}

/// What is known of the routes of this process on which [`Policy::Auto`](crate::Policy::Auto) has asked, as far as it still counts: an
/// answer for a minute, and one that reports confirm for a minute after the last.
pub fn routes() -> Vec<RouteStats> {
    let now = clock::milliseconds();
    let routes = table();
    let known = routes.iter().filter_map(|route| {
        let state = route.load();
        let age = Duration::from_millis(now.saturating_sub(state.since));
        let answer = state.answer;
        state.holds(now).then_some(RouteStats { local: route.local, peer: route.peer, answer, age })
    });
    known.collect()
}

/// What a payload may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Go by reference.
    Go,
    /// The same, and nobody else may until this is reported.
    Ask,
    /// Be copied, because of this answer.
    Copy(Answer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    answer: Answer,
    /// A bit for each of the last 16 calls, the last one in the lowest: it was copied or refused.
    bad: u16,
    /// In milliseconds of the clock.
    since: u64,
}

impl State {
    /// 3 bits for the answer, 16 for the calls, 45 for the time.
    fn pack(self) -> u64 {
        self.answer as u64 | u64::from(self.bad) << 3 | self.since << 19
    }

    fn unpack(bits: u64) -> Self {
        let answer = Answer::ALL.get((bits & 7) as usize).copied().unwrap_or(Answer::Unknown);
        Self { answer, bad: (bits >> 3) as u16, since: bits >> 19 }
    }

    /// Whether the answer still counts.
    #[inline]
    fn holds(self, now: u64) -> bool {
        let long = match self.answer {
            Answer::Unknown => 0,
            Answer::Asked => PATIENCE,
            _ => BELIEVED,
        };
        now.saturating_sub(self.since) < long
    }

    /// Of the next payload.
    #[inline]
    fn permit(self, now: u64) -> Permit {
        match self.answer {
            _ if !self.holds(now) => Permit::Ask,
            Answer::ByReference => Permit::Go,
            answer => Permit::Copy(answer),
        }
    }

    /// After so many calls were reported copied, or not, or one was `refused`.
    fn after(self, calls: u32, bad: Answer, now: u64) -> Self {
        let was_bad = bad != Answer::ByReference;
        match self.answer {
            // Of calls that were made before it was known.
            Answer::Copied | Answer::Refused if self.holds(now) => self,
            Answer::ByReference if self.holds(now) => {
                let shift = calls.min(16);
                let news = if was_bad { (1u32 << shift) - 1 } else { 0 };
                let recent = ((u32::from(self.bad) << shift) | news) as u16;
                let answer = if recent.count_ones() > 8 { bad } else { Answer::ByReference };
                Self { answer, bad: recent, since: now }
            }
            // The first.
            _ => Self { answer: bad, bad: if was_bad { u16::MAX } else { 0 }, since: now },
        }
    }
}

/// A local and a peer address.
pub(crate) struct Route {
    local: IpAddr,
    peer: IpAddr,
    state: AtomicU64,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {}", self.local, self.peer, self.load().answer)
    }
}

impl Route {
    fn load(&self) -> State {
        State::unpack(self.state.load(Ordering::Relaxed))
    }

    /// What a payload that has large pieces may do now.
    #[inline]
    pub(crate) fn permit(&self) -> Permit {
        let state = self.state.load(Ordering::Relaxed);
        let now = clock::milliseconds();
        let permit = State::unpack(state).permit(now);
        if permit != Permit::Ask {
            return permit;
        }
        let asked = State { answer: Answer::Asked, bad: 0, since: now }.pack();
        match self.state.compare_exchange(state, asked, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Permit::Ask,
            // Another thread was faster.
            Err(_) => Permit::Copy(Answer::Asked),
        }
    }

    /// Whether somebody asks, and was not told yet.
    pub(crate) fn is_asked(&self) -> bool {
        self.load().answer == Answer::Asked
    }

    /// So many calls were reported, as copied or not. Returns the answer where it is a new one.
    pub(crate) fn reported(&self, calls: u32, copied: bool) -> Option<Answer> {
        self.learn(calls, if copied { Answer::Copied } else { Answer::ByReference })
    }

    /// A call was refused with ENOBUFS. Returns the answer where it is a new one.
    pub(crate) fn refused(&self) -> Option<Answer> {
        self.learn(1, Answer::Refused)
    }

    fn learn(&self, calls: u32, answer: Answer) -> Option<Answer> {
        let now = clock::milliseconds();
        let mut bits = self.state.load(Ordering::Relaxed);
        let (before, after) = loop {
            let before = State::unpack(bits);
            let after = before.after(calls, answer, now);
            match self.state.compare_exchange_weak(bits, after.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break (before.answer, after.answer),
                Err(other) => bits = other,
            }
        };
        (after != before).then_some(after)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn log(&self, news: Option<Answer>) {
        let Self { local, peer, .. } = self;
        let Some(answer) = news else { return };
        match answer {
            Answer::ByReference => {
                tracing::debug!(%local, %peer, "the kernel sends by reference on this route")
            }
            Answer::Copied => {
                tracing::debug!(%local, %peer, "the kernel copies what it is given by reference on this route: copying for a minute");
            }
            Answer::Refused => {
                tracing::warn!(%local, %peer, "the kernel refuses sends by reference on this route (ENOBUFS): copying for a minute");
            }
            Answer::Unknown | Answer::Asked => {}
        }
    }

    #[cfg(not(feature = "tracing"))]
    #[allow(clippy::unused_self, reason = "as above")]
    pub(crate) fn log(&self, _: Option<Answer>) {}
}

static TABLE: Mutex<Vec<Arc<Route>>> = Mutex::new(Vec::new());

fn table() -> MutexGuard<'static, Vec<Arc<Route>>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The route of a connection between these addresses; `None` where another thread has the table now, or had it when this process was
/// forked.
pub(crate) fn between(local: IpAddr, peer: IpAddr) -> Option<Arc<Route>> {
    let (local, peer) = (local.to_canonical(), peer.to_canonical());
    let mut routes = match TABLE.try_lock() {
        Ok(routes) => routes,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    if let Some(known) = routes.iter().find(|route| (route.local, route.peer) == (local, peer)) {
        return Some(Arc::clone(known));
    }
    if routes.len() >= ROUTES {
        forget(&mut routes, clock::milliseconds());
    }
    let state = State { answer: Answer::Unknown, bad: 0, since: 0 };
    let route = Arc::new(Route { local, peer, state: AtomicU64::new(state.pack()) });
    routes.push(Arc::clone(&route));
    Some(route)
}

/// Makes room for one more: what no longer holds goes, or else the oldest. Connections keep what they have.
fn forget(routes: &mut Vec<Arc<Route>>, now: u64) {
    routes.retain(|route| route.load().holds(now));
    if routes.len() >= ROUTES {
        let oldest = (0..routes.len()).min_by_key(|index| routes[*index].load().since);
        oldest.map(|index| routes.swap_remove(index));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNKNOWN: State = State { answer: Answer::Unknown, bad: 0, since: 0 };

    fn state(answer: Answer, since: u64) -> State {
        State { answer, bad: 0, since }
    }

    #[test]
    fn one_asks_and_the_others_copy_until_it_knows() {
        assert_eq!(UNKNOWN.permit(5), Permit::Ask);
        let asked = state(Answer::Asked, 5);
        assert_eq!(asked.permit(5 + PATIENCE - 1), Permit::Copy(Answer::Asked));
        assert_eq!(asked.permit(5 + PATIENCE), Permit::Ask, "whoever asked is gone");
        for (bad, permit) in [
            (Answer::ByReference, Permit::Go),
            (Answer::Copied, Permit::Copy(Answer::Copied)),
            (Answer::Refused, Permit::Copy(Answer::Refused)),
        ] {
            let known = asked.after(1, bad, 10);
            assert_eq!(known.permit(10 + BELIEVED - 1), permit);
            assert_eq!(known.permit(10 + BELIEVED), Permit::Ask, "after a minute");
        }
    }

    #[test]
    fn some_copies_are_no_reason_and_more_than_half_are() {
        let open = state(Answer::Asked, 0).after(1, Answer::ByReference, 0);
        let some =
            (0..20).fold(open, |state, _| state.after(1, Answer::Copied, 1).after(1, Answer::ByReference, 1));
        assert_eq!(some.answer, Answer::ByReference);
        assert_eq!(open.after(8, Answer::Copied, 1).answer, Answer::ByReference);
        assert_eq!(open.after(9, Answer::Copied, 1).answer, Answer::Copied);
        assert_eq!(open.after(1000, Answer::Copied, 1).answer, Answer::Copied);
        let refused = (0..9).fold(open, |state, _| state.after(1, Answer::Refused, 1));
        assert_eq!(refused.answer, Answer::Refused);
        // What was sent before that does not open it again.
        assert_eq!(refused.after(16, Answer::ByReference, 2), refused);
    }

    #[test]
    fn what_is_confirmed_is_believed_on() {
        let open = state(Answer::Asked, 0).after(1, Answer::ByReference, 0);
        let later = open.after(1, Answer::ByReference, BELIEVED - 1);
        assert_eq!(later.permit(2 * BELIEVED - 2), Permit::Go);
    }

    proptest! {
        #[test]
        fn a_state_is_what_was_packed(answer in 0..5usize, bad: u16, since in 0..1u64 << 45) {
            let state = State { answer: Answer::ALL[answer], bad, since };
            prop_assert_eq!(State::unpack(state.pack()), state);
        }
    }

    #[test]
    fn no_more_routes_are_remembered_than_there_is_room_for() {
        let route = |number: u64, since| {
            let local = IpAddr::from([127, 0, 0, 1]);
            let peer = IpAddr::from((0xfd00_u128 << 112 | u128::from(number)).to_be_bytes());
            let state = state(Answer::Copied, since);
            Arc::new(Route { local, peer, state: AtomicU64::new(state.pack()) })
        };
        let mut routes: Vec<_> = (0..ROUTES as u64).map(|number| route(number, 1_000 + number)).collect();
        let second = Arc::clone(&routes[1]);
        forget(&mut routes, 2_000);
        assert_eq!(routes.len(), ROUTES - 1);
        assert!(
            routes.iter().any(|route| Arc::ptr_eq(route, &second)),
            "the oldest goes, and it is the first"
        );
        forget(&mut routes, 1_000 + BELIEVED);
        assert_eq!(routes.len(), ROUTES - 1, "they hold, and there is room");
        routes.push(route(900, 5_000));
        forget(&mut routes, 1_100 + BELIEVED);
        assert_eq!(routes.len(), ROUTES - 100, "after a minute");
    }

    #[test]
    fn connections_between_the_same_addresses_share_a_route() {
        let [ours, theirs] = [[203, 0, 113, 1], [203, 0, 113, 2]].map(IpAddr::from);
        let mapped = std::net::Ipv4Addr::from([203, 0, 113, 2]).to_ipv6_mapped();
        // Other tests have the table now and then.
        let between =
            |ours, theirs| std::iter::from_fn(|| Some(between(ours, theirs))).flatten().next().unwrap();
        let route = between(ours, theirs);
        assert!(Arc::ptr_eq(&route, &between(ours, mapped.into())));
        assert!(!Arc::ptr_eq(&route, &between(theirs, ours)));
        assert_eq!(route.permit(), Permit::Ask);
        assert_eq!(route.permit(), Permit::Copy(Answer::Asked));
        assert!(route.is_asked());
        assert_eq!(route.reported(1, true), Some(Answer::Copied));
        assert_eq!((route.reported(1, true), route.is_asked()), (None, false));
        assert_eq!(route.permit(), Permit::Copy(Answer::Copied));
        let known = routes().into_iter().find(|route| route.peer == theirs).unwrap();
        assert_eq!((known.local, known.answer), (ours, Answer::Copied));
    }
}
