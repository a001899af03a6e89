//! What decides for each message which way it goes: no clock and no socket, only what it is told.
//!
//! One [`Gate`] for the connection says whether the kernel copies what it is given by reference, or refuses it. One
//! [`Contest`](super::contest::Contest) for each class of messages, shared by the connections of a server, finds the
//! cheapest way; a [`Course`] follows it. Every step is a few comparisons.

use super::class::{Class, Division};
use super::contest::Objective;
use super::course::{Course, Next};
use super::decisions::{Decisions, Reason, Way};
use super::experience::Experience;
use super::gate::{Gate, Link, Outcome, Turned};
use super::trial::{Cost, Length};

#[derive(Debug)]
pub(super) struct Controller {
    objective: Objective,
    experience: Experience,
    gate: Gate,
    /// By class: while by reference is shut, and while it is open.
    courses: Box<[[Course; 2]]>,
    /// The class of the message at hand, and whether by reference is open for it.
    at_hand: (Class, bool),
    /// It was sent by reference to see what the kernel makes of it.
    asked: bool,
    stretch: Option<Stretch>,
    decisions: Decisions,
}

/// Messages of the class at hand that go the usual way, one after the other. They are only counted, and what follows from them
/// is seen to at the end: `flatten` needs 313 ns of the sender's CPU time for a kilobyte (loopback, 1 client, hot), and deciding
/// anew each time took 8 more; by reference it made a message 2.4 to 3.1 % dearer than `zerocopy`'s, and counting makes it 0.6 to
/// 1.2 % (lab, 16 KiB, heap, 1 client, ±2 %).
#[derive(Debug, Clone, Copy)]
struct Stretch {
    way: Way,
    reason: Reason,
    messages: u64,
    bytes: usize,
    /// Those that went by reference as they should.
    taken: u64,
    /// The most messages.
    most: u64,
}

/// A stretch is no longer than this: what waits for its end waits for no more than a few tens of microseconds.
const LONGEST_STRETCH: u64 = 64;

impl Controller {
    /// `able`: this kernel and the budget have sends by reference.
    pub(super) fn new(objective: Objective, experience: Experience, link: Link, able: bool) -> Self {
        Self {
            objective,
            experience,
            gate: Gate::new(link, able),
            courses: Class::all().map(|_| [Course::new(), Course::new()]).collect(),
            at_hand: (Class::of(0, Division::One), false),
            asked: false,
            stretch: None,
            decisions: Decisions::default(),
        }
    }

    /// The way of a message of so many bytes, if it goes as the one before it; then it need not be told that it was sent.
    /// `None`: ask [`Controller::next`].
    #[inline]
    pub(super) fn next_alike(&mut self, class: Class, bytes: usize) -> Option<Way> {
        let stretch = self.stretch.as_mut()?;
        if stretch.messages >= stretch.most || self.at_hand.0 != class {
            return None;
        }
        stretch.messages += 1;
        stretch.bytes += bytes;
        Some(stretch.way)
    }

    /// Sees to what was only counted.
    fn end_stretch(&mut self) {
        if let Some(Stretch { way, reason, messages, bytes, taken, .. }) = self.stretch.take() {
            self.decisions.count(way, reason, messages);
            self.gate.sent(bytes, false);
            self.gate.taken(taken);
            self.course_at_hand().went(messages);
        }
    }

    /// How the message of this class goes. The size of the send buffer in bytes is only asked for now and then.
    #[inline]
    pub(super) fn next(&mut self, class: Class, send_buffer: impl FnOnce() -> usize) -> Next {
        self.end_stretch();
        let open = self.gate.is_open();
        self.at_hand = (class, open);
        self.asked = class.thinks_of_reference() && self.gate.is_due();
        let next = if self.asked {
            Next { way: Way::Reference, reason: Reason::Probe, timed: false }
        } else {
            let [shut, opened] = &mut self.courses[class.index()];
            let (experience, objective) = (&self.experience, self.objective);
            let course = if open { &mut *opened } else { shut };
            let contest = || experience.of(class, objective, open);
            let next = course.next(contest, || Length::of(class.smallest(), send_buffer()));
            match opened.usual() {
                Some(way) if !open && way.by_reference() && next.reason != Reason::Probe => {
                    Next { reason: self.gate.why_shut(), ..next }
                }
                _ => next,
            }
        };
        self.decisions.count(next.way, next.reason, 1);
        if !self.asked && !next.timed {
            let Next { way, reason, .. } = next;
            let most = self.course_at_hand().left().min(LONGEST_STRETCH);
            self.stretch = Some(Stretch { way, reason, messages: 0, bytes: 0, taken: 0, most });
        }
        next
    }

    /// The message was sent as [`Controller::next`] said; `spent` if that was asked for.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, spent: Option<Cost>) {
        self.gate.sent(bytes, self.asked);
        if !self.asked {
            let (class, open) = self.at_hand;
            let (experience, objective) = (&self.experience, self.objective);
            let course = &mut self.courses[class.index()][usize::from(open)];
            course.sent(bytes, spent, || experience.of(class, objective, open));
        }
    }

    /// A message was to go by reference.
    #[inline]
    pub(super) fn called(&mut self, outcome: Outcome) {
        if let Some(stretch) = &mut self.stretch {
            if outcome == Outcome::Taken {
                stretch.taken += 1;
                return;
            }
            // In their order: a few refusals at once are another thing than a few in many.
            self.gate.taken(std::mem::take(&mut stretch.taken));
        }
        let turned = self.gate.called(outcome);
        self.turned(turned);
    }

    /// Completions were read for `calls`, of which `copied` were copied.
    pub(super) fn completed(&mut self, calls: u64, copied: u64) {
        let turned = self.gate.completed(calls, copied);
        self.turned(turned);
    }

    /// Time went by between messages because the kernel still held memory.
    pub(super) fn waited(&mut self, spent: Cost) {
        self.course_at_hand().waited(spent);
    }

    /// Whether such time is wanted.
    pub(super) fn is_timing(&mut self) -> bool {
        self.course_at_hand().is_timing()
    }

    fn course_at_hand(&mut self) -> &mut Course {
        let (class, open) = self.at_hand;
        &mut self.courses[class.index()][usize::from(open)]
    }

    #[cfg(test)]
    pub(super) fn experience(&self) -> &Experience {
        &self.experience
    }

    pub(super) fn decisions(&self) -> Decisions {
        let mut decisions = self.decisions;
        if let Some(Stretch { way, reason, messages, .. }) = self.stretch {
            decisions.count(way, reason, messages);
        }
        decisions.switches = self.courses.iter().flatten().map(Course::switches).sum();
        decisions
    }

    fn turned(&mut self, turned: Option<Turned>) {
        match turned {
            None => return,
            Some(Turned::Opened) => {}
            Some(Turned::Shut(Reason::Refused)) => self.decisions.given_up_refused += 1,
            Some(Turned::Shut(_)) => self.decisions.given_up_copied += 1,
        }
        // Another contest decides from here on.
        self.end_stretch();
        self.courses.iter_mut().flatten().for_each(Course::give_up);
    }
}
