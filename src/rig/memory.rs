//! Checks the memory of messages, because a cold footprint of small messages on huge pages takes hundreds of
//! times the bytes of the messages.

use super::error::{MemoryDemand, RigError};
use crate::cgroup;
use crate::cgroup::memory::Available;
use crate::message::{Footprint, Layout, Spec};
use crate::scenario::Scenario;
use crate::sys::memory;
use crate::units::ClientCount;

/// Refuses scenarios that are set up at the same time in this process if the messages of one need more than
/// half of the memory that the others leave. Both the machine and its control groups limit the memory. So an
/// impossible cell is refused before anything is measured.
///
/// # Errors
/// [`RigError::Memory`], which says how many clients would fit.
pub fn check_memory(scenarios: &[Scenario]) -> Result<(), RigError> {
    let each: Vec<usize> = scenarios.iter().map(bytes_of_client).collect();
    let clients = scenarios.iter().map(|scenario| scenario.clients).max().unwrap_or(0);
    let lacks = || cgroup::memory::available().filter(|available| !fits(&each, clients, available));
    if lacks().is_none() {
        return Ok(());
    }
    // The allocator may still hold memory of an earlier set-up's messages.
    memory::trim();
    let Some(available) = lacks() else { return Ok(()) };
    let needed = each.iter().map(|bytes| clients.saturating_mul(*bytes)).fold(0, usize::saturating_add);
    let limit = (1..clients).rev().find(|fewer| fits(&each, *fewer, &available)).unwrap_or(0);
    let demand =
        MemoryDemand { paths: scenarios.len(), clients, bytes: needed, advice: advice(scenarios, limit) };
    Err(RigError::Memory { demand: Box::new(demand), available })
}

/// What the user can change. At most `max_clients` clients fit.
fn advice(scenarios: &[Scenario], max_clients: usize) -> String {
    let any = |has: fn(&Spec) -> bool| scenarios.iter().any(|scenario| has(&scenario.spec));
    let mut ways = Vec::new();
    if max_clients > 0 {
        ways.push(format!("use at most {}", ClientCount(max_clients)));
    }
    if any(|spec| spec.footprint == Footprint::Cold) {
        ways.push("leave out `--footprint cold`".to_owned());
    }
    if any(|spec| spec.layout == Layout::Huge) {
        ways.push("leave out `--layout huge`, which takes 2 MiB for each message in turn".to_owned());
    }
    if scenarios.len() > 1 {
        ways.push("compare fewer paths at once".to_owned());
    }
    if ways.is_empty() {
        ways.push("use smaller or fewer messages (`--size`, `--buffers`)".to_owned());
    }
    ways.join(", or ")
}

fn bytes_of_client(scenario: &Scenario) -> usize {
    scenario.pool_bytes().saturating_add(scenario.pollution_table.unwrap_or(0))
}

/// Whether each scenario needs at most half of the memory that is left when it is built, one after the other.
fn fits(each: &[usize], clients: usize, available: &Available) -> bool {
    let mut left = available.bytes;
    each.iter().all(|bytes| {
        let needed = clients.saturating_mul(*bytes);
        let fits = needed <= left / 2;
        left = left.saturating_sub(needed);
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_may_use_half_of_the_memory_that_the_paths_before_it_leave() {
        let has = |bytes| Available { bytes, group: None };
        assert!(fits(&[10], 5, &has(100)));
        assert!(!fits(&[10], 6, &has(100)));
        // Three paths of 20 each: the third finds 60, and half of that is more than it takes.
        assert!(fits(&[10, 10, 10], 2, &has(100)));
        assert!(!fits(&[10, 10, 10], 3, &has(100)));
        assert!(fits(&[], 3, &has(0)));
        assert!(!fits(&[usize::MAX, 1], 2, &has(usize::MAX)));
    }
}
