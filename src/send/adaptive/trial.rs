//! One trial: what three blocks of messages cost, of the usual way, of a rival, and of the usual way again.

use std::sync::Arc;

use super::decisions::Way;

/// What reading the clocks around one message costs, in ns: two readings of the thread's CPU clock, a system call of
/// 150 to 300 ns each, and two of the monotonic clock.
const CLOCKS_NS: f64 = 600.0;

/// What the calls for some bytes cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    /// CPU time of the thread in ns.
    pub(super) cpu: u64,
    /// Time passed in ns.
    pub(super) wall: u64,
}

/// How many messages make a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    /// Those whose cost is read.
    pub(super) timed: u64,
    /// Those before them, where the way changes: they wait for room that the other way's bytes take.
    pub(super) warm_up: u64,
}

/// A block has so many times the bytes of the send buffer: what is in the buffer was paid for by the block before.
const BUFFERS: usize = 2;

/// And at least so many bytes, because a call costs now more and now less.
const LEAST_BYTES: usize = 1 << 20;

/// And within so many messages: of small ones enough says enough, and of large ones it takes two.
const MESSAGES: (usize, usize) = (2, 128);

/// Small messages need no longer to find their pace.
const LONGEST_WARM_UP: u64 = 32;

impl Length {
    /// For messages of so many bytes on a connection with such a send buffer.
    pub(super) fn of(size: usize, send_buffer: usize) -> Self {
        let messages = |bytes: usize| (bytes / size.max(1)).clamp(MESSAGES.0, MESSAGES.1) as u64;
        Self {
            timed: messages(LEAST_BYTES.max(BUFFERS * send_buffer)),
            warm_up: messages(send_buffer).min(LONGEST_WARM_UP),
        }
    }
}

/// Who is tried, by whom, and how far it is.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) incumbent: Way,
    pub(super) rival: Way,
    length: Length,
    /// 0 and 2: the incumbent; 1: the rival.
    step: usize,
    /// Messages of this step so far.
    messages: u64,
    bytes: [u64; 3],
    spent: [Cost; 3],
    /// As long as somebody holds it, the trial counts as running.
    _turn: Arc<()>,
}

/// The logarithms of the rival's cost per byte over the incumbent's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Logs {
    /// Beside the mean of both blocks of the incumbent.
    pub(super) mean: f64,
    /// Beside the cheaper of them: an interrupt in one of them says nothing for the rival.
    pub(super) beside_the_cheaper: f64,
}

impl Trial {
    pub(super) fn new(incumbent: Way, rival: Way, length: Length, turn: Arc<()>) -> Self {
        let (bytes, spent) = ([0; 3], [Cost::default(); 3]);
        Self { incumbent, rival, length, step: 0, messages: 0, bytes, spent, _turn: turn }
    }

    /// Whether the next message goes by the rival.
    pub(super) fn is_rivals(&self) -> bool {
        self.step == 1
    }

    fn warm_up(&self) -> u64 {
        if self.step == 0 { 0 } else { self.length.warm_up }
    }

    /// Whether the next message's cost is wanted, and that of waiting before it.
    pub(super) fn is_timing(&self) -> bool {
        self.messages >= self.warm_up()
    }

    /// A message of so many bytes was sent. True when the trial is over.
    pub(super) fn sent(&mut self, bytes: usize, spent: Option<Cost>) -> bool {
        if let Some(spent) = spent {
            self.bytes[self.step] += bytes as u64;
            self.add(spent);
        }
        self.messages += 1;
        if self.messages < self.length.timed + self.warm_up() {
            return false;
        }
        let over = self.step == 2;
        if !over {
            (self.step, self.messages) = (self.step + 1, 0);
        }
        over
    }

    /// What belongs to the block at hand.
    pub(super) fn add(&mut self, spent: Cost) {
        let sum = &mut self.spent[self.step];
        sum.cpu += spent.cpu;
        sum.wall += spent.wall;
    }

    /// By CPU time, and by time.
    pub(super) fn logs(&self) -> (Logs, Logs) {
        let logs = |of: fn(&Cost) -> u64| {
            let log =
                |step: usize| (of(&self.spent[step]).max(1) as f64 / self.bytes[step].max(1) as f64).ln();
            let (before, rival, after) = (log(0), log(1), log(2));
            Logs { mean: rival - (before + after) / 2.0, beside_the_cheaper: rival - before.min(after) }
        };
        (logs(|cost| cost.cpu), logs(|cost| cost.wall))
    }

    /// How many messages a trial has.
    pub(super) fn messages(&self) -> u64 {
        3 * self.length.timed + 2 * self.length.warm_up
    }

    /// What it cost more than the incumbent would have, in messages of the incumbent, where a message of the rival costs by
    /// `penalty` more: the rival's messages, and the clocks.
    pub(super) fn dearer(&self, penalty: f64) -> f64 {
        let message = self.spent[2].cpu as f64 / self.length.timed as f64;
        let clocks = CLOCKS_NS / message.max(CLOCKS_NS / 4.0);
        (self.length.timed + self.length.warm_up) as f64 * penalty + 3.0 * self.length.timed as f64 * clocks
    }
}
