//! What one connection does with what is known of one class: the usual way for some messages, or a trial; then a look.

use std::sync::MutexGuard;

use super::contest::Contest;
use super::decisions::{Reason, Way};
use super::trial::{Cost, Length, Trial};

/// How the message at hand goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) way: Way,
    pub(super) reason: Reason,
    /// Its cost is wanted.
    pub(super) timed: bool,
}

#[derive(Debug)]
pub(super) struct Course {
    /// The usual way, as of the last look.
    usual: Option<(Way, Reason)>,
    /// Messages that go the usual way before the next look, and those that have gone since the last.
    left: u64,
    gone: u64,
    trial: Option<Trial>,
    /// How often the usual way was another than at the look before.
    switches: u64,
}

impl Course {
    pub(super) fn new() -> Self {
        Self { usual: None, left: 0, gone: 0, trial: None, switches: 0 }
    }

    /// How the next message goes; `contest`, and the length of a trial's blocks, are only asked for where a look is due.
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        contest: impl FnOnce() -> MutexGuard<'a, Contest>,
        length: impl FnOnce() -> Length,
    ) -> Next {
        match self.usual {
            Some((way, reason)) if self.left > 0 => {
                self.went(1);
                Next { way, reason, timed: false }
            }
            _ => self.look(contest, length),
        }
    }

    /// How many messages will go the usual way before the next look.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// So many of them went.
    pub(super) fn went(&mut self, messages: u64) {
        self.left = self.left.saturating_sub(messages);
        self.gone += messages;
    }

    fn look<'a>(
        &mut self,
        contest: impl FnOnce() -> MutexGuard<'a, Contest>,
        length: impl FnOnce() -> Length,
    ) -> Next {
        if self.trial.is_none() {
            let length = length();
            let standing = contest().look(std::mem::take(&mut self.gone), length);
            let former = self.usual.replace((standing.way, standing.reason));
            self.switches += u64::from(former.is_some_and(|(way, _)| way != standing.way));
            self.left = if standing.trial.is_some() { 0 } else { standing.messages };
            self.trial = standing.trial;
        }
        let (way, reason) = self.usual.unwrap_or((Way::Gather, Reason::Start));
        match &self.trial {
            Some(trial) if trial.is_rivals() => {
                Next { way: trial.rival, reason: Reason::Probe, timed: trial.is_timing() }
            }
            Some(trial) => Next { way, reason, timed: trial.is_timing() },
            None => {
                self.went(1);
                Next { way, reason, timed: false }
            }
        }
    }

    /// A message of so many bytes was sent as [`Course::next`] said.
    #[inline]
    pub(super) fn sent<'a>(
        &mut self,
        bytes: usize,
        spent: Option<Cost>,
        contest: impl FnOnce() -> MutexGuard<'a, Contest>,
    ) {
        if let Some(trial) = &mut self.trial
            && trial.sent(bytes, spent)
            && let Some(trial) = self.trial.take()
        {
            contest().conclude(trial);
            self.left = 0;
        }
    }

    /// Time that went by between messages because memory was not yet released: it belongs to the way at hand.
    pub(super) fn waited(&mut self, spent: Cost) {
        if let Some(trial) = &mut self.trial {
            trial.add(spent);
        }
    }

    /// Whether waiting belongs to a block that is being measured.
    pub(super) fn is_timing(&self) -> bool {
        self.trial.as_ref().is_some_and(Trial::is_timing)
    }

    /// What is being tried is given up: it cannot be gone to its end.
    pub(super) fn give_up(&mut self) {
        self.trial = None;
        self.left = 0;
    }

    /// The usual way, once there is one.
    pub(super) fn usual(&self) -> Option<Way> {
        self.usual.map(|(way, _)| way)
    }

    pub(super) fn switches(&self) -> u64 {
        self.switches
    }
}
