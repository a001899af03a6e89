//! Finds conditions of this machine that distort or break a measurement, each with its fix.
//!
//! A quota, a tap or a small limit changes the results and leaves no trace in them. So there is a check for each known
//! cause: a function from a [`Machine`] and a [`PlannedRun`] to one finding. A finding is `distorts` only if the
//! measurement itself suffers. A setting that copycost overrides (congestion control, pinning, SCHED_BATCH, buffer
//! sizes) is at most a note. Checks only read; they never print.
//!
//! Adding a check is one function in the file of its family and one line in [`CHECKS`].

mod buffers;
mod cgroup;
mod clock;
mod copies;
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

pub use copies::{Copier, CopyTime, slowness};
pub use facts::{Capabilities, Facts, IoUring, LinkFacts, Offloads, Qdisc, Support};
pub use finding::{Finding, Status};
pub use machine::Machine;
pub use plan::PlannedRun;

use std::net::SocketAddr;

use copycost::internals::sys::interfaces;

use finding::CheckResult;
use machine::Unread;

/// A check with its id.
#[derive(Debug)]
pub struct Check {
    /// Stable id; scripts may rely on it.
    pub id: &'static str,
    run: fn(&Machine, &PlannedRun) -> Result<CheckResult, Unread>,
}

const fn check(id: &'static str, run: fn(&Machine, &PlannedRun) -> Result<CheckResult, Unread>) -> Check {
    Check { id, run }
}

/// Every check, in the order of the findings.
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

/// Runs every check. Returns exactly one finding for each, in the order of [`CHECKS`].
///
/// An unreadable file affects only its own check.
pub fn examine(machine: &Machine, plan: &PlannedRun) -> Vec<Finding> {
    let finding = |check: &Check| {
        let result = (check.run)(machine, plan).unwrap_or_else(|unread| {
            let result = CheckResult::unreadable(format!("{unread}."));
            if unread.forbidden() { result.fix("run `copycost doctor` as root") } else { result }
        });
        result.of(check.id)
    };
    CHECKS.iter().map(finding).collect()
}

/// The reason why the kernel copies zero-copy sends to `peer`, from the first check that finds one; `None` if none
/// does.
pub fn why_copied(peer: SocketAddr) -> Option<String> {
    let (machine, plan) = (Machine::live(), plan_for(peer));
    let reason = |check: fn(&Machine, &PlannedRun) -> Result<Option<&'static str>, Unread>| {
        check(&machine, &plan).ok()?
    };
    let checks = [link::delivered_here, hooks::tapped, link::without_scatter_gather];
    checks.into_iter().find_map(reason).map(str::to_owned)
}

/// The interface of this machine that sends to `peer`; `None` if it is unknown.
pub fn interface_to(peer: SocketAddr) -> Option<String> {
    route::interface(&Machine::at("/", Facts::default()), &plan_for(peer)).ok()?
}

fn plan_for(peer: SocketAddr) -> PlannedRun {
    let zone = match peer {
        SocketAddr::V6(peer) => interfaces::name(peer.scope_id()).ok(),
        SocketAddr::V4(_) => None,
    };
    PlannedRun { address: Some(peer.ip()), zone, ..PlannedRun::default() }
}

/// The command's exit code: 3 if a finding is [`Status::Distorts`], otherwise 0.
pub fn exit_code(findings: &[Finding]) -> u8 {
    if findings.iter().any(|finding| finding.status == Status::Distorts) { 3 } else { 0 }
}
