//! Memory of messages: a cold footprint of small messages on huge pages would take hundreds of times what they hold.

use super::error::RigError;
use crate::cgroup;
use crate::scenario::Scenario;
use crate::supply::Supply;
use crate::sys::memory;

/// Refuses what would take more than half of the memory that is left to this process, by the machine and by its control
/// groups.
pub(super) fn allow(scenario: &Scenario) -> Result<(), RigError> {
    let clients = scenario.clients;
    let each = Supply::memory(&scenario.placed_spec()).saturating_add(scenario.pollution_table.unwrap_or(0));
    let needed = clients.saturating_mul(each);
    let lacks = || cgroup::memory::available().filter(|available| needed > available.bytes / 2);
    if lacks().is_none() {
        return Ok(());
    }
    // Of an earlier set-up's messages the allocator may still hold what the kernel could give.
    memory::trim();
    lacks().map_or(Ok(()), |available| Err(RigError::Memory { clients, needed, available }))
}
