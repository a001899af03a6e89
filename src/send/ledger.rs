//! What the kernel told a sender, in numbers and in a word.

use std::fmt;
use std::time::Duration;

use super::Decisions;
use crate::latency::Latencies;

/// What the kernel told a sender. Counts are of system calls that carried MSG_ZEROCOPY, not of messages.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    /// Calls that the kernel took by reference: each is to be completed once.
    pub sends: u64,
    /// Calls whose completion was read.
    pub completed: u64,
    /// Completed calls that lie in a range marked copied. The kernel merges ranges and keeps the first mark, so
    /// this is exact only where all marks agree (skb_zerocopy_notify_extend, net/core/skbuff.c).
    pub copied: u64,
    /// Completed calls marked copied by a mark that proves nothing: io_uring links the notifications of the sends that
    /// share a packet, only the first of them hears how it went, and the others say copied (io_link_skb and
    /// io_tx_ubuf_complete, io_uring/notif.c). They are not in `copied`.
    pub doubtful: u64,
    /// Notifications that told of more than one call.
    pub merged_ranges: u64,
    /// Calls refused with ENOBUFS and repeated.
    pub enobufs: u64,
    /// Waits because the bound on what may be in flight was reached.
    pub waits: u64,
    /// Calls that were made without MSG_ZEROCOPY: it was refused, or the bound left no room, and nothing was released
    /// within a moment.
    pub fallbacks: u64,
    /// Parts of messages that the path chose to copy without asking for more: they were small.
    #[serde(default)]
    pub plain: u64,
    /// Which way the path chose for its messages, and why; empty for a path that has one way.
    #[serde(default)]
    pub decisions: Box<Decisions>,
    /// Calls whose memory came back only because the connection was ended before the peer had read it.
    pub aborted: u64,
    /// Calls that the kernel still held when the sender was given up; their memory is leaked.
    pub undrained: u64,
    /// The most bytes that were in flight at once, as far as the sender knew.
    pub peak_in_flight_bytes: u64,
    /// From the send to the reading of its notification, for one call at a time. It holds our own interval
    /// between two looks at the error queue.
    pub notification: Latencies,
}

impl Ledger {
    /// What was added since `earlier`, a former state of the same ledger. The peak stays what it was.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            sends: self.sends - earlier.sends,
            completed: self.completed - earlier.completed,
            copied: self.copied - earlier.copied,
            doubtful: self.doubtful - earlier.doubtful,
            merged_ranges: self.merged_ranges - earlier.merged_ranges,
            enobufs: self.enobufs - earlier.enobufs,
            waits: self.waits - earlier.waits,
            fallbacks: self.fallbacks - earlier.fallbacks,
            plain: self.plain - earlier.plain,
            decisions: Box::new(self.decisions.since(&earlier.decisions)),
            aborted: self.aborted - earlier.aborted,
            undrained: self.undrained - earlier.undrained,
            peak_in_flight_bytes: self.peak_in_flight_bytes,
            notification: self.notification.since(&earlier.notification),
        }
    }

    /// Adds another sender's ledger; the peak is the larger of the two.
    pub fn add(&mut self, other: &Self) {
        self.sends += other.sends;
        self.completed += other.completed;
        self.copied += other.copied;
        self.doubtful += other.doubtful;
        self.merged_ranges += other.merged_ranges;
        self.enobufs += other.enobufs;
        self.waits += other.waits;
        self.fallbacks += other.fallbacks;
        self.plain += other.plain;
        *self.decisions = self.decisions.and(&other.decisions);
        self.aborted += other.aborted;
        self.undrained += other.undrained;
        self.peak_in_flight_bytes = self.peak_in_flight_bytes.max(other.peak_in_flight_bytes);
        self.notification.add(&other.notification);
    }

    /// The share of the completed calls that were marked copied; `None` when nothing was completed, or where the marks
    /// prove nothing.
    pub fn copied_share(&self) -> Option<f64> {
        (self.completed > 0 && self.doubtful == 0).then(|| self.copied as f64 / self.completed as f64)
    }

    /// The word for what happened to the bytes, from the kernel's marks alone.
    pub fn copies(&self) -> Copies {
        let asked_for_a_copy = self.fallbacks + self.plain > 0;
        match (self.completed, self.copied) {
            _ if self.doubtful > 0 => Copies::Unknown,
            (0, _) if asked_for_a_copy => Copies::Copied,
            (0, _) => Copies::Unknown,
            (completed, copied) if completed == copied => Copies::Copied,
            (_, 0) if !asked_for_a_copy => Copies::NotCopied,
            _ => Copies::Mixed,
        }
    }

    /// The word where every send is known to be copied on the way (`why`), whatever the marks are worth; and its reason.
    pub fn judged(&self, why: Option<&str>) -> (Copies, Option<String>) {
        let all_marked = self.copied + self.doubtful == self.completed;
        let known = why.filter(|_| self.copied + self.doubtful > 0).map(str::to_owned);
        match self.copies() {
            Copies::Unknown if self.doubtful > 0 && all_marked && known.is_some() => (Copies::Copied, known),
            Copies::Unknown if self.doubtful > 0 => {
                (Copies::Unknown, Some("io_uring marks sends that share a packet as copied".to_owned()))
            }
            word => (word, known),
        }
    }

    /// The median and the 99th percentile of the time to a notification.
    pub fn notification_quantiles(&self) -> Option<(Duration, Duration)> {
        Some((self.notification.quantile(0.5)?, self.notification.quantile(0.99)?))
    }
}

/// What happened to the bytes of sends that asked for zero copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Copies {
    /// Every completed send was marked copied.
    Copied,
    /// Some were.
    Mixed,
    /// None was. The kernel's word only: an XDP program on the way can hide a copy.
    NotCopied,
    /// A probe saw memory that was changed after the send arrive changed.
    ByReference,
    /// Nothing was completed, so nothing is known.
    Unknown,
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Copied => "copied",
            Self::Mixed => "mixed",
            Self::NotCopied => "not copied (kernel's word)",
            Self::ByReference => "by reference (probed)",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(completed: u64, copied: u64, fallbacks: u64) -> Ledger {
        Ledger { sends: completed, completed, copied, fallbacks, ..Ledger::default() }
    }

    #[test]
    fn what_was_copied_is_called_copied() {
        for (completed, copied, fallbacks, word) in [
            (0, 0, 0, "unknown"),
            (0, 0, 3, "copied"),
            (5, 5, 0, "copied"),
            (5, 5, 2, "copied"),
            (5, 2, 0, "mixed"),
            (5, 0, 1, "mixed"),
            (5, 0, 0, "not copied (kernel's word)"),
        ] {
            assert_eq!(ledger(completed, copied, fallbacks).copies().to_string(), word);
            // What was copied by choice was copied as well as what was copied by need.
            let chosen = Ledger { plain: fallbacks, ..ledger(completed, copied, 0) };
            assert_eq!(chosen.copies().to_string(), word);
        }
    }

    #[test]
    fn a_ledger_is_the_sum_of_its_parts() {
        let mut early = ledger(3, 1, 0);
        early.notification.record(Duration::from_micros(5));
        let mut late = early.clone();
        late.add(&ledger(4, 4, 1));
        late.notification.record(Duration::from_micros(9));
        let part = late.since(&early);
        assert_eq!((part.completed, part.copied, part.fallbacks, part.notification.len()), (4, 4, 1, 1));
    }
}
