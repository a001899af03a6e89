//! How far a client asks ahead in a window.

use std::time::{Duration, Instant};

/// How much to ask for at a time in a window.
pub(super) struct Portion {
    messages: u64,
    size: u64,
    pub(super) asked: Instant,
    /// How long it should last.
    target: Duration,
}

/// A portion lasts about this long: short enough to end a window soon, long enough that a request (two system
/// calls) costs next to nothing.
const PORTION_TIME: Duration = Duration::from_millis(8);

/// In a short window a portion is a quarter of the window, and at least this long. A client must still
/// receive the rest of its last portion after the window: see docs/tuning.md, "The clock and its turns".
const SHORTEST_PORTION_TIME: Duration = Duration::from_millis(4);

impl Portion {
    pub(super) fn new(size: u64, window: Duration) -> Self {
        let target = (window / 4).clamp(SHORTEST_PORTION_TIME, PORTION_TIME);
        Self { messages: (65_536 / size).max(1), size, asked: Instant::now(), target }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.messages * self.size
    }

    /// The next portion. It doubles if the last one took less than half of the target time, and halves if it
    /// took more than twice as long.
    pub(super) fn next(&mut self) -> u64 {
        let took = self.asked.elapsed();
        self.asked = Instant::now();
        if took < self.target / 2 {
            self.messages *= 2;
        } else if took > self.target * 2 {
            self.messages = (self.messages / 2).max(1);
        }
        self.messages
    }
}
