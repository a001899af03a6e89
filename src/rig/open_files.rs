//! Open files: a rig of many clients needs more than a shell's soft limit allows.

use super::error::{RigError, setup};
use crate::scenario::Scenario;
use crate::sys::limits;

/// The two ends of a connection, and the handles by which it is asked, received and woken: three each; the clock of
/// the thread at each end; and what a path may need besides, a file of messages and the two ends of a pipe, or a ring
/// at each end.
const FILES_PER_CLIENT: u64 = 11;

/// The counters of the threads at both ends.
const FILES_PER_COUNTED: u64 = 14;

/// Files that are open beside the connections: standard streams, listeners, results, `/proc`.
const FILES_BESIDE: u64 = 64;

/// Raises the soft limit of open files where that is needed and allowed.
pub(super) fn allow(scenario: &Scenario) -> Result<(), RigError> {
    let clients = scenario.clients;
    let counted = scenario.counted_threads.min(clients) as u64;
    let read = || limits::open_files().map_err(setup("the limit of open files could not be read"));
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let needed = open + clients as u64 * FILES_PER_CLIENT + counted * FILES_PER_COUNTED + FILES_BESIDE;
    let limit = read()?;
    if needed <= limit.soft {
        return Ok(());
    }
    if needed > limit.hard {
        return Err(RigError::OpenFiles { clients, needed, hard: limit.hard });
    }
    limits::set_open_files(needed).map_err(setup("the limit of open files could not be raised"))
}
