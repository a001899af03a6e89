//! Memory of messages: a cold footprint of small messages on huge pages would take hundreds of times what they hold.

use super::error::RigError;
use crate::scenario::Scenario;
use crate::supply::Supply;
use crate::sys::{limits, memory};

/// Refuses what would take more than half of the memory that is left.
pub(super) fn allow(scenario: &Scenario) -> Result<(), RigError> {
    let (clients, needed) =
        (scenario.clients, scenario.clients.saturating_mul(Supply::memory(&scenario.spec)));
    let lacks = || limits::available_memory().filter(|available| needed > available / 2);
    if lacks().is_none() {
        return Ok(());
    }
    // Of an earlier set-up's messages the allocator may still hold what the kernel could give.
    memory::trim();
    lacks().map_or(Ok(()), |available| Err(RigError::Memory { clients, needed, available }))
}
