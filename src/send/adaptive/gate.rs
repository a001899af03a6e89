//! Whether it makes sense to ask the kernel for zero copy at all on this connection.
//!
//! Completions say whether the kernel copied, and ENOBUFS that it refuses; neither depends on what a message costs, so
//! neither is left to the contest of costs: who is copied pays for asking and gains nothing, whatever the sizes.

use super::decisions::Reason;

/// What is asked again after a first refusal waits for so many bytes: at 10 GB/s 6 ms, in which one call of 64 KiB that
/// is copied after all costs 20 µs, 0.3 %.
const FIRST_WAIT: u64 = 64 << 20;

/// The longest wait, to which it doubles: a route may come to lead through a network card within seconds.
const LONGEST_WAIT: u64 = 16 << 30;

/// On a link that is known to lead back to this host the kernel copies; that it is asked at all is for the day on which
/// it does not.
const LOCAL_WAIT: u64 = 16 << 20;

/// Judged by about so many of the last completions and calls: fewer would let one retransmission or one packet
/// capture decide, more would pay for asking.
const WINDOW: u32 = 16;

/// What is known of the way to the peer before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The peer is on this host, over loopback or an address of its own.
    Local,
    /// It is elsewhere, or that is not known.
    Far,
}

/// Whether the kernel may be asked.
#[derive(Debug)]
pub(super) struct Gate {
    state: State,
    /// How long the next wait is, in bytes.
    wait: u64,
    completed: Share,
    refused: Share,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// This kernel, or the budget, has none.
    Never,
    /// Not before so many more bytes.
    Waiting {
        bytes: u64,
        why: Option<Reason>,
    },
    /// One call was made to see, and its completion is not read yet; give up after so many more bytes.
    Asked {
        bytes: u64,
    },
    Open,
}

/// A share among about the last [`WINDOW`] events.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    of: u32,
    bad: u32,
}

impl Share {
    fn count(&mut self, bad: bool) {
        if self.of >= WINDOW {
            (self.of, self.bad) = (self.of / 2, self.bad / 2);
        }
        self.of += 1;
        self.bad += u32::from(bad);
    }

    fn is_bad(self) -> bool {
        2 * self.bad > self.of && self.of >= WINDOW / 4
    }
}

/// What became of a message that was to go by reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// The kernel refused it for want of memory.
    Refused,
    /// It was copied without asking the kernel: the budget had no room.
    Copied,
}

/// What became of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    Opened,
    Shut(Reason),
}

impl Gate {
    pub(super) fn new(link: Link, able: bool) -> Self {
        let bytes = if link == Link::Local { LOCAL_WAIT } else { 0 };
        let state = if able { State::Waiting { bytes, why: None } } else { State::Never };
        Self { state, wait: FIRST_WAIT, completed: Share::default(), refused: Share::default() }
    }

    /// Whether messages may go by reference.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Why not, once that is known.
    pub(super) fn why_shut(&self) -> Reason {
        match self.state {
            State::Waiting { why: Some(why), .. } => why,
            _ => Reason::Copied,
        }
    }

    /// Whether the message at hand should be sent by reference to see what the kernel makes of it.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        matches!(self.state, State::Waiting { bytes: 0, .. })
    }

    /// A message of so many bytes was sent, by reference or not; with `asked` to see.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, asked: bool) {
        match &mut self.state {
            State::Waiting { .. } if asked => self.state = State::Asked { bytes: FIRST_WAIT },
            State::Waiting { bytes: left, .. } => *left = left.saturating_sub(bytes as u64),
            State::Asked { bytes: left } => {
                *left = left.saturating_sub(bytes as u64);
                // No completion for so long: whatever holds it would hold others too.
                if *left == 0 {
                    self.shut(Reason::Refused);
                }
            }
            State::Never | State::Open => {}
        }
    }

    /// What became of a message that was to go by reference.
    pub(super) fn called(&mut self, outcome: Outcome) -> Option<Turned> {
        // What the sender itself copied, because too much is in flight for now, is no answer of the kernel's.
        if outcome != Outcome::Copied {
            self.refused.count(outcome == Outcome::Refused);
        }
        match self.state {
            State::Asked { .. } if outcome != Outcome::Taken => Some(self.shut(Reason::Refused)),
            State::Open if self.refused.is_bad() => Some(self.shut(Reason::Refused)),
            _ => None,
        }
    }

    /// So many messages were to go by reference, and did. A burst of equal news is no more news than a window full.
    pub(super) fn taken(&mut self, messages: u64) {
        (0..messages.min(u64::from(WINDOW))).for_each(|_| self.refused.count(false));
    }

    /// Completions were read for `calls`, `copied` of them copied.
    pub(super) fn completed(&mut self, calls: u64, copied: u64) -> Option<Turned> {
        // No more than a window full, as above.
        for i in 0..calls.min(u64::from(WINDOW)) {
            self.completed.count(i < copied);
        }
        match self.state {
            State::Asked { .. } if copied > 0 => Some(self.shut(Reason::Copied)),
            State::Asked { .. } if calls > 0 => {
                self.state = State::Open;
                self.wait = FIRST_WAIT;
                (self.completed, self.refused) = (Share::default(), Share::default());
                Some(Turned::Opened)
            }
            State::Open if self.completed.is_bad() => Some(self.shut(Reason::Copied)),
            _ => None,
        }
    }

    fn shut(&mut self, why: Reason) -> Turned {
        self.state = State::Waiting { bytes: self.wait, why: Some(why) };
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        Turned::Shut(why)
    }
}
