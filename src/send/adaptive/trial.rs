//! One trial: what three blocks of messages cost, of the usual way, of a rival, and of the usual way again.

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

#[derive(Debug)]
pub(super) struct Trial {
    pub(super) rival: Way,
    /// 0 and 2: the incumbent; 1: the rival.
    pub(super) step: usize,
    pub(super) messages: u64,
    pub(super) bytes: [u64; 3],
    spent: [Cost; 3],
}

impl Trial {
    pub(super) fn of(rival: Way) -> Self {
        Self { rival, step: 0, messages: 0, bytes: [0; 3], spent: [Cost::default(); 3] }
    }

    pub(super) fn add(&mut self, spent: Cost) {
        let sum = &mut self.spent[self.step];
        sum.cpu += spent.cpu;
        sum.wall += spent.wall;
    }

    /// The logarithms of the rival's cost per byte over the incumbent's: of CPU time and of time.
    pub(super) fn log_ratios(&self) -> [f64; 2] {
        let log = |of: fn(&Cost) -> u64| {
            let log =
                |step: usize| (of(&self.spent[step]).max(1) as f64 / self.bytes[step].max(1) as f64).ln();
            log(1) - (log(0) + log(2)) / 2.0
        };
        [log(|cost| cost.cpu), log(|cost| cost.wall)]
    }

    /// What the clocks cost beside a message of the incumbent.
    pub(super) fn share_of_clocks(&self) -> f64 {
        let messages = self.messages.max(1) as f64;
        CLOCKS_NS / (self.spent[2].cpu as f64 / messages).max(CLOCKS_NS / 4.0)
    }
}
