//! What a sender counted, and the sum of all senders.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of one connection since its sender was made, and what is in flight now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that the kernel took by reference: each is to be reported once.
    pub calls_by_reference: u64,
    /// Calls that copied, for whatever reason.
    pub calls_copying: u64,
    /// Of these, those whose pieces were to go by reference: a limit was reached, or the kernel refused.
    pub fallbacks: u64,
    /// Bytes that the kernel took by reference. Whether it copied them later is in [`released_copied`](Self::released_copied).
    pub bytes_by_reference: u64,
    /// Bytes that a call copied.
    pub bytes_copied: u64,
    /// Calls by reference that were released.
    pub released: u64,
    /// Of these, those in ranges that the kernel marked as copied.
    pub released_copied: u64,
    /// Of these, those whose bytes the peer had not acknowledged: the connection had ended.
    pub released_aborted: u64,
    /// Reports of more than one call.
    pub merged_reports: u64,
    /// Calls refused with ENOBUFS: the option memory or the user's locked memory was used up.
    pub enobufs: u64,
    /// Entries of the error queue that were no reports, and were skipped.
    pub foreign: u64,
    /// System calls made.
    pub system_calls: u64,
    /// Calls by reference that are not released.
    pub in_flight: usize,
    /// The bytes of these calls.
    pub in_flight_bytes: usize,
    /// The most bytes that were in flight at once; of the process, on one connection.
    pub peak_in_flight_bytes: usize,
    /// How payloads went, and why.
    pub decisions: Decisions,
    /// How long reports took.
    pub report_times: ReportTimes,
}

impl Stats {
    /// How many pages the kernel charges to the user's locked memory (RLIMIT_MEMLOCK) for what is in flight, at most: two for each call
    /// beside the whole ones (mm_account_pinned_pages, net/core/skbuff.c).
    pub fn pages_in_flight(&self) -> usize {
        self.in_flight_bytes / 4096 + 2 * self.in_flight
    }
}

/// How payloads went that may go by reference, and why; each is counted once, when its first bytes go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decisions {
    /// Their large pieces by reference, as the policy and what is known of the route say.
    pub by_reference: u64,
    /// The same, to see what the kernel makes of it: nothing was known of the route.
    pub asking: u64,
    /// Copied: no piece was large enough.
    pub small: u64,
    /// Copied: the kernel copies on this route what it is given by reference.
    pub route_copies: u64,
    /// Copied: the kernel has refused on this route (ENOBUFS).
    pub route_refuses: u64,
    /// Copied: another call asks what the kernel makes of this route.
    pub route_unknown: u64,
    /// Copied: the policy is to copy.
    pub never: u64,
    /// Copied: this connection sends nothing by reference ([`Sender::is_able`](crate::Sender::is_able)).
    pub unable: u64,
}

/// Of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing of it may go by reference.
    AsGiven,
    ByReference,
    Asking,
    Small,
    RouteCopies,
    RouteRefuses,
    RouteUnknown,
    Never,
    Unable,
}

impl Decision {
    #[inline]
    pub(crate) fn by_reference(self) -> bool {
        matches!(self, Self::ByReference | Self::Asking)
    }
}

impl Decisions {
    #[inline]
    pub(crate) fn count(&mut self, decision: Decision) {
        *match decision {
            Decision::AsGiven => return,
            Decision::ByReference => &mut self.by_reference,
            Decision::Asking => &mut self.asking,
            Decision::Small => &mut self.small,
            Decision::RouteCopies => &mut self.route_copies,
            Decision::RouteRefuses => &mut self.route_refuses,
            Decision::RouteUnknown => &mut self.route_unknown,
            Decision::Never => &mut self.never,
            Decision::Unable => &mut self.unable,
        } += 1;
    }
}

/// How long it took from a call by reference until its report was read: of one call at a time, for a clock costs more than a small
/// send has to spare. What passes before somebody looks for reports is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportTimes {
    /// How many were timed.
    pub timed: u64,
    /// Of all of them together.
    pub total: Duration,
    /// Of the longest.
    pub longest: Duration,
}

impl ReportTimes {
    pub(crate) fn note(&mut self, time: Duration) {
        self.timed += 1;
        self.total += time;
        self.longest = self.longest.max(time);
    }

    /// The mean; `None` where none was timed.
    pub fn mean(&self) -> Option<Duration> {
        let nanoseconds = self.total.as_nanos().checked_div(self.timed.into())?;
        u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
    }
}

/// How many senders are open, and the sum of all, also of those that are gone.
pub(crate) fn totals() -> (u64, Stats) {
    let counts = TOTALS.each_ref().map(|count| count.load(Ordering::Relaxed));
    let mut total = Stats::from_counts(counts);
    total.peak_in_flight_bytes = PEAK.load(Ordering::Relaxed) as usize;
    total.report_times.longest = Duration::from_nanos(LONGEST.load(Ordering::Relaxed));
    (CONNECTIONS.load(Ordering::Relaxed), total)
}

// Adding takes no lock, which a fork in another thread may leave locked for ever.
static TOTALS: [AtomicU64; COUNTS] = [const { AtomicU64::new(0) }; COUNTS];
static PEAK: AtomicU64 = AtomicU64::new(0);
static LONGEST: AtomicU64 = AtomicU64::new(0);
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// The counts of which a sum makes sense, in a row.
macro_rules! counts {
    ($($($part:ident).+),+ $(,)?) => {
        const COUNTS: usize = [$(stringify!($($part).+)),+].len() + 1;

        impl Stats {
            fn counts(&self) -> [u64; COUNTS] {
                [$(self.$($part).+ as u64,)+ self.report_times.total.as_nanos() as u64]
            }

            fn from_counts(counts: [u64; COUNTS]) -> Self {
                let mut stats = Self::default();
                let mut next = counts.into_iter();
                $(stats.$($part).+ = next.next().unwrap_or(0) as _;)+
                stats.report_times.total = Duration::from_nanos(next.next().unwrap_or(0));
                stats
            }
        }
    };
}

counts!(
    calls_by_reference,
    calls_copying,
    fallbacks,
    bytes_by_reference,
    bytes_copied,
    released,
    released_copied,
    released_aborted,
    merged_reports,
    enobufs,
    foreign,
    system_calls,
    in_flight,
    in_flight_bytes,
    decisions.by_reference,
    decisions.asking,
    decisions.small,
    decisions.route_copies,
    decisions.route_refuses,
    decisions.route_unknown,
    decisions.never,
    decisions.unable,
    report_times.timed,
);

/// After so many looks a sender adds what it counted.
const TELL_CALLS: u32 = 64;

/// What a sender has added to the counts of the process.
#[derive(Debug)]
pub(crate) struct Told {
    /// `None` while it has added nothing: many connections never send.
    before: Option<Box<Stats>>,
    looks: u32,
}

impl Told {
    /// Of a new connection.
    pub(crate) fn new() -> Self {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self { before: None, looks: 0 }
    }

    /// Whether it is time to tell; to be asked after each call.
    #[inline]
    pub(crate) fn is_due(&mut self) -> bool {
        self.looks += 1;
        self.looks >= TELL_CALLS
    }

    pub(crate) fn tell(&mut self, now: Stats) {
        self.looks = 0;
        let before = self.before.get_or_insert_default();
        let counts = now.counts().into_iter().zip(before.counts());
        for (total, (now, before)) in TOTALS.iter().zip(counts) {
            // What is in flight may be less than before: the sum wraps and comes out right.
            if now != before {
                total.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
            }
        }
        PEAK.fetch_max(now.peak_in_flight_bytes as u64, Ordering::Relaxed);
        LONGEST.fetch_max(now.report_times.longest.as_nanos() as u64, Ordering::Relaxed);
        **before = now;
    }

    /// The connection is gone. `now` has nothing in flight.
    pub(crate) fn end(&mut self, now: Stats) {
        if self.before.is_some() || now != Stats::default() {
            self.tell(now);
        }
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_every_count() {
        let mut stats =
            Stats { calls_by_reference: 1, in_flight: 5, in_flight_bytes: 9000, ..Stats::default() };
        for decision in [Decision::ByReference, Decision::Unable, Decision::AsGiven] {
            stats.decisions.count(decision);
        }
        stats.report_times.note(Duration::from_micros(3));
        let back = Stats::from_counts(stats.counts());
        let longest = stats.report_times.longest;
        assert_eq!(Stats { report_times: ReportTimes { longest, ..back.report_times }, ..back }, stats);
        assert_eq!(stats.pages_in_flight(), 2 + 10);
        assert_eq!(stats.report_times.mean(), Some(Duration::from_micros(3)));
    }
}
