//! Other code that handles each packet: taps, firewall rules, eBPF socket maps.
//!
//! A tap forces a copy of every zero-copy send, and a socket map can make loopback traffic bypass TCP.

use super::Machine;
use super::PlannedRun;
use super::finding::{CheckResult, Status};
use super::machine::Unread;
use super::processes;
use super::route;

/// A packet socket that receives every packet of its interface, as listed in /proc/net/packet.
#[derive(Debug)]
pub struct PacketSocket {
    inode: String,
    interface: u64,
}

/// The packet sockets in the text of /proc/net/packet that receive every packet.
pub fn taps(text: &str) -> Vec<PacketSocket> {
    text.lines().filter_map(PacketSocket::parse).collect()
}

impl PacketSocket {
    /// Whether it listens on every interface of its network namespace.
    pub fn is_everywhere(&self) -> bool {
        self.interface == 0
    }

    /// The process that holds the socket, as name and pid: `lldpd (pid 812)`. Looks on this machine.
    pub fn owner(&self) -> String {
        let machine = Machine::live();
        let owner = processes::holding(&machine, &format!("socket:[{}]", self.inode)).into_iter().next();
        owner.map_or_else(
            || format!("a process that this user cannot see (socket inode {})", self.inode),
            |owner| owner.owner(&machine),
        )
    }

    /// Parses a line `sk RefCnt Type Proto Iface R Rmem User Inode` whose protocol is ETH_P_ALL
    /// (net/packet/af_packet.c).
    fn parse(line: &str) -> Option<PacketSocket> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, "0003", interface, "1", _, _, inode] = fields[..] else {
            return None;
        };
        Some(PacketSocket { inode: inode.into(), interface: interface.parse().ok()? })
    }
}

/// A tap on the interface to the planned address, as a reason for copies.
pub(super) fn tapped(machine: &Machine, plan: &PlannedRun) -> Result<Option<&'static str>, Unread> {
    let status = packet_taps(machine, plan)?.of("packet-taps").status;
    Ok((status == Status::Distorts).then_some("a packet tap bound to all protocols"))
}

/// Checks for sockets that receive a clone of every packet, for which the kernel copies MSG_ZEROCOPY data
/// (dev_queue_xmit_nit, net/core/dev.c).
pub(super) fn packet_taps(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    let Some(text) = machine.read_if_there("/proc/net/packet")? else {
        return Ok(CheckResult::ready("This kernel has no packet sockets, so nothing taps the traffic."));
    };
    let interface = route::interface(machine, plan)?;
    let index = match &interface {
        Some(name) => machine.number_if_there::<u64>(&format!("/sys/class/net/{name}/ifindex"))?,
        None => None,
    };
    // Interface 0 means all interfaces. If the planned interface is unknown, any tap may be on it.
    let on_route =
        |tap: &PacketSocket| tap.interface == 0 || index.is_none_or(|index| index == tap.interface);
    let taps = taps(&text);
    let Some(tap) = taps.iter().find(|tap| on_route(tap)) else {
        let others = if taps.is_empty() { "" } else { " (there are taps on other interfaces)" };
        return Ok(CheckResult::ready(format!("No packet tap listens{others}.")));
    };
    let owner = processes::holding(machine, &format!("socket:[{}]", tap.inode)).into_iter().next();
    let (holder, fix) = match owner {
        Some(owner) => {
            (owner.owner(machine), format!("kill {} (or stop its service while you measure)", owner.pid))
        }
        None => (
            format!("A process that this user cannot see (socket inode {})", tap.inode),
            "ss -0 -p (names its owner), then stop it while you measure".into(),
        ),
    };
    let place =
        if tap.interface == 0 { "every interface" } else { interface.as_deref().unwrap_or("an interface") };
    Ok(CheckResult::distorts(format!("{holder} taps {place}."))
        .effect(
            "The kernel clones each packet for it, so every MSG_ZEROCOPY send is copied and reported as \
             copied.",
        )
        .fix(fix))
}

/// Checks for firewall rules and connection tracking, as far as files show them.
pub(super) fn netfilter(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let mut found = Vec::new();
    for (family, path) in
        [("iptables", "/proc/net/ip_tables_names"), ("ip6tables", "/proc/net/ip6_tables_names")]
    {
        let names = machine.read_if_there(path)?.unwrap_or_default();
        let names: Vec<&str> = names.split_whitespace().collect();
        if !names.is_empty() {
            found.push(format!("{family} has the tables {}", names.join(", ")));
        }
    }
    let tracked = machine.number_if_there::<u64>("/proc/sys/net/netfilter/nf_conntrack_count")?.unwrap_or(0);
    if tracked > 0 {
        found.push(format!("{tracked} connections are tracked"));
    }
    let modules = machine.read_if_there("/proc/modules")?.unwrap_or_default();
    if modules.lines().any(|line| line.starts_with("nf_tables ")) {
        found.push("nf_tables is loaded".into());
    }
    if found.is_empty() {
        return Ok(CheckResult::ready(
            "No iptables table is loaded and no connection is tracked; no file shows nftables rules (nft \
             list ruleset does).",
        ));
    }
    Ok(CheckResult::note(format!("Netfilter may inspect each packet: {}.", found.join("; ")))
        .effect("Paths that send many small packets pay for it most.")
        .fix("iptables -t raw -I OUTPUT -o lo -j NOTRACK; nft list ruleset (shows the rest)"))
}

/// Checks for eBPF socket maps, which can pass data from socket to socket without TCP.
pub(super) fn socket_maps(machine: &Machine, plan: &PlannedRun) -> Result<CheckResult, Unread> {
    // enum bpf_map_type, include/uapi/linux/bpf.h: SOCKMAP and SOCKHASH.
    const KINDS: [&str; 2] = ["15", "18"];
    let holds = |map: &processes::Descriptor| {
        let info = machine.read(&format!("/proc/{}/fdinfo/{}", map.pid, map.number)).unwrap_or_default();
        let kind = info.lines().find_map(|line| line.strip_prefix("map_type:")).map(str::trim);
        kind.is_some_and(|kind| KINDS.contains(&kind))
    };
    let maps = processes::holding(machine, "anon_inode:bpf-map");
    if let Some(map) = maps.iter().find(|map| holds(map)) {
        let message = format!("{} holds an eBPF socket map.", map.owner(machine));
        let effect = "Such a map can pass loopback data around TCP: then no path measures what it claims to.";
        let local = route::interface(machine, plan)?.is_none_or(|name| name == "lo");
        let result = if local { CheckResult::distorts(message) } else { CheckResult::note(message) };
        return Ok(result
            .effect(effect)
            .fix(format!("measure without it: kill {}, then bpftool prog show", map.pid)));
    }
    if machine.facts.uid != 0 {
        return Ok(CheckResult::note(
            "No process of this user holds an eBPF socket map; the processes of other users are hidden.",
        )
        .fix("run `copycost doctor` as root"));
    }
    Ok(CheckResult::ready(
        "No process holds an eBPF socket map; no file shows maps that only the kernel holds, or XDP on lo \
         (bpftool map and ip link show lo do).",
    ))
}
