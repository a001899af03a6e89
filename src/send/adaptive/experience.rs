//! What the connections of a server know together of the ways.
//!
//! A connection that lives for a hundred messages cannot learn what a trial of a thousand would say. So what is learned
//! belongs to the server, not to the connection: some connections at a time try ways for messages of a class, the others
//! go on as usual, and all of them take over what they find. Linux itself keeps what it knows of a peer in this manner
//! (tcp_metrics). What a connection's own completions say (its [`gate`](super::gate)) is not shared: peers differ.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::class::Class;
use super::contest::{Contest, Objective};

/// What was learned of the ways to send, shared by the connections that hold a clone of it.
///
/// A server makes one and opens each [`Adaptive`](super::Adaptive) with it, so that a new connection starts with what the
/// others know. It takes 70 KiB from the first message on. The lock of a class is taken once in about a megabyte of messages.
#[derive(Clone, Default)]
pub struct Experience(Arc<OnceLock<Box<[Mutex<Contest>]>>>);

impl Experience {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is known for messages of a class, where by reference is `open` or not.
    pub(super) fn of(&self, class: Class, objective: Objective, open: bool) -> MutexGuard<'_, Contest> {
        let objectives = Objective::ALL.len();
        let index = (class.index() * objectives + objective as usize) * 2 + usize::from(open);
        let contest = &self.0.get_or_init(of_nothing)[index];
        // A contest is whole after every step, whoever panicked beside it.
        contest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Made for the first message and not for the first connection: every server has an experience, and few use it.
fn of_nothing() -> Box<[Mutex<Contest>]> {
    let of_class = |class| {
        let contest = move |objective, open| Mutex::new(Contest::new(class, objective, open));
        Objective::ALL.iter().flat_map(move |objective| [false, true].map(|open| contest(*objective, open)))
    };
    Class::all().flat_map(of_class).collect()
}

impl fmt::Debug for Experience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Experience").field("connections", &Arc::strong_count(&self.0)).finish()
    }
}
