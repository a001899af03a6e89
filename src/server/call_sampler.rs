//! Times the calls of some messages of a workload, to say which sizes the time goes to. Timing all of them would slow small
//! messages down by a twentieth.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::cost::class_times::ClassTimes;
use crate::message::Message;
use crate::send::Sender;
use crate::workload::Workload;

/// One message of so many is timed: a prime, so that over several decks each place of the deck has its turn.
const INTERVAL: u32 = 13;

/// Decks whose length is a multiple of [`INTERVAL`] use this one.
const OTHER_INTERVAL: u32 = 17;

#[derive(Debug)]
pub(super) struct CallSampler {
    group_of_class: Vec<u8>,
    interval: u32,
    until_next: u32,
    times: ClassTimes,
}

impl CallSampler {
    pub(super) fn new(workload: &Workload) -> Self {
        let repeats = workload.messages().is_multiple_of(u64::from(INTERVAL));
        let interval = if repeats { OTHER_INTERVAL } else { INTERVAL };
        Self {
            group_of_class: workload.group_of_classes(),
            interval,
            until_next: 1,
            times: ClassTimes::of(workload),
        }
    }

    /// Whether the next message is timed.
    #[inline]
    pub(super) fn is_due(&mut self) -> bool {
        self.until_next -= 1;
        if self.until_next > 0 {
            return false;
        }
        self.until_next = self.interval;
        true
    }

    /// Sends a message of `class` and takes the time, and what the path decided.
    pub(super) fn send(
        &mut self,
        sender: &mut dyn Sender,
        message: &Arc<Message>,
        class: usize,
    ) -> io::Result<()> {
        let before = sender.decisions();
        let began = Instant::now();
        sender.send(message)?;
        let took = began.elapsed();
        let decided = sender.decisions().since(&before);
        self.times.record(usize::from(self.group_of_class[class]), took, &decided);
        Ok(())
    }

    /// What was timed since the last call.
    pub(super) fn take(&mut self) -> ClassTimes {
        let empty = self.times.emptied();
        std::mem::replace(&mut self.times, empty)
    }
}
