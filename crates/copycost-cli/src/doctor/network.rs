//! How TCP paces its segments, and which CPU processes received ones.
//!
//! Both are system settings that programs rarely check. They changed measurements by a factor of two and more.

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;
use super::route;

/// Checks the default congestion control, and what copycost can set instead.
pub(super) fn congestion_control(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let ipv4 = |name: &str| format!("/proc/sys/net/ipv4/{name}");
    let default = machine.read(&ipv4("tcp_congestion_control"))?;
    let default = default.trim();
    let available = machine.read(&ipv4("tcp_available_congestion_control"))?;
    let allowed = machine.read_if_there(&ipv4("tcp_allowed_congestion_control"))?;
    // Without CAP_NET_ADMIN a process may set only the allowed ones (tcp_set_congestion_control, net/ipv4/tcp_cong.c).
    let usable = match &allowed {
        Some(allowed) if !machine.facts.capabilities.net_admin => allowed,
        _ => &available,
    };
    let has = |list: &str, name: &str| list.split_whitespace().any(|entry| entry == name);
    let Some(chosen) = ["cubic", "reno"].into_iter().find(|name| *name == default || has(usable, name))
    else {
        let fix = if has(&available, "cubic") || has(&available, "reno") {
            "sysctl -w net.ipv4.tcp_allowed_congestion_control=\"reno cubic\""
        } else {
            "modprobe tcp_cubic"
        };
        return Ok(CheckResult::distorts(format!(
            "Neither cubic nor reno can be set; {default} is the default."
        ))
        .effect("With a control that paces, such as bbr, the same sender measured three times slower.")
        .fix(fix));
    };
    if default == chosen {
        return Ok(CheckResult::ready(format!("{default} is the default congestion control.")));
    }
    Ok(CheckResult::note(format!(
        "{default} is the default congestion control; copycost sets {chosen} itself."
    ))
    .effect(format!("Your own server inherits {default}."))
    .fix(format!(
        "sysctl -w net.ipv4.tcp_congestion_control={}",
        if has(&available, "cubic") { "cubic" } else { chosen }
    )))
}

/// Checks RPS and RFS, which pass received packets to another CPU. On loopback every packet is a received one.
///
/// Sources: Documentation/networking/scaling.rst; get_rps_cpu, net/core/dev.c.
pub(super) fn packet_steering(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    const EFFECT: &str =
        "Softirq work (on loopback also the copy of a zero-copy send) is charged to a thread on another CPU.";
    const ENTRIES: &str = "/proc/sys/net/core/rps_sock_flow_entries";
    let Some(interface) = route::interface(machine, plan)? else {
        return Ok(CheckResult::note("Packet steering was not checked: there is no route."));
    };
    let queues = format!("/sys/class/net/{interface}/queues");
    let flows = machine.number_if_there::<u64>(ENTRIES)?.unwrap_or(0);
    let names = machine.names(&queues);
    for queue in names.iter().filter(|name| name.starts_with("rx-")) {
        let cpus = format!("{queues}/{queue}/rps_cpus");
        // A mask such as `00000000,00000003`.
        let mask = machine.read_if_there(&cpus)?.unwrap_or_default();
        if mask.chars().any(|digit| digit.is_ascii_hexdigit() && digit != '0') {
            return Ok(CheckResult::distorts(format!(
                "RPS is on for {interface}: {cpus} is {}.",
                mask.trim()
            ))
            .effect(EFFECT)
            .fix(format!("echo 0 | tee {queues}/rx-*/rps_cpus")));
        }
        let table = machine.number_if_there::<u64>(&format!("{queues}/{queue}/rps_flow_cnt"))?;
        if flows > 0 && table.is_some_and(|entries| entries > 0) {
            return Ok(CheckResult::distorts(format!("RFS is on for {interface} ({flows} flows)."))
                .effect(EFFECT)
                .fix(format!("echo 0 > {ENTRIES}")));
        }
    }
    Ok(CheckResult::ready(format!("Neither RPS nor RFS moves packets of {interface} to other CPUs.")))
}
