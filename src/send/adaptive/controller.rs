//! What decides for each message which way it goes: no clock and no socket, only what it is told.
//!
//! One [`Gate`] for the connection says whether the kernel copies what it is given by reference, or refuses it. One
//! [`Contest`] for each class of messages finds the cheapest way. Every step is a few comparisons.

use super::contest::{Climate, Contest, Next, Objective};
use super::decisions::{Decisions, Reason, Way};
use super::gate::{Gate, Link, Turned};
use super::trial::Cost;

/// Below this by reference is not thought of: to pin pages and to be notified costs more than to copy so few bytes
/// ("generally only effective at writes over around 10 KB", Documentation/networking/msg_zerocopy.rst).
const SMALLEST_BY_REFERENCE: usize = 4096;

/// Up to here messages of several fields start with `flatten`: at 16 KiB it is even (1.06 of `onecopy`, hot), at 1 KiB
/// it moves 1.3 to 1.4 times as much.
const FLATTEN_UP_TO: usize = 16 << 10;

/// Messages of 2^9 bytes and fewer are one class, and so are those of 2^23 and more.
const CLASSES: (u32, u32) = (9, 23);

/// What of a message decides about its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) size: usize,
    pub(super) division: Division,
}

/// How a message is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Division {
    /// One field.
    One,
    /// Several, all of them small or all of them large as `hybrid` tells them.
    Alike,
    /// Small ones and large ones.
    Mixed,
}

const DIVISIONS: usize = 3;
const SIZES: usize = (CLASSES.1 - CLASSES.0 + 1) as usize;

#[derive(Debug)]
pub(super) struct Controller {
    objective: Objective,
    gate: Gate,
    contests: Box<[Contest]>,
    /// The class of the message at hand.
    class: usize,
    /// It was sent by reference to see what the kernel makes of it.
    asked: bool,
    decisions: Decisions,
}

impl Shape {
    fn class(self) -> usize {
        let size = self.size.max(1).ilog2().clamp(CLASSES.0, CLASSES.1) - CLASSES.0;
        size as usize * DIVISIONS + self.division as usize
    }
}

impl Controller {
    /// `able`: this kernel and the budget have sends by reference.
    pub(super) fn new(objective: Objective, link: Link, able: bool) -> Self {
        let contest = |class: usize| {
            let size = 1 << (CLASSES.0 as usize + class / DIVISIONS);
            let division = [Division::One, Division::Alike, Division::Mixed][class % DIVISIONS];
            let by_reference = able && size >= SMALLEST_BY_REFERENCE;
            let mut ways = [false; Way::COUNT];
            ways[Way::Gather as usize] = true;
            ways[Way::Flatten as usize] = true;
            ways[Way::Reference as usize] = by_reference;
            ways[Way::Hybrid as usize] = by_reference && division == Division::Mixed;
            let flatten = division != Division::One && size <= FLATTEN_UP_TO;
            Contest::new(size, if flatten { Way::Flatten } else { Way::Gather }, ways)
        };
        Self {
            objective,
            gate: Gate::new(link, able),
            contests: (0..SIZES * DIVISIONS).map(contest).collect(),
            class: 0,
            asked: false,
            decisions: Decisions::default(),
        }
    }

    /// How the message of this shape goes.
    #[inline]
    pub(super) fn next(&mut self, shape: Shape) -> Next {
        self.class = shape.class();
        let climate = self.climate();
        let contest = &mut self.contests[self.class];
        self.asked = self.gate.is_due() && contest.thinks_of_reference();
        let next = if self.asked {
            Next { way: Way::Reference, reason: Reason::Probe, timed: false }
        } else {
            contest.next(&climate)
        };
        self.decisions.count(next.way, next.reason);
        next
    }

    /// The message was sent as [`Controller::next`] said; `spent` if that was asked for.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, spent: Option<Cost>) {
        self.gate.sent(bytes, self.asked);
        if !self.asked {
            let climate = self.climate();
            self.contests[self.class].sent(bytes, spent, &climate);
        }
    }

    /// A message went by reference, if the kernel did not refuse it.
    pub(super) fn called(&mut self, refused: bool) {
        let turned = self.gate.called(refused);
        self.turned(turned);
    }

    /// Completions were read for `calls`, of which `copied` were copied.
    pub(super) fn completed(&mut self, calls: u64, copied: u64) {
        let turned = self.gate.completed(calls, copied);
        self.turned(turned);
    }

    /// Time went by between messages because the kernel still held memory.
    pub(super) fn waited(&mut self, spent: Cost) {
        self.contests[self.class].waited(spent);
    }

    /// Whether such time is wanted.
    pub(super) fn is_timing(&self) -> bool {
        self.contests[self.class].is_timing()
    }

    pub(super) fn decisions(&self) -> Decisions {
        let mut decisions = self.decisions;
        decisions.switches = self.contests.iter().map(Contest::switches).sum();
        decisions
    }

    fn climate(&self) -> Climate {
        Climate { objective: self.objective, open: self.gate.is_open(), why_shut: self.gate.why_shut() }
    }

    fn turned(&mut self, turned: Option<Turned>) {
        match turned {
            None => {}
            Some(Turned::Opened) => self.contests.iter_mut().for_each(Contest::opened),
            Some(Turned::Shut(Reason::Refused)) => self.decisions.given_up_refused += 1,
            Some(Turned::Shut(_)) => self.decisions.given_up_copied += 1,
        }
    }
}
