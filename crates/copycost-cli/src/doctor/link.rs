//! The path of the data through the network: route, kind of interface, MTU, offloads.
//!
//! The interface decides whether a zero-copy send stays without copies: only a device with scatter-gather and checksum
//! offload can use the pages directly.

use super::Machine;
use super::PlannedRun;
use super::facts::Offloads;
use super::finding::CheckResult;
use super::machine::Unread;
use super::route::{interface, planned};

const NO_ROUTE: &str = "was not checked: there is no route.";

/// Checks whether there is a route to the planned address, and over which interface.
pub(super) fn route(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let Some(address) = plan.address else {
        return Ok(CheckResult::ready("No address was given: both ends run here, over lo."));
    };
    Ok(match planned(machine, plan)? {
        None => CheckResult::distorts(format!("There is no route to {address}."))
            .effect("Nothing can be measured to this address.")
            .fix(format!("ip route get {address} (shows what is missing)")),
        Some(route) if route.local => {
            CheckResult::note(format!("{address} is an address of this host: its traffic stays on lo."))
                .effect("No network card takes part.")
                .fix("give the address of another host")
        }
        Some(route) => {
            let via = route.gateway.map(|gateway| format!(" through {gateway}")).unwrap_or_default();
            CheckResult::ready(format!(
                "{address} is reached over {}{via} (main routing table; no file shows policy rules).",
                route.interface
            ))
        }
    })
}

/// Checks the kind of the interface; virtual interfaces copy zero-copy data at some point.
pub(super) fn link(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let Some(name) = interface(machine, plan)? else {
        return Ok(CheckResult::note(format!("The interface {NO_ROUTE}")));
    };
    if name == "lo" {
        // ip_local_deliver_finish (net/ipv4/ip_input.c), before 6.17 __netif_receive_skb_core (net/core/dev.c).
        return Ok(CheckResult::note("Over lo every MSG_ZEROCOPY send is copied before it is delivered.")
            .effect("Zero-copy cannot win here; this is a property of loopback, not an error.")
            .fix("give the address of a host behind a network card"));
    }
    let driver = machine.facts.links.get(&name).and_then(|link| link.driver.as_deref());
    let device = format!("/sys/class/net/{name}");
    if machine.has(&format!("{device}/tun_flags")) || driver == Some("tun") {
        // tun_net_xmit calls skb_orphan_frags_rx (drivers/net/tun.c).
        return Ok(CheckResult::note(format!(
            "{name} is a tun or tap device: every zero-copy send is copied on its way in."
        ))
        .effect("Zero-copy cannot win here."));
    }
    if driver == Some("veth") {
        return Ok(CheckResult::note(format!(
            "{name} is one end of a veth pair: a zero-copy send is copied on delivery at the other end."
        ))
        .effect(
            "It stays uncopied only if the other end forwards it to a network card (since Linux 6.17).",
        ));
    }
    let lower: Vec<String> = machine
        .names(&device)
        .into_iter()
        .filter_map(|entry| entry.strip_prefix("lower_").map(Into::into))
        .collect();
    if !lower.is_empty() {
        return Ok(CheckResult::note(format!(
            "{name} is built on {}: check there what the hardware does.",
            lower.join(" and ")
        )));
    }
    if !machine.has(&format!("{device}/device")) {
        return Ok(CheckResult::note(format!(
            "{name} is a virtual interface ({}).",
            driver.unwrap_or("no driver named")
        ))
        .effect("Zero-copy sends may be copied on their way."));
    }
    if driver == Some("virtio_net") {
        return Ok(CheckResult::note(format!("{name} is a virtio card: completions cover only this guest."))
            .effect("The host may still copy each packet, and this kernel cannot see it."));
    }
    Ok(CheckResult::ready(format!("{name} is a network card ({}).", driver.unwrap_or("no driver named"))))
}

/// An interface whose packets this machine delivers itself, as a reason for copies.
pub(super) fn delivered_here(machine: &Machine, plan: &PlannedRun) -> Result<Option<&'static str>, Unread> {
    let Some(name) = interface(machine, plan)? else { return Ok(None) };
    let driver = machine.facts.links.get(&name).and_then(|link| link.driver.as_deref());
    Ok(match driver {
        _ if name == "lo" => Some("loopback"),
        Some("veth") => Some("a veth pair"),
        Some("tun") => Some("a tun or tap device"),
        _ => None,
    })
}

/// An interface that accepts only one piece of memory per packet, as a reason for copies.
pub(super) fn without_scatter_gather(
    machine: &Machine,
    plan: &PlannedRun,
) -> Result<Option<&'static str>, Unread> {
    let Some(name) = interface(machine, plan)? else { return Ok(None) };
    let offloads = machine.facts.links.get(&name).and_then(|link| link.offloads);
    let without = offloads.is_some_and(|offloads| !offloads.scatter_gather);
    Ok(without.then_some("no scatter-gather on the route"))
}

/// Checks whether loopback is up. In a new network namespace it is down.
pub(super) fn loopback(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    const FIX: &str = "ip link set lo up";
    let up = machine.facts.links.get("lo").and_then(|link| link.up);
    let needed = interface(machine, plan)?.is_none_or(|name| name == "lo");
    Ok(match up {
        Some(true) => CheckResult::ready("lo is up."),
        Some(false) if needed => CheckResult::distorts("lo is down.")
            .effect("Nothing reaches 127.0.0.1, and nothing can be measured over loopback.")
            .fix(FIX),
        Some(false) => {
            CheckResult::note("lo is down.").effect("You can measure only against another host.").fix(FIX)
        }
        None => CheckResult::note("This machine does not show whether lo is up."),
    })
}

/// Checks whether a queueing discipline of the interface limits the rate or delays packets.
pub(super) fn qdisc(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let Some(name) = interface(machine, plan)? else {
        return Ok(CheckResult::note(format!("Queueing disciplines {NO_ROUTE}").replacen("was", "were", 1)));
    };
    let none = Vec::new();
    let qdiscs = machine.facts.links.get(&name).map_or(&none, |link| &link.qdiscs);
    let shapers: Vec<String> = qdiscs
        .iter()
        .filter_map(|qdisc| qdisc.shaping.as_ref().map(|effect| format!("{} {effect}", qdisc.kind)))
        .collect();
    if !shapers.is_empty() {
        return Ok(CheckResult::distorts(format!(
            "{name} has a queueing discipline that shapes traffic: {}.",
            shapers.join("; ")
        ))
        .effect("It decides throughput and latency, whatever path sends.")
        .fix(format!("tc qdisc del dev {name} root")));
    }
    let mut kinds: Vec<&str> = qdiscs.iter().map(|qdisc| qdisc.kind.as_str()).collect();
    kinds.dedup();
    Ok(if kinds.is_empty() {
        CheckResult::ready(format!("{name} has no queueing discipline that shapes traffic."))
    } else {
        CheckResult::ready(format!("{name} has {}, which only queues.", kinds.join(" and ")))
    })
}

/// Checks the interface's MTU.
pub(super) fn mtu(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    // drivers/net/loopback.c
    const LOOPBACK_MTU: u64 = 65536;
    let Some(name) = interface(machine, plan)? else {
        return Ok(CheckResult::note(format!("The MTU {NO_ROUTE}")));
    };
    // The file is the fallback, because it belongs to the network namespace that mounted /sys, which may be another
    // one.
    let bytes: u64 = match machine.facts.links.get(&name).and_then(|link| link.mtu) {
        Some(bytes) => bytes.into(),
        None => machine.number(&format!("/sys/class/net/{name}/mtu"))?,
    };
    let message = format!("The MTU of {name} is {bytes} bytes.");
    if name == "lo" && bytes != LOOPBACK_MTU {
        return Ok(CheckResult::note(message)
            .effect(
                "Segments differ from those of a loopback with the default MTU, and so does the cost of each \
                 message.",
            )
            .fix(format!("ip link set lo mtu {LOOPBACK_MTU}")));
    }
    Ok(CheckResult::ready(message))
}

/// Checks scatter-gather, checksum and segmentation offload.
pub(super) fn offloads(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let Some(name) = interface(machine, plan)? else {
        return Ok(CheckResult::note(format!("Offloads {NO_ROUTE}").replacen("was", "were", 1)));
    };
    let Some(offloads) = machine.facts.links.get(&name).and_then(|link| link.offloads) else {
        return Ok(CheckResult::note(format!("{name} does not report its offloads."))
            .fix(format!("ethtool -k {name} (to see them)")));
    };
    let Offloads { scatter_gather, tx_checksum, tso, gso, .. } = offloads;
    let missing = |wanted: &[(&str, &str, bool)]| {
        let off: Vec<_> = wanted.iter().filter(|(_, _, on)| !on).collect();
        let names: Vec<&str> = off.iter().map(|(name, _, _)| *name).collect();
        let keys: Vec<String> = off.iter().map(|(_, key, _)| format!("{key} on")).collect();
        (!off.is_empty()).then(|| (names.join(" and "), format!("ethtool -K {name} {}", keys.join(" "))))
    };
    // Without NETIF_F_SG tcp_sendmsg_locked copies in spite of MSG_ZEROCOPY (net/ipv4/tcp.c). Without checksum offload
    // skb_checksum_help linearises a packet of shared pages (net/core/dev.c).
    if let Some((off, fix)) =
        missing(&[("scatter-gather", "sg", scatter_gather), ("tx checksum", "tx", tx_checksum)])
    {
        return Ok(CheckResult::distorts(format!("{name} has {off} off."))
            .effect("Every zero-copy send is copied.")
            .fix(fix));
    }
    if let Some((off, fix)) = missing(&[("TSO", "tso", tso), ("GSO", "gso", gso)]) {
        return Ok(CheckResult::note(format!("{name} has {off} off."))
            .effect("The CPU splits data into segments, which costs every path time.")
            .fix(fix));
    }
    Ok(CheckResult::ready(format!("{name} has scatter-gather, tx checksum, TSO and GSO on.")))
}
