//! Memory for zero-copy sends: limits on pinned pages and on notifications, and the availability of huge pages.
//!
//! A send beyond either limit fails with ENOBUFS at once, even on a blocking socket. The path must then wait for
//! completions or copy. So the checks compare the limits with the number of sends that fill the send buffer.

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;
use super::plan::spelled;

/// The sends of one size that a limit allows in flight, and the number that the send buffers can hold.
struct SendBufferRoom {
    size: u64,
    granted: u64,
    wanted: u64,
}

impl SendBufferRoom {
    // A sender that waits for a full buffer wakes when a third of it is free (sk_stream_is_writeable,
    // include/net/sock.h). With half of the buffer in flight the receiver does not have to wait.
    fn starves(&self) -> bool {
        2 * self.granted < self.wanted
    }

    fn short(&self) -> bool {
        self.granted < self.wanted
    }
}

/// Checks RLIMIT_MEMLOCK. The kernel charges `(length >> PAGE_SHIFT) + 2` pages for each zero-copy send, over all
/// sockets of a user, unless the process has CAP_IPC_LOCK (mm_account_pinned_pages, net/core/skbuff.c).
pub(super) fn memory_lock(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let facts = &machine.facts;
    if facts.capabilities.ipc_lock {
        return Ok(CheckResult::ready("CAP_IPC_LOCK: zero-copy sends are not charged to the memory lock."));
    }
    let Some(limit) = facts.memory_lock_bytes else {
        return Ok(CheckResult::ready("Locked memory is not limited."));
    };
    let page = machine.page_bytes();
    let pages = limit / page;
    let charged = |size: u64| size / page + 2;
    let clients = plan.most_clients();
    let rooms: Vec<SendBufferRoom> = plan
        .sizes()
        .map(|size| SendBufferRoom {
            size,
            granted: pages / charged(size),
            wanted: clients * plan.sends_in_flight(size, page),
        })
        .collect();
    let message = format!(
        "The memory lock of {} lets all sockets of uid {} together have {} in flight; the next send gets ENOBUFS.",
        spelled(limit),
        facts.uid,
        listed(&rooms)
    );
    let needed = rooms.iter().map(|room| room.wanted * charged(room.size) * page).max().unwrap_or(0);
    let needed = needed.next_power_of_two();
    Ok(result_for(message, &rooms, clients)
        .fix_where_short(&rooms, format!("prlimit --pid $$ --memlock={needed}:{needed}")))
}

/// Checks optmem_max, which limits the memory of a socket for unread notifications.
///
/// msg_zerocopy_alloc (net/core/skbuff.c) allocates one small packet for each send that does not continue the previous
/// one. sock_omalloc (net/core/sock.c) refuses it if SKB_TRUESIZE(0) more bytes would exceed the limit.
pub(super) fn optmem(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    // SKB_TRUESIZE(0), and the charge for the packet. Measured on Linux 6.18, x86-64, by lowering optmem_max in a
    // network namespace until the nth send failed: limits of 576, 1408, 2240 and 3072 bytes allow 1, 2, 3 and 4 sends.
    const ASKED: u64 = 576;
    const CHARGED: u64 = 832;
    let Some(limit) = machine.number_if_there::<u64>("/proc/sys/net/core/optmem_max")? else {
        return Ok(CheckResult::note("optmem_max is not shown in this network namespace."));
    };
    let granted = if limit < ASKED { 0 } else { (limit - ASKED) / CHARGED + 1 };
    let rooms: Vec<SendBufferRoom> = plan
        .sizes()
        .map(|size| SendBufferRoom {
            size,
            granted,
            wanted: plan.sends_in_flight(size, machine.page_bytes()),
        })
        .collect();
    let first = rooms.iter().filter(|room| room.short()).map(|room| room.size).max();
    let message = match first {
        None => format!(
            "optmem_max of {} lets a socket have {granted} zero-copy sends in flight: enough for every planned size.",
            spelled(limit)
        ),
        Some(size) => format!(
            "optmem_max of {} lets a socket have {granted} zero-copy sends in flight; the next gets ENOBUFS, \
             which can happen with messages of {} and smaller.",
            spelled(limit),
            spelled(size)
        ),
    };
    let most = rooms.iter().map(|room| room.wanted).max().unwrap_or(1);
    let needed = (ASKED + (most - 1) * CHARGED).next_power_of_two();
    Ok(result_for(message, &rooms, 1)
        .fix_where_short(&rooms, format!("sysctl -w net.core.optmem_max={needed}")))
}

/// `8 zero-copy sends of 1 KiB, 5 of 4 KiB, 0 of 64 KiB`.
fn listed(rooms: &[SendBufferRoom]) -> String {
    let mut unit = " zero-copy sends";
    let each: Vec<String> = rooms
        .iter()
        .map(|room| format!("{}{} of {}", room.granted, std::mem::take(&mut unit), spelled(room.size)))
        .collect();
    each.join(", ")
}

fn result_for(message: String, rooms: &[SendBufferRoom], clients: u64) -> CheckResult {
    if let Some(room) = rooms.iter().rev().find(|room| room.starves()) {
        let whose = if clients > 1 {
            format!("The send buffers of {clients} clients hold")
        } else {
            "A send buffer holds".into()
        };
        return CheckResult::distorts(message).effect(format!(
            "{whose} {} sends of {}, so the path waits for completions or falls back to copying.",
            room.wanted,
            spelled(room.size)
        ));
    }
    if rooms.iter().any(SendBufferRoom::short) {
        return CheckResult::note(message).effect(
            "Full send buffers can reach this limit; copycost then waits for completions and counts the \
             waits.",
        );
    }
    CheckResult::ready(message)
}

impl CheckResult {
    fn fix_where_short(self, rooms: &[SendBufferRoom], fix: String) -> CheckResult {
        if rooms.iter().any(SendBufferRoom::short) { self.fix(fix) } else { self }
    }
}

/// Checks transparent huge pages, which the layout `huge` requires.
pub(super) fn huge_pages(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    const FIX: &str = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
    let Some(enabled) = machine.read_if_there(PATH)? else {
        return Ok(CheckResult::note("This kernel has no transparent huge pages.")
            .effect("The layout `huge` uses small pages."));
    };
    let defrag = machine.read_if_there("/sys/kernel/mm/transparent_hugepage/defrag")?.unwrap_or_default();
    let defrag = chosen(&defrag).unwrap_or("unknown");
    let enabled = chosen(&enabled).ok_or_else(|| Unread::strange(PATH, &enabled))?;
    let message = format!("Transparent huge pages: {enabled} (defrag: {defrag}).");
    Ok(match enabled {
        "madvise" => CheckResult::ready(message),
        "never" => CheckResult::note(message).effect("The layout `huge` uses small pages.").fix(FIX),
        _ => CheckResult::note(message)
            .effect("Other layouts may get huge pages too, and then need fewer fragments.")
            .fix(FIX),
    })
}

/// The option in brackets of a line such as `always [madvise] never`.
fn chosen(line: &str) -> Option<&str> {
    line.split_once('[')?.1.split_once(']').map(|(option, _)| option)
}
