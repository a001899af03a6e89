//! Socket buffers: whether the kernel grants the planned sizes.
//!
//! Buffer sizes decide which end does the work: if the window closes, the transmit work of the sender moves to the
//! receiver's thread.

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;
use super::plan::spelled;

/// Checks net.core.wmem_max against the planned SO_SNDBUF.
pub(super) fn send_buffer(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    granted(machine, "wmem_max", "SO_SNDBUF", plan.send_buffer)
}

/// Checks net.core.rmem_max against the planned SO_RCVBUF.
pub(super) fn receive_buffer(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    granted(machine, "rmem_max", "SO_RCVBUF", plan.receive_buffer)
}

/// setsockopt cuts the value to the sysctl without an error (net/core/sock.c).
fn granted(machine: &Machine, sysctl: &str, option: &str, planned: usize) -> Result<CheckResult, Unread> {
    // Some kernels keep the limit for the whole machine and show it only in the first network namespace.
    let Some(limit) = machine.number_if_there::<u64>(&format!("/proc/sys/net/core/{sysctl}"))? else {
        return Ok(CheckResult::note(format!("{sysctl} is not shown in this network namespace."))
            .effect(format!("copycost reads {option} back and records what it got.")));
    };
    let planned = planned as u64;
    if limit >= planned {
        return Ok(CheckResult::ready(format!(
            "{sysctl} of {} grants the planned {option} of {}.",
            spelled(limit),
            spelled(planned)
        )));
    }
    Ok(CheckResult::distorts(format!(
        "{sysctl} cuts the planned {option} of {} to {}.",
        spelled(planned),
        spelled(limit)
    ))
    .effect(
        "Other buffer sizes move work from one end to the other: the results are flagged, and cannot be \
         compared with other machines.",
    )
    .fix(format!("sysctl -w net.core.{sysctl}={planned}")))
}

/// Checks tcp_mem, which counts pages. Above its second number all TCP sockets of the machine get smaller windows
/// (ip-sysctl.rst).
pub(super) fn tcp_mem(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    const PATH: &str = "/proc/sys/net/ipv4/tcp_mem";
    let Some(text) = machine.read_if_there(PATH)? else {
        return Ok(CheckResult::note("tcp_mem is not shown in this network namespace."));
    };
    let limits: Option<Vec<u64>> = text.split_whitespace().map(|number| number.parse().ok()).collect();
    let Some(&[_, pressure, most]) = limits.as_deref() else {
        return Err(Unread::strange(PATH, &text));
    };
    let used = pages_used(&machine.read_if_there("/proc/net/sockstat")?.unwrap_or_default());
    // The plan counts both ends, as over loopback, and twice the options, because the kernel doubles them.
    let planned = plan.buffered().div_ceil(machine.page_bytes());
    let need = planned.saturating_add(used);
    let message = format!(
        "Full buffers take {planned} pages, {used} are used now; TCP comes under pressure at {pressure}."
    );
    if need <= pressure {
        return Ok(CheckResult::ready(message));
    }
    let (low, high) = (need, need.saturating_mul(2));
    Ok(CheckResult::distorts(message)
        .effect("Under pressure windows shrink, and at the limit sends wait or connections are dropped.")
        .fix(format!("sysctl -w net.ipv4.tcp_mem=\"{low} {high} {}\"", most.max(high.saturating_mul(2)))))
}

/// The pages that TCP holds: `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1`.
fn pages_used(sockstat: &str) -> u64 {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let mut fields = line.split_whitespace().skip_while(|&field| field != "mem").skip(1);
    fields.next().and_then(|pages| pages.parse().ok()).unwrap_or(0)
}
