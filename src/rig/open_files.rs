//! Raises the limit of open files, because a rig with many clients needs more than a shell's soft limit.

use super::error::{RigError, setup};
use crate::scenario::Scenario;
use crate::sys::limits;

/// For each client: three handles at each of the two ends of the connection, the clock of the thread at each
/// end, and what a path may need (a file of messages and the two ends of a pipe, or a ring at each end).
const FILES_PER_CLIENT: u64 = 11;

/// The counters of the threads at both ends.
const FILES_PER_COUNTED: u64 = 14;

/// Other open files: standard streams, listeners, results, `/proc`.
const OTHER_FILES: u64 = 64;

/// Raises the soft limit of open files if necessary and allowed.
pub(super) fn allow(scenario: &Scenario) -> Result<(), RigError> {
    let clients = scenario.clients;
    let counted = scenario.counted_threads.min(clients) as u64;
    let read = || limits::open_files().map_err(setup("the limit of open files could not be read"));
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let needed = open + clients as u64 * FILES_PER_CLIENT + counted * FILES_PER_COUNTED + OTHER_FILES;
    let limit = read()?;
    if needed <= limit.soft {
        return Ok(());
    }
    if needed > limit.hard {
        return Err(RigError::OpenFiles { clients, needed, hard: limit.hard });
    }
    limits::set_open_files(needed).map_err(setup("the limit of open files could not be raised"))
}
