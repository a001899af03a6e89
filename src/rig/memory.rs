//! Memory of messages: a cold footprint of small messages on huge pages would take hundreds of times what they hold.

use super::error::RigError;
use super::site::Site;
use crate::scenario::Scenario;
use crate::supply::Supply;
use crate::sys::limits;

/// Refuses what would take more than half of the memory that is left. Another host judges for itself.
pub(super) fn allow(site: &Site, scenario: &Scenario) -> Result<(), RigError> {
    if !site.serves_here() {
        return Ok(());
    }
    let (clients, needed) =
        (scenario.clients, scenario.clients.saturating_mul(Supply::memory(&scenario.spec)));
    match limits::available_memory() {
        Some(available) if needed > available / 2 => Err(RigError::Memory { clients, needed, available }),
        _ => Ok(()),
    }
}
