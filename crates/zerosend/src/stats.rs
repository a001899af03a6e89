//! What a sender counted.

/// Counts of one connection since its sender was made, and what is in flight now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that the kernel took by reference: each is to be reported once.
    pub calls_by_reference: u64,
    /// Calls that copied because their segments were to be copied.
    pub calls_copying: u64,
    /// Calls that copied although their segments were to go by reference: a limit was reached, or the kernel refused.
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
    /// The most bytes that were in flight at once.
    pub peak_in_flight_bytes: usize,
}
