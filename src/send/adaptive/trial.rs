//! One trial: what three blocks of messages cost, of the usual way, of a rival, and of the usual way again.
//!
//! By one connection alone, or by all of them at once: then who began it leads, and the others change the way when he does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::decisions::Way;

/// What reading the clocks around one message costs at most, in ns: the thread's CPU clock twice, or once where messages follow
/// on each other, a system call of 150 to 300 ns, and the monotonic clock two or three times (18 ns).
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
    /// Those before them, where the way changes.
    pub(super) warm_up: u64,
    /// Those that the send buffer has room for.
    buffer: u64,
}

/// A block has so many times the bytes of the send buffer: a burst that finds it empty says nothing of what drains it.
const BUFFERS: usize = 2;

/// And at least so many bytes, because a call costs now more and now less.
const LEAST_BYTES: usize = 1 << 20;

/// And within so many messages: of small ones enough says enough, and of large ones it takes two.
const MESSAGES: (usize, usize) = (2, 128);

/// So many messages are enough to find a way's own pace.
const LONGEST_WARM_UP: u64 = 32;

impl Length {
    /// For messages of so many bytes on a connection with such a send buffer.
    pub(super) fn of(size: usize, send_buffer: usize) -> Self {
        let messages = |bytes: usize| (bytes / size.max(1)).max(MESSAGES.0);
        let buffer = messages(send_buffer) as u64;
        Self {
            timed: messages(LEAST_BYTES.max(BUFFERS * send_buffer)).min(MESSAGES.1) as u64,
            warm_up: buffer.min(LONGEST_WARM_UP),
            buffer,
        }
    }

    /// The same after a warm-up that leaves nothing of the other way in the buffer.
    pub(super) fn drained(self) -> Self {
        Self { warm_up: self.buffer, ..self }
    }
}

/// Blocks of a trial.
const STEPS: usize = 3;

/// Who follows goes on in one step for no more than so many of his own blocks: then who leads does not send any more, or is so
/// slow that the others would take a way that may be dear for much longer than it takes to measure it. In the first step, where it
/// costs nothing, who leads has two blocks to send, so only one that is no slower than half of the others is waited for.
const PATIENCE: u64 = 4;

/// How far a trial by all connections is.
#[derive(Debug, Default)]
pub(super) struct Joint(AtomicUsize);

// Relaxed: the step is all that is told, and whoever reads it late changes the way a message later.
impl Joint {
    fn step(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Never back.
    fn reach(&self, step: usize) {
        self.0.fetch_max(step, Ordering::Relaxed);
    }

    /// The first block is going on.
    pub(super) fn can_be_joined(&self) -> bool {
        self.step() == 0
    }

    pub(super) fn is_over(&self) -> bool {
        self.step() >= STEPS
    }

    /// For all of them, at whatever step they are.
    pub(super) fn end(&self) {
        self.reach(STEPS);
    }
}

/// Held by who leads: whatever becomes of him, the others do not go on without him.
#[derive(Debug)]
struct Lead(Arc<Joint>);

impl Drop for Lead {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Who decides when a step is over.
#[derive(Debug)]
enum Pace {
    /// This connection, for itself.
    Own,
    /// This connection, for all.
    Leads(Lead),
    Follows(Arc<Joint>),
}

/// Who is tried, by whom, and how far it is.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) incumbent: Way,
    pub(super) rival: Way,
    length: Length,
    pace: Pace,
    /// 0 and 2: the incumbent; 1: the rival.
    step: usize,
    /// Messages of this step so far.
    messages: u64,
    blocks: [Block; STEPS],
    /// As long as somebody holds it, the trial counts as running.
    _turn: Arc<()>,
}

/// What was sent in one step.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    messages: u64,
    /// Those whose cost was read, and what they had and cost.
    timed: u64,
    bytes: u64,
    spent: Cost,
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
    /// By one connection.
    pub(super) fn new(incumbent: Way, rival: Way, length: Length, turn: Arc<()>) -> Self {
        let blocks = [Block::default(); STEPS];
        Self { incumbent, rival, length, pace: Pace::Own, step: 0, messages: 0, blocks, _turn: turn }
    }

    /// By all, and this connection leads.
    pub(super) fn leading(self) -> (Self, Arc<Joint>) {
        let joint = Arc::new(Joint::default());
        (Self { pace: Pace::Leads(Lead(Arc::clone(&joint))), ..self }, joint)
    }

    /// By all, and another leads.
    pub(super) fn following(self, joint: &Arc<Joint>) -> Self {
        Self { pace: Pace::Follows(Arc::clone(joint)), ..self }
    }

    /// Whether the next message goes by the rival.
    pub(super) fn is_rivals(&self) -> bool {
        self.step == 1
    }

    /// Whether this connection, and no other, decides how far it goes.
    pub(super) fn is_led(&self) -> bool {
        !matches!(self.pace, Pace::Follows(_))
    }

    fn warm_up(&self) -> u64 {
        match (self.step, &self.pace) {
            // Until then the others have looked and joined.
            (0, Pace::Leads(_)) => self.length.timed.max(self.length.warm_up),
            // The usual way may be new, and so may the connection.
            _ => self.length.warm_up,
        }
    }

    /// Whether the next message's cost is wanted, and that of waiting before it.
    pub(super) fn is_timing(&self) -> bool {
        self.messages >= self.warm_up()
    }

    /// A message of so many bytes was sent. True when the trial is over.
    pub(super) fn sent(&mut self, bytes: usize, spent: Option<Cost>) -> bool {
        if let Some(block) = self.blocks.get_mut(self.step) {
            block.messages += 1;
            if spent.is_some() {
                block.timed += 1;
                block.bytes += bytes as u64;
            }
        }
        self.add(spent.unwrap_or_default());
        self.messages += 1;
        let step = self.step_now();
        if step != self.step {
            (self.step, self.messages) = (step, 0);
        }
        step >= STEPS
    }

    fn step_now(&self) -> usize {
        let block = self.length.timed + self.warm_up();
        let next = if self.messages < block { self.step } else { self.step + 1 };
        match &self.pace {
            Pace::Own => next,
            Pace::Leads(Lead(joint)) => {
                joint.reach(next);
                // Who lost patience has ended it.
                joint.step()
            }
            Pace::Follows(joint) => {
                if self.messages > PATIENCE * block {
                    joint.end();
                }
                joint.step()
            }
        }
    }

    /// What belongs to the block at hand.
    pub(super) fn add(&mut self, spent: Cost) {
        if let Some(Block { spent: sum, .. }) = self.blocks.get_mut(self.step) {
            sum.cpu += spent.cpu;
            sum.wall += spent.wall;
        }
    }

    /// By CPU time, and by time; `None` where a block was missed by who followed.
    pub(super) fn logs(&self) -> Option<(Logs, Logs)> {
        let logs = |of: fn(&Cost) -> u64| {
            let log = |block: &Block| (of(&block.spent).max(1) as f64 / block.bytes.max(1) as f64).ln();
            let [before, rival, after] = self.blocks.each_ref().map(log);
            Logs { mean: rival - (before + after) / 2.0, beside_the_cheaper: rival - before.min(after) }
        };
        // A part of a block says less of it, but to pass it over costs more: others take another trial by all to say as much.
        let whole = self.blocks.iter().all(|block| block.timed > 0);
        whole.then(|| (logs(|cost| cost.cpu), logs(|cost| cost.wall)))
    }

    /// How many messages it had.
    pub(super) fn messages(&self) -> u64 {
        self.blocks.iter().map(|block| block.messages).sum()
    }

    /// What it cost more than the incumbent would have, in messages of the incumbent, where a message of the rival costs by
    /// `penalty` more: the rival's messages, and the clocks.
    pub(super) fn dearer(&self, penalty: f64) -> f64 {
        let [before, rival, after] = &self.blocks;
        let cpu = (before.spent.cpu + after.spent.cpu) as f64;
        let message = cpu / (before.timed + after.timed).max(1) as f64;
        let clocks = CLOCKS_NS / message.max(CLOCKS_NS / 4.0);
        let timed: u64 = self.blocks.iter().map(|block| block.timed).sum();
        rival.messages as f64 * penalty + timed as f64 * clocks
    }
}
