//! The CPUs for the threads: how many there are, which of them share a core, and what restricts them.
//!
//! copycost pins its threads, so the number and the kind of the CPUs matter, not the decisions of the scheduler.

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::{Unread, parse_cpus, spell_cpus};

const ONLINE: &str = "/sys/devices/system/cpu/online";

const UNKNOWN: &str = "The CPUs that this process may use are not known.";

/// Checks the number of allowed CPUs against the planned threads.
pub(super) fn cpus(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let allowed = machine.facts.allowed_cpus.len() as u64;
    let threads = plan.threads_here();
    if allowed == 0 {
        return Ok(CheckResult::note(UNKNOWN));
    }
    if allowed == 1 {
        let online = online(machine)?;
        let fix = if online.len() > 1 {
            format!("taskset -pc {} $$", spell_cpus(&online))
        } else {
            "give this machine a second CPU".into()
        };
        return Ok(CheckResult::distorts(format!("Only one CPU for {threads} threads."))
            .effect("Both ends and the rest of the system take turns on it; `split` cannot run.")
            .fix(fix));
    }
    let message = format!("{allowed} CPUs for {threads} threads.");
    if plan.most_clients() <= allowed {
        return Ok(CheckResult::ready(message));
    }
    Ok(CheckResult::note(message)
        .effect(format!("Cells with more than {allowed} clients also measure how threads take turns.")))
}

/// Checks whether a cpuset or an affinity mask excludes CPUs of this machine.
pub(super) fn cpuset(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let online = online(machine)?;
    let allowed = &machine.facts.allowed_cpus;
    if allowed.is_empty() {
        return Ok(CheckResult::note(UNKNOWN));
    }
    if allowed.len() >= online.len() {
        return Ok(CheckResult::ready(format!("Every online CPU may be used ({}).", spell_cpus(allowed))));
    }
    let message = format!(
        "{} of {} online CPUs may be used ({}): a cpuset or taskset excludes the others.",
        allowed.len(),
        online.len(),
        spell_cpus(allowed)
    );
    Ok(CheckResult::note(message)
        .effect("Processes on the others share caches and memory with the measurement.")
        .fix(format!("taskset -pc {} $$ (a container: start it without --cpuset-cpus)", spell_cpus(&online))))
}

/// Checks whether two of the allowed CPUs are threads of one core.
pub(super) fn smt(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let allowed = &machine.facts.allowed_cpus;
    let mut cores = Vec::new();
    for cpu in allowed {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        if let Some(text) = machine.read_if_there(&path)? {
            cores.push(parse_cpus(&text).ok_or_else(|| Unread::strange(&path, &text))?);
        }
    }
    if cores.is_empty() {
        return Ok(CheckResult::note("This machine does not show which CPUs share a core."));
    }
    cores.sort_unstable();
    cores.dedup();
    let shared = cores.iter().find(|core| core.iter().filter(|cpu| allowed.contains(cpu)).count() > 1);
    let Some(core) = shared else {
        return Ok(CheckResult::ready("No two of the allowed CPUs share a core."));
    };
    let message = format!(
        "{} CPUs are threads of {} cores (CPUs {} share one).",
        allowed.len(),
        cores.len(),
        spell_cpus(core)
    );
    Ok(CheckResult::note(message)
        .effect(format!(
            "Pairs fill whole cores first; with more than {} clients two pairs share a first-level cache.",
            cores.len()
        ))
        .fix("echo off > /sys/devices/system/cpu/smt/control"))
}

fn online(machine: &Machine) -> Result<Vec<usize>, Unread> {
    let text = machine.read(ONLINE)?;
    parse_cpus(&text).ok_or_else(|| Unread::strange(ONLINE, &text))
}
