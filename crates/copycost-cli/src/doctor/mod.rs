//! What on this machine will distort or break a measurement, each with its fix.
//!
//! A wrong default is silent: a quota, a tap or a small limit changes the numbers and leaves no trace in them.
//! So each suspicion is a check: a function from a [`Machine`] and a [`PlannedRun`] to one finding. A check is `distorts` only
//! where the measurement itself suffers; what copycost sets for itself (congestion control, pinning, SCHED_BATCH, buffer
//! sizes) is at most a note. Checks only read; they find and never print.
//!
//! Adding a check is one function in the file of its family and one line in [`CHECKS`].

mod buffers;
mod cgroup;
mod clock;
mod copying;
mod cpu;
mod facts;
mod finding;
pub(crate) mod hooks;
mod kernel;
mod link;
mod load;
mod machine;
mod memory;
mod network;
mod plan;
pub mod print;
mod processes;
mod route;

pub use copying::{Copier, CopyTime, slowness};
pub use facts::{Capabilities, Facts, IoUring, LinkFacts, Offloads, Qdisc, Support};
pub use finding::{Finding, Status};
pub use machine::Machine;
pub use plan::PlannedRun;

use std::net::SocketAddr;

use copycost::internals::sys::interfaces;

use finding::CheckResult;
use machine::Unread;

/// One thing to look at.
#[derive(Debug)]
pub struct Check {
    /// Stable id; scripts may rely on it.
    pub id: &'static str,
    look: fn(&Machine, &PlannedRun) -> Result<CheckResult, Unread>,
}

const fn check(id: &'static str, look: fn(&Machine, &PlannedRun) -> Result<CheckResult, Unread>) -> Check {
    Check { id, look }
}

/// Every check, in the order in which findings come.
pub const CHECKS: &[Check] = &[
    check("cpus", cpu::cpus),
    check("cpuset", cpu::cpuset),
    check("smt", cpu::smt),
    check("cpu-quota", cgroup::quota),
    check("memory-limit", cgroup::memory),
    check("governor", clock::governor),
    check("turbo", clock::turbo),
    check("copy-hazard", copying::hazard),
    check("steal", clock::steal),
    check("load", load::load),
    check("irq-time", clock::irq_time),
    check("perf-paranoid", kernel::perf_paranoid),
    check("pmu", kernel::pmu),
    check("msg-zerocopy", kernel::msg_zerocopy),
    check("io-uring", kernel::io_uring),
    check("open-files", kernel::open_files),
    check("memory-lock", memory::memory_lock),
    check("optmem", memory::optmem),
    check("huge-pages", memory::huge_pages),
    check("send-buffer", buffers::send_buffer),
    check("receive-buffer", buffers::receive_buffer),
    check("tcp-mem", buffers::tcp_mem),
    check("congestion-control", network::congestion_control),
    check("packet-steering", network::packet_steering),
    check("packet-taps", hooks::packet_taps),
    check("netfilter", hooks::netfilter),
    check("socket-maps", hooks::socket_maps),
    check("route", link::route),
    check("link", link::link),
    check("loopback", link::loopback),
    check("qdisc", link::qdisc),
    check("mtu", link::mtu),
    check("offloads", link::offloads),
];

/// Runs every check: exactly one finding each, in the order of [`CHECKS`].
///
/// A file that cannot be read costs its own check only.
pub fn examine(machine: &Machine, plan: &PlannedRun) -> Vec<Finding> {
    let answered = |check: &Check| {
        let answer = (check.look)(machine, plan).unwrap_or_else(|unread| {
            let answer = CheckResult::unreadable(format!("{unread}."));
            if unread.forbidden() { answer.fix("run `copycost doctor` as root") } else { answer }
        });
        answer.of(check.id)
    };
    CHECKS.iter().map(answered).collect()
}

/// Why the kernel copies zero-copy sends to `peer`, where this machine can tell: the first check of those that know
/// a reason.
pub fn why_copied(peer: SocketAddr) -> Option<String> {
    let (machine, plan) = (Machine::live(), towards(peer));
    let reason = |look: fn(&Machine, &PlannedRun) -> Result<Option<&'static str>, Unread>| {
        look(&machine, &plan).ok()?
    };
    let looks = [link::delivered_here, hooks::tapped, link::without_scatter_gather];
    looks.into_iter().find_map(reason).map(str::to_owned)
}

/// The interface by which connections to `peer` leave this machine, where that can be told.
pub fn interface_to(peer: SocketAddr) -> Option<String> {
    route::interface(&Machine::at("/", Facts::default()), &towards(peer)).ok()?
}

fn towards(peer: SocketAddr) -> PlannedRun {
    let zone = match peer {
        SocketAddr::V6(peer) => interfaces::name(peer.scope_id()).ok(),
        SocketAddr::V4(_) => None,
    };
    PlannedRun { address: Some(peer.ip()), zone, ..PlannedRun::default() }
}

/// The command's exit code: 3 when something will distort the measurement, otherwise 0.
pub fn exit_code(findings: &[Finding]) -> u8 {
    if findings.iter().any(|finding| finding.status == Status::Distorts) { 3 } else { 0 }
}
