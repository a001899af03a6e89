//! Memory of messages: a cold footprint of small messages on huge pages would take hundreds of times what they hold.

use super::error::{MemoryDemand, RigError};
use crate::cgroup;
use crate::cgroup::memory::Available;
use crate::message::{Footprint, Layout, Spec};
use crate::pool::MessagePool;
use crate::scenario::Scenario;
use crate::sys::memory;
use crate::units::ClientCount;

/// Refuses scenarios that are to be ready at once in this process where the messages of one of them would take more than
/// half of the memory that the others leave, by the machine and by its control groups. So what is too much for a cell is
/// known before anything is measured.
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
    // Of an earlier set-up's messages the allocator may still hold what the kernel could give.
    memory::trim();
    let Some(available) = lacks() else { return Ok(()) };
    let needed = each.iter().map(|bytes| clients.saturating_mul(*bytes)).fold(0, usize::saturating_add);
    let most = (1..clients).rev().find(|fewer| fits(&each, *fewer, &available)).unwrap_or(0);
    let demand =
        MemoryDemand { paths: scenarios.len(), clients, bytes: needed, advice: advice(scenarios, most) };
    Err(RigError::Memory { demand: Box::new(demand), available })
}

/// What fits instead, of what the user has chosen; with `most` clients it would.
fn advice(scenarios: &[Scenario], most: usize) -> String {
    let any = |has: fn(&Spec) -> bool| scenarios.iter().any(|scenario| has(&scenario.spec));
    let mut ways = Vec::new();
    if most > 0 {
        ways.push(format!("use at most {}", ClientCount(most)));
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
    MessagePool::memory(&scenario.placed_spec()).saturating_add(scenario.pollution_table.unwrap_or(0))
}

/// Whether each may take at most half of what is left when it is built, one after the other.
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
    fn each_path_takes_of_what_the_ones_before_it_leave() {
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
