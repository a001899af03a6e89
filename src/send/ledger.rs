//! What the kernel reported to a sender, as counts and as a summary.

use std::fmt;
use std::time::Duration;

use super::Decisions;
use crate::latency::Latencies;

/// Gives the macro `$with` the names of all counts of a [`Ledger`]: sums, differences and records have them from here.
#[doc(hidden)]
#[macro_export]
macro_rules! with_ledger_counts {
    ($with:ident) => {
        $with!(
            sends,
            completed,
            copied,
            doubtful,
            merged_ranges,
            enobufs,
            waits,
            fallbacks,
            plain,
            aborted,
            undrained
        )
    };
}

/// What the kernel reported to a sender. Counts are of system calls with MSG_ZEROCOPY, not of messages.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    /// Calls that the kernel accepted by reference. Each is completed once.
    pub sends: u64,
    /// Calls whose completion was read.
    pub completed: u64,
    /// Completed calls in a range marked as copied. The kernel merges ranges and keeps the first mark, so
    /// this is exact only if all marks are the same (skb_zerocopy_notify_extend, net/core/skbuff.c).
    pub copied: u64,
    /// Completed calls whose mark "copied" proves nothing. io_uring links the notifications of sends that
    /// share a packet; only the first has the true mark, and the others always say copied (io_link_skb and
    /// io_tx_ubuf_complete, io_uring/notif.c). They are not in `copied`.
    pub doubtful: u64,
    /// Notifications for more than one call.
    pub merged_ranges: u64,
    /// Calls that were refused with ENOBUFS and repeated.
    pub enobufs: u64,
    /// Waits because the limit of data in flight was reached.
    pub waits: u64,
    /// Calls without MSG_ZEROCOPY, because it was refused or because the limit left no room and nothing was
    /// released in time.
    pub fallbacks: u64,
    /// Parts of messages that the path chose to copy because they were small.
    #[serde(default)]
    pub plain: u64,
    /// How the path chose to send its messages, and why; empty for a path that has no choice.
    #[serde(default)]
    pub decisions: Box<Decisions>,
    /// Calls whose memory was released only because the connection was ended before the peer had read the
    /// data.
    pub aborted: u64,
    /// Calls that the kernel still held when the sender was dropped. Their memory is leaked.
    pub undrained: u64,
    /// The most bytes in flight at once, as far as the sender knew.
    pub peak_in_flight_bytes: u64,
    /// The time from a send to the reading of its notification, measured for one call at a time. It includes
    /// the interval between two readings of the error queue.
    pub notification: Latencies,
}

impl Ledger {
    /// The difference to `earlier`, a former state of the same ledger. The peak stays as it is.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        macro_rules! difference {
            ($($count:ident),+) => {
                Self {
                    $($count: self.$count - earlier.$count,)+
                    decisions: Box::new(self.decisions.since(&earlier.decisions)),
                    peak_in_flight_bytes: self.peak_in_flight_bytes,
                    notification: self.notification.since(&earlier.notification),
                }
            };
        }
        with_ledger_counts!(difference)
    }

    /// Adds another sender's ledger; the peak is the larger of the two.
    pub fn add(&mut self, other: &Self) {
        macro_rules! add {
            ($($count:ident),+) => { $(self.$count += other.$count;)+ };
        }
        with_ledger_counts!(add);
        *self.decisions = self.decisions.and(&other.decisions);
        self.peak_in_flight_bytes = self.peak_in_flight_bytes.max(other.peak_in_flight_bytes);
        self.notification.add(&other.notification);
    }

    /// The share of completed calls marked as copied; `None` if nothing was completed, or if the marks prove
    /// nothing.
    pub fn copied_share(&self) -> Option<f64> {
        (self.completed > 0 && self.doubtful == 0).then(|| self.copied as f64 / self.completed as f64)
    }

    /// What happened to the bytes, by the kernel's marks alone.
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

    /// What happened to the bytes, with the reason. `why` is set if every send on this route is known to be
    /// copied, whatever the marks say.
    pub fn judged(&self, why: Option<&str>) -> (Copies, Option<String>) {
        let all_marked = self.copied + self.doubtful == self.completed;
        let known = why.filter(|_| self.copied + self.doubtful > 0).map(str::to_owned);
        match self.copies() {
            Copies::Unknown if self.doubtful > 0 && all_marked && known.is_some() => (Copies::Copied, known),
            Copies::Unknown if self.doubtful > 0 => {
                (Copies::Unknown, Some("io_uring marks sends that share a packet as copied".to_owned()))
            }
            copies => (copies, known),
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
    /// Some completed sends were marked copied.
    Mixed,
    /// No completed send was marked copied. An XDP program on the route can still hide a copy.
    NotCopied,
    /// A probe changed memory after the send, and the change arrived.
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
    fn the_marks_decide_what_happened_to_the_bytes() {
        for (completed, copied, fallbacks, name) in [
            (0, 0, 0, "unknown"),
            (0, 0, 3, "copied"),
            (5, 5, 0, "copied"),
            (5, 5, 2, "copied"),
            (5, 2, 0, "mixed"),
            (5, 0, 1, "mixed"),
            (5, 0, 0, "not copied (kernel's word)"),
        ] {
            assert_eq!(ledger(completed, copied, fallbacks).copies().to_string(), name);
            // Calls that were copied by choice count like calls that had to be copied.
            let chosen = Ledger { plain: fallbacks, ..ledger(completed, copied, 0) };
            assert_eq!(chosen.copies().to_string(), name);
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
