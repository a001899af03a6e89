//! Features that the kernel grants this user: perf events, zero-copy sends, io_uring and open files.
//!
//! copycost omits a path or a column whose feature is missing. These checks report it before the run.

use super::Machine;
use super::PlannedRun;
use super::facts::{IoUring, Support};
use super::finding::CheckResult;
use super::machine::Unread;

/// Checks perf_event_paranoid, which restricts perf events (Documentation/admin-guide/sysctl/kernel.rst).
pub(super) fn perf_paranoid(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    const PATH: &str = "/proc/sys/kernel/perf_event_paranoid";
    const FIX: &str = "sysctl -w kernel.perf_event_paranoid=1";
    let Some(level) = machine.number_if_there::<i64>(PATH)? else {
        return Ok(CheckResult::note("This kernel has no perf events.")
            .effect("CPU time comes from thread clocks; counters stay null."));
    };
    if machine.facts.capabilities.perfmon {
        return Ok(CheckResult::ready(format!("perf_event_paranoid is {level}; CAP_PERFMON overrides it.")));
    }
    if level <= 1 {
        return Ok(CheckResult::ready(format!(
            "perf_event_paranoid is {level}: kernel events may be counted."
        )));
    }
    // Mainline has no level above 2, but Debian and Ubuntu refuse every event from 3 on. The task-clock probe shows
    // which kernel this is.
    if level == 2 || machine.facts.task_clock == Support::Present {
        return Ok(CheckResult::note(format!(
            "perf_event_paranoid is {level}: hardware counters count user mode only."
        ))
        .effect("The copies happen in the kernel, so their cache misses stay hidden.")
        .fix(FIX));
    }
    Ok(CheckResult::distorts(format!("perf_event_paranoid is {level}: this user can open no event."))
        .effect("CPU time comes from thread clocks, which may leave out softirq; counters stay null.")
        .fix(FIX))
}

/// Checks for hardware counters.
pub(super) fn pmu(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    Ok(match machine.facts.pmu {
        Support::Present => CheckResult::ready("Hardware counters are available."),
        Support::Absent => {
            CheckResult::note("This machine exposes no PMU: cycles and cache misses stay null.")
                .effect("The pointer chase still shows cache pollution.")
        }
        Support::Unknown => CheckResult::note("This user may not check whether there are hardware counters.")
            .fix("sysctl -w kernel.perf_event_paranoid=1"),
    })
}

/// Checks SO_ZEROCOPY, which MSG_ZEROCOPY requires.
pub(super) fn msg_zerocopy(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    Ok(match machine.facts.msg_zerocopy {
        Support::Present => CheckResult::ready("TCP sockets accept MSG_ZEROCOPY."),
        Support::Absent => CheckResult::distorts("TCP sockets do not accept MSG_ZEROCOPY.")
            .effect("The path zerocopy cannot run.")
            .fix("boot Linux 4.14 or later"),
        Support::Unknown => {
            CheckResult::note("copycost could not check whether TCP sockets accept MSG_ZEROCOPY.")
        }
    })
}

/// Checks io_uring and its zero-copy operations.
pub(super) fn io_uring(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    const EFFECT: &str = "The io_uring paths are left out.";
    // Documentation/admin-guide/sysctl/kernel.rst; the file exists since Linux 6.6.
    let disabled = machine.number_if_there::<u64>("/proc/sys/kernel/io_uring_disabled")?.unwrap_or(0);
    Ok(match &machine.facts.io_uring {
        _ if disabled == 2 => {
            CheckResult::note("io_uring is disabled for everyone (kernel.io_uring_disabled is 2).")
                .effect(EFFECT)
                .fix("sysctl -w kernel.io_uring_disabled=0")
        }
        IoUring::Refused(_) if disabled == 1 => {
            CheckResult::note("io_uring is disabled for this user (kernel.io_uring_disabled is 1).")
                .effect(EFFECT)
                .fix("sysctl -w kernel.io_uring_disabled=0")
        }
        IoUring::Refused(why) => CheckResult::note(format!("io_uring could not be opened: {why}."))
            .effect(EFFECT)
            .fix("use a kernel with CONFIG_IO_URING; in a container, a seccomp profile that allows it"),
        IoUring::Opens { send_zc: true, sendmsg_zc: true } => {
            CheckResult::ready("io_uring is available with SEND_ZC and SENDMSG_ZC.")
        }
        IoUring::Opens { send_zc, .. } => {
            let lacks = if *send_zc { "SENDMSG_ZC" } else { "SEND_ZC and SENDMSG_ZC" };
            CheckResult::note(format!("io_uring is available but lacks {lacks}."))
                .effect("The paths that need them are left out.")
                .fix("boot Linux 6.1 or later")
        }
    })
}

/// Checks RLIMIT_NOFILE against the planned sockets and counters.
pub(super) fn open_files(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    // Both ends of each connection, up to ten perf events per thread (three hardware, four cache, three software), and
    // some spare for listeners, epoll, results and the standard streams.
    const EVENTS_PER_THREAD: u64 = 10;
    const SPARE: u64 = 64;
    let needed = 2 * plan.most_clients() + EVENTS_PER_THREAD * plan.threads_here() + SPARE;
    Ok(match machine.facts.open_files {
        None => CheckResult::ready("The number of open files is not limited."),
        Some(limit) if limit >= needed => {
            CheckResult::ready(format!("{limit} files may be open; the plan needs up to {needed}."))
        }
        Some(limit) => {
            CheckResult::distorts(format!("Only {limit} files may be open; the plan needs up to {needed}."))
                .effect("Connections or counters fail to open.")
                .fix(format!("ulimit -n {}", needed.next_power_of_two()))
        }
    })
}
