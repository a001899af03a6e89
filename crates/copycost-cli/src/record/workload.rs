//! What the messages of a run were if they were not all the same, and what each size of them cost a path.

use serde::{Deserialize, Serialize};

use copycost::cost::GroupTimes;
use copycost::rig::Sample;
use copycost::scenario::Scenario;
use copycost::send::{Reason, SendMethod};
use copycost::workload::Workload;

/// The messages of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadRecord {
    /// The name of a published mix, the text of a mix, or the file of a trace.
    pub name: String,
    /// `mix`: in shares and shuffled; `trace`: as recorded.
    pub kind: String,
    /// Messages of the mix's deck, which every turn plays whole; of a trace all of them.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The sizes.
    pub classes: Vec<ClassShares>,
}

/// Messages of one size, or of some sizes together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassShares {
    /// `512 B`, or `up to 4 KiB`.
    pub name: String,
    /// Their share of the messages, 0 to 1.
    pub messages: f64,
    /// Their share of the bytes, 0 to 1.
    pub bytes: f64,
}

/// What the messages of one size cost a path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassCost {
    /// As in [`ClassShares`].
    pub name: String,
    /// Messages whose calls were timed: one in 13.
    pub timed: u64,
    /// The mean time in the calls of a message, in ns. It includes waiting for room in the send buffer.
    pub call_ns: Option<f64>,
    /// The share of these messages in the time of all calls, 0 to 1.
    pub call_share: Option<f64>,
    /// Of a path that chooses: the share of the messages that it sent by reference, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_reference: Option<f64>,
    /// Its most frequent reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl WorkloadRecord {
    /// The record of `workload`.
    pub fn of(workload: &Workload) -> Self {
        let shares = |group: copycost::workload::ClassGroup| ClassShares {
            name: group.name,
            messages: group.messages,
            bytes: group.bytes,
        };
        Self {
            name: workload.name().to_owned(),
            kind: if workload.is_trace() { "trace" } else { "mix" }.to_owned(),
            messages: workload.messages(),
            bytes: workload.bytes(),
            classes: workload.groups().into_iter().filter(|group| group.messages > 0.0).map(shares).collect(),
        }
    }

    /// In words: `mix of 512 B 60 % (0.3 % of the bytes), ...`.
    pub fn text(&self) -> String {
        let share = |class: &ClassShares| {
            let percent = |share: f64| copycost::units::hundredths(100.0 * share);
            format!("{} {} % ({} % of the bytes)", class.name, percent(class.messages), percent(class.bytes))
        };
        let shares: Vec<_> = self.classes.iter().map(share).collect();
        format!("{} {}: {}", self.kind, self.name, shares.join(", "))
    }
}

impl ClassCost {
    /// What each size of the scenario's workload cost; empty without one.
    pub(super) fn all(scenario: &Scenario, sample: &Sample) -> Vec<Self> {
        let Some(workload) = &scenario.workload else { return Vec::new() };
        let (groups, times): (Vec<_>, Vec<_>) = workload
            .groups()
            .into_iter()
            .zip(sample.classes.groups())
            .filter(|(group, _)| group.messages > 0.0)
            .unzip();
        let mean = |times: &GroupTimes| {
            (times.messages > 0).then(|| times.time.as_secs_f64() * 1e9 / times.messages as f64)
        };
        // By the true share of messages, because a sample has a little more or less of each.
        let weighed: Vec<f64> = groups
            .iter()
            .zip(&times)
            .map(|(group, times)| group.messages * mean(times).unwrap_or(0.0))
            .collect();
        let all: f64 = weighed.iter().sum();
        let cost = |index: usize| {
            let (group, times, weight) = (&groups[index], times[index], weighed[index]);
            let decided = times.decisions.total();
            let by_reference = times.decisions.by_method(SendMethod::Reference);
            let most = Reason::ALL.iter().copied().max_by_key(|reason| times.decisions.messages(*reason));
            Self {
                name: group.name.clone(),
                timed: times.messages,
                call_ns: mean(&times),
                call_share: mean(&times).filter(|_| all > 0.0).map(|_| weight / all),
                by_reference: (decided > 0).then(|| by_reference as f64 / decided as f64),
                reason: most.filter(|_| decided > 0).map(|reason| reason.to_string()),
            }
        };
        (0..groups.len()).map(cost).collect()
    }
}
