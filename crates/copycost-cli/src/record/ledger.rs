//! What the kernel reported to the senders of a path, in numbers.

use serde::{Deserialize, Serialize};

use copycost::send::{Decisions, Ledger};

/// [`Ledger`] in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Calls taken by reference.
    pub sends: u64,
    /// Of these, those whose completion was read.
    pub completed: u64,
    /// Of these, those in ranges marked copied.
    pub copied: u64,
    /// Of these, those marked copied by a mark that proves nothing (io_uring's, of linked notifications).
    #[serde(default)]
    pub doubtful: u64,
    /// Notifications for more than one call.
    #[serde(default)]
    pub merged_ranges: u64,
    /// Calls refused with ENOBUFS.
    pub enobufs: u64,
    /// Waits at the bound of what may be in flight.
    #[serde(default)]
    pub waits: u64,
    /// Calls made without MSG_ZEROCOPY instead.
    pub fallbacks: u64,
    /// Parts of messages that the path chose to copy, because they were small.
    #[serde(default)]
    pub plain: u64,
    /// Calls whose memory came back by ending the connection.
    #[serde(default)]
    pub aborted: u64,
    /// Calls that the kernel kept.
    pub undrained: u64,
    /// The most bytes in flight at once.
    #[serde(default)]
    pub peak_in_flight_bytes: u64,
    /// The median time from a send to the reading of its notification, our own reaping interval included.
    #[serde(default)]
    pub notification_p50_ns: Option<u64>,
    /// The 99th percentile of the same.
    #[serde(default)]
    pub notification_p99_ns: Option<u64>,
    /// Which way a path that has several chose for its messages, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
}

impl From<&Ledger> for LedgerRecord {
    fn from(ledger: &Ledger) -> Self {
        let quantiles = ledger.notification_quantiles();
        macro_rules! record {
            ($($count:ident),+) => {
                Self {
                    $($count: ledger.$count,)+
                    decisions: (ledger.decisions.total() > 0).then_some(*ledger.decisions),
                    peak_in_flight_bytes: ledger.peak_in_flight_bytes,
                    notification_p50_ns: quantiles.map(|(p50, _)| p50.as_nanos() as u64),
                    notification_p99_ns: quantiles.map(|(_, p99)| p99.as_nanos() as u64),
                }
            };
        }
        copycost::with_ledger_counts!(record)
    }
}
