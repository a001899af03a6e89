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

/// Who is tried, by whom, and how far it is.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) incumbent: Way,
    pub(super) rival: Way,
    /// The messages of a block.
    block: u64,
    /// 0 and 2: the incumbent; 1: the rival.
    step: usize,
    /// Messages of this step so far.
    messages: u64,
    bytes: [u64; 3],
    spent: [Cost; 3],
    /// As long as somebody holds it, nobody else begins a trial of the same class.
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
    pub(super) fn new(incumbent: Way, rival: Way, block: u64, turn: Arc<()>) -> Self {
        let (bytes, spent) = ([0; 3], [Cost::default(); 3]);
        Self { incumbent, rival, block, step: 0, messages: 0, bytes, spent, _turn: turn }
    }

    /// Whether the next message goes by the rival.
    pub(super) fn is_rivals(&self) -> bool {
        self.step == 1
    }

    /// After a change of way the first messages of a block meet what the other one left in the socket.
    fn warm_up(&self) -> u64 {
        if self.step == 0 { 0 } else { self.block / 4 }
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
        if self.messages < self.block + self.warm_up() {
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

    /// What the clocks cost beside a message of the incumbent.
    pub(super) fn share_of_clocks(&self) -> f64 {
        CLOCKS_NS / (self.spent[2].cpu as f64 / self.block as f64).max(CLOCKS_NS / 4.0)
    }
}
