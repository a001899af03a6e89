//! Limits of control groups: CPU time by cpu.max (v2) or cpu.cfs_quota_us (v1), and memory.
//!
//! A throttled thread stops for the rest of the period, usually up to 100 ms, in the middle of a message. Sources:
//! Documentation/admin-guide/cgroup-v2.rst, Documentation/scheduler/sched-bwc.rst.

use std::thread;

use copycost::internals::cgroup::memory::GroupHeadroom;

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;

/// A limit in CPUs, the file that sets it, and the command that lifts it.
struct Quota {
    cpus: f64,
    file: String,
    lift: String,
}

/// Checks the tightest CPU quota from the group of this process up to the root against the planned CPUs. Also checks
/// whether a group is throttled now; the total since its creation may be old.
pub(super) fn quota(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let directories = directories(machine, "cpu")?;
    let mut tightest: Option<Quota> = None;
    for directory in &directories {
        let here = [v2(machine, directory)?, v1(machine, directory)?];
        for quota in here.into_iter().flatten() {
            if tightest.as_ref().is_none_or(|lowest| quota.cpus < lowest.cpus) {
                tightest = Some(quota);
            }
        }
    }
    let Some(Quota { cpus, file, lift }) = tightest else {
        return Ok(CheckResult::ready("No control group limits the CPU time."));
    };
    let before = throttlings(machine, &directories)?;
    thread::sleep(machine.facts.watch);
    let stopped = throttlings(machine, &directories)?.saturating_sub(before);
    let allowed = machine.facts.allowed_cpus.len().max(1) as u64;
    let used = plan.threads_here().clamp(1, allowed);
    let now = match stopped {
        0 => String::new(),
        times => {
            format!(" In the last {} ms it stopped the group {times} times.", machine.facts.watch.as_millis())
        }
    };
    let message = format!("{file} allows {cpus:.2} CPUs; the plan keeps {used} busy.{now}");
    if cpus >= used as f64 && stopped == 0 {
        return Ok(CheckResult::ready(message));
    }
    Ok(CheckResult::distorts(message)
        .effect("Threads stop in the middle of a message until the next period begins.")
        .fix(format!("{lift} (a container: start it without --cpus)")))
}

fn v2(machine: &Machine, directory: &str) -> Result<Option<Quota>, Unread> {
    let file = format!("{directory}/cpu.max");
    let Some(text) = machine.read_if_there(&file)? else {
        return Ok(None);
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.first() == Some(&"max") {
        return Ok(None);
    }
    let [quota, period] = fields[..] else {
        return Err(Unread::strange(&file, &text));
    };
    let (Ok(quota), Ok(period)) = (quota.parse::<u64>(), period.parse::<u64>()) else {
        return Err(Unread::strange(&file, &text));
    };
    let lift = format!("echo max > {file}");
    Ok(Some(Quota { cpus: quota as f64 / period.max(1) as f64, file, lift }))
}

fn v1(machine: &Machine, directory: &str) -> Result<Option<Quota>, Unread> {
    let file = format!("{directory}/cpu.cfs_quota_us");
    // -1 means no quota.
    let quota = machine.number_if_there::<i64>(&file)?.filter(|&quota| quota > 0);
    let Some(quota) = quota else {
        return Ok(None);
    };
    let period: u64 = machine.number(&format!("{directory}/cpu.cfs_period_us"))?;
    let lift = format!("echo -1 > {file}");
    Ok(Some(Quota { cpus: quota as f64 / period.max(1) as f64, file, lift }))
}

/// The number of times that the groups were throttled since their creation, summed over all groups.
fn throttlings(machine: &Machine, directories: &[String]) -> Result<u64, Unread> {
    let mut sum = 0u64;
    for directory in directories {
        let file = format!("{directory}/cpu.stat");
        let Some(text) = machine.read_if_there(&file)? else { continue };
        if let Some(times) = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")) {
            let times: u64 = times.trim().parse().map_err(|_| Unread::strange(&file, times))?;
            sum = sum.saturating_add(times);
        }
    }
    Ok(sum)
}

/// Checks the memory that control groups allow. The kernel kills a process that uses more, without an error message.
pub(super) fn memory(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    if machine.read_if_there("/proc/self/cgroup")?.is_none() {
        return Ok(CheckResult::note("This kernel has no control groups."));
    }
    let Some(GroupHeadroom { group, limit, bytes }) =
        copycost::internals::cgroup::memory::left_below(machine.root())
    else {
        return Ok(CheckResult::ready("No control group limits the memory."));
    };
    // Whole MiB: limits are rounded down, and the need is rounded up.
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let needed = plan.buffered().saturating_add(plan.messages());
    let message = format!("The control group {group} allows {}, and {} are left.", mib(limit), mib(bytes));
    let fix = format!("raise the limit of {group} (a container: start it with a larger --memory)");
    if needed > bytes / 2 {
        return Ok(CheckResult::distorts(message)
            .effect(format!(
                "The plan's messages and full socket buffers need {}: copycost refuses cells, or the kernel \
                 kills the process.",
                mib(needed + (1 << 20) - 1)
            ))
            .fix(fix));
    }
    Ok(CheckResult::note(message)
        .effect(
            "Messages may take half of that; cells that need more, as with `--footprint cold`, are refused.",
        )
        .fix(fix))
}

/// The directories that may hold a limit of `controller`: that of this process's group, then those of its parents.
fn directories(machine: &Machine, controller: &str) -> Result<Vec<String>, Unread> {
    let Some(groups) = machine.read_if_there("/proc/self/cgroup")? else {
        return Ok(Vec::new());
    };
    let mounts = machine.read_if_there("/proc/self/mountinfo")?.unwrap_or_default();
    Ok(copycost::internals::cgroup::directories(controller, &groups, &mounts))
}
