//! The time in the calls of each group of classes, and what the path decided for them.

use std::time::Duration;

use crate::send::Decisions;
use crate::workload::Workload;

/// The time in the calls of a sample of messages, by group of classes.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClassTimes(Vec<GroupTimes>);

/// The calls of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GroupTimes {
    /// Messages that were timed.
    pub messages: u64,
    /// The sum of the times in their calls.
    pub time: Duration,
    /// How the path sent them, and why.
    pub decisions: Decisions,
}

impl ClassTimes {
    /// Nothing was timed yet.
    pub fn of(workload: &Workload) -> Self {
        Self(vec![GroupTimes::default(); workload.groups().len()])
    }

    /// The groups, in the order of [`Workload::groups`]; none without a workload.
    pub fn groups(&self) -> &[GroupTimes] {
        &self.0
    }

    pub(crate) fn record(&mut self, group: usize, time: Duration, decisions: &Decisions) {
        if let Some(group) = self.0.get_mut(group) {
            group.messages += 1;
            group.time += time;
            group.decisions = group.decisions.and(decisions);
        }
    }

    pub(crate) fn emptied(&self) -> Self {
        Self(vec![GroupTimes::default(); self.0.len()])
    }

    /// Adds those of another sender or run.
    pub fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), GroupTimes::default());
        }
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            sum.messages += other.messages;
            sum.time = sum.time.saturating_add(other.time);
            sum.decisions = sum.decisions.and(&other.decisions);
        }
    }
}
