//! Workloads in records and between hosts. What comes from there is checked.

use super::{MessageClass, Order, Workload};
use crate::message::Fields;

/// Why what was read is no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadWorkload {
    /// It has no message.
    #[error("there is no message in it")]
    Empty,
    /// A message has an impossible size.
    #[error("a message has 8 bytes to 1 GiB (got {0} bytes)")]
    Size(usize),
    /// Its parts do not belong together.
    #[error("the parts of a workload do not belong together")]
    Inconsistent,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Stored {
    name: String,
    /// Sizes in bytes, and how they are divided.
    classes: Vec<(usize, String)>,
    /// Of a mix: the messages of each class in a deck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counts: Option<Vec<u32>>,
    /// Of a trace: the class of each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<u32>>,
    /// Of a trace with connections: the connection of each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<u32>>,
}

impl From<Workload> for Stored {
    fn from(workload: Workload) -> Self {
        let classes = workload.classes.iter().map(|class| (class.size, class.fields.to_string())).collect();
        let (counts, messages, connections) = match workload.order {
            Order::Mix(counts) => (Some(counts), None, None),
            Order::Trace { messages, connections } => (None, Some(messages), connections),
        };
        Self { name: workload.name, classes, counts, messages, connections }
    }
}

impl TryFrom<Stored> for Workload {
    type Error = BadWorkload;

    fn try_from(stored: Stored) -> Result<Self, BadWorkload> {
        let class = |(size, fields): &(usize, String)| {
            let fields: Fields = fields.parse().map_err(|_| BadWorkload::Inconsistent)?;
            Ok(MessageClass { size: *size, fields })
        };
        let classes = stored.classes.iter().map(class).collect::<Result<Vec<_>, BadWorkload>>()?;
        let order = match (stored.counts, stored.messages) {
            (Some(counts), None) => Order::Mix(counts),
            (None, Some(messages)) => Order::Trace { messages, connections: stored.connections },
            _ => return Err(BadWorkload::Inconsistent),
        };
        let workload = Self { name: stored.name, classes, order }.checked()?;
        let (messages, bytes) = (workload.messages(), workload.bytes());
        if messages > super::MOST_DECK_MESSAGES || bytes > super::MOST_DECK_BYTES {
            return Err(BadWorkload::Inconsistent);
        }
        Ok(workload)
    }
}
