//! What all senders of this process did.

use crate::reaper::{Dropped, dropped};
use crate::stats::{Stats, totals};

/// What all senders of this process did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStats {
    /// Senders that are open, with those that were dropped and are waited for.
    pub connections: u64,
    /// The sum of all senders, also of those that are gone. A sender adds what it counted when it reads reports, after every 64
    /// calls, and at its end.
    pub total: Stats,
    /// What became of dropped senders.
    pub dropped: Dropped,
}

/// What all senders of this process did. For a page of a server's statistics:
///
/// ```
/// let stats = zerosend::process_stats();
/// println!("{} bytes by reference, {} copied", stats.total.bytes_by_reference, stats.total.bytes_copied);
/// ```
pub fn process_stats() -> ProcessStats {
    let (connections, total) = totals();
    ProcessStats { connections, total, dropped: dropped() }
}
