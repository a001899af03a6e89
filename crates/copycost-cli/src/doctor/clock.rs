//! How fast the CPUs run, how much of their time the hypervisor takes, and whether threads are charged for softirq
//! work.
//!
//! CPU time per byte is the main result. A changing clock rate, stolen time and work that no thread is charged for all
//! change it, although the sender does the same work.

use std::process::{Command, Stdio};

use super::Machine;
use super::PlannedRun;
use super::facts::Support;
use super::finding::CheckResult;
use super::machine::Unread;

/// Checks the frequency governors of the allowed CPUs.
pub(super) fn governor(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let mut seen: Vec<String> = Vec::new();
    for cpu in &machine.facts.allowed_cpus {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        if let Some(text) = machine.read_if_there(&path)? {
            seen.push(text.trim().to_string());
        }
    }
    seen.sort_unstable();
    seen.dedup();
    if seen.is_empty() {
        return Ok(CheckResult::note(
            "No frequency governor is visible: the firmware or the hypervisor sets the clock.",
        )
        .effect("Trust ratios within one run more than absolute figures."));
    }
    if seen == ["performance"] {
        return Ok(CheckResult::ready("The frequency governor is performance."));
    }
    Ok(CheckResult::distorts(format!("The frequency governor is {}.", seen.join(" and ")))
        .effect("The clock follows the load, so light cells look more expensive than they are.")
        .fix("echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"))
}

/// Checks turbo or boost, which make the clock rate depend on the load and the temperature of the cores.
pub(super) fn turbo(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    // intel_pstate has its own switch with the opposite meaning (Documentation/admin-guide/pm/).
    const SWITCHES: [(&str, u64, &str); 2] = [
        ("/sys/devices/system/cpu/intel_pstate/no_turbo", 0, "1"),
        ("/sys/devices/system/cpu/cpufreq/boost", 1, "0"),
    ];
    for (path, on, off) in SWITCHES {
        let Some(value) = machine.number_if_there::<u64>(path)? else {
            continue;
        };
        if value != on {
            return Ok(CheckResult::ready("Turbo is off."));
        }
        return Ok(CheckResult::note("Turbo is on.")
            .effect("The clock falls as more cores get busy, so do not compare client counts by CPU time.")
            .fix(format!("echo {off} > {path}")));
    }
    Ok(CheckResult::note("No turbo switch is visible, so turbo may be on."))
}

/// Checks the CPU time that the hypervisor gave to other guests since boot.
pub(super) fn steal(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    // Paths within 2 % count as equal; 1 % of stolen time can hide or fake half of that.
    const TOO_MUCH_PERCENT: f64 = 1.0;
    const PATH: &str = "/proc/stat";
    let text = machine.read(PATH)?;
    let line = text.lines().next().unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal guest guest_nice, in ticks; guest is part of user.
    // proc_stat(5)
    let ticks: Option<Vec<u64>> = line
        .strip_prefix("cpu ")
        .and_then(|rest| rest.split_whitespace().take(8).map(|field| field.parse().ok()).collect());
    let ticks = ticks.filter(|ticks| ticks.len() == 8).ok_or_else(|| Unread::strange(PATH, line))?;
    let total = ticks.iter().fold(0u64, |sum, &tick| sum.saturating_add(tick)).max(1);
    let percent = 100.0 * ticks[7] as f64 / total as f64;
    let message = format!("The hypervisor took {percent:.2} % of the CPU time since boot.");
    if percent < TOO_MUCH_PERCENT {
        return Ok(CheckResult::ready(message));
    }
    Ok(CheckResult::distorts(message)
        .effect("Stolen time passes on the wall clock and in no thread's CPU time.")
        .fix("use a machine with dedicated CPUs, or repeat when the host is quiet"))
}

/// Checks IRQ_TIME_ACCOUNTING. With it thread clocks exclude softirq work, in which loopback makes its copies.
pub(super) fn irq_time(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let (on, source) = match irq_accounting(machine)? {
        None => {
            return Ok(CheckResult::note(
                "Whether this kernel has IRQ_TIME_ACCOUNTING is unknown: no kernel configuration is visible.",
            )
            .effect("copycost calibrates the thread clock before it trusts it."));
        }
        Some(known) => known,
    };
    if !on {
        return Ok(CheckResult::ready(format!(
            "IRQ_TIME_ACCOUNTING is off ({source}): thread clocks include softirq."
        )));
    }
    let message = format!("IRQ_TIME_ACCOUNTING is on ({source}): thread clocks leave out softirq.");
    if machine.facts.task_clock == Support::Present {
        return Ok(CheckResult::note(message)
            .effect("copycost counts with the perf event task-clock, which includes it."));
    }
    Ok(CheckResult::distorts(message)
        .effect(
            "The perf event task-clock, which includes it, cannot be opened: copycost gives no verdict on \
             senders.",
        )
        .fix("sysctl -w kernel.perf_event_paranoid=1"))
}

/// Whether the option is set, and the file that says so; `None` if no file does.
fn irq_accounting(machine: &Machine) -> Result<Option<(bool, String)>, Unread> {
    const OPTION: &str = "CONFIG_IRQ_TIME_ACCOUNTING=y";
    let has = |config: &str| config.lines().any(|line| line == OPTION);
    if let Some(release) = machine.read_if_there("/proc/sys/kernel/osrelease")? {
        let release = release.trim();
        for path in [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")] {
            if let Some(config) = machine.read_if_there(&path)? {
                return Ok(Some((has(&config), path)));
            }
        }
    }
    if let Some(config) = unpacked(machine, "/proc/config.gz") {
        return Ok(Some((has(&config), "/proc/config.gz".into())));
    }
    // This function exists only with the option (kernel/sched/cputime.c). The kernel lists names even to users who may
    // not see addresses. An empty list means a kernel without KALLSYMS.
    let symbols = machine.read_if_there("/proc/kallsyms")?.filter(|text| !text.is_empty());
    Ok(symbols.map(|text| {
        let on = text.lines().any(|line| line.split_whitespace().nth(2) == Some("irqtime_account_irq"));
        (on, "/proc/kallsyms".into())
    }))
}

/// The text of a gzip file. It runs the gzip command, because one file does not justify a dependency on a decompressor.
fn unpacked(machine: &Machine, path: &str) -> Option<String> {
    if !machine.has(path) {
        return None;
    }
    let mut gzip = Command::new("gzip");
    gzip.arg("-dc").arg(machine.below_root(path)).stdin(Stdio::null()).stderr(Stdio::null());
    let output = gzip.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
