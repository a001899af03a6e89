//! Finds the interface that leads to an address.
//!
//! Offloads, MTU, steering and taps are properties of an interface, but the user gives an address. The lookup takes the
//! longest prefix in the main table, as /proc shows it. No file shows the rules of policy routing; the finding says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Machine;
use super::PlannedRun;
use super::machine::Unread;

const LOOPBACK: &str = "lo";

/// The route to an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The name of the outgoing interface.
    pub(super) interface: String,
    /// The next hop; `None` if the address is on the link.
    pub(super) gateway: Option<IpAddr>,
    /// Whether the address belongs to this host, on any of its interfaces.
    pub(super) local: bool,
}

// Flags of include/uapi/linux/route.h and ipv6_route.h.
const RTF_UP: u32 = 0x1;
const RTF_REJECT: u32 = 0x200;

/// The interface of the plan: loopback without an address, `None` if there is no route to the address.
pub(super) fn interface(machine: &Machine, plan: &PlannedRun) -> Result<Option<String>, Unread> {
    match plan.address {
        None => Ok(Some(LOOPBACK.into())),
        Some(_) => Ok(planned(machine, plan)?.map(|route| route.interface)),
    }
}

/// The route to the planned address; `None` if there is none.
pub(super) fn planned(machine: &Machine, plan: &PlannedRun) -> Result<Option<Route>, Unread> {
    let Some(address) = plan.address else { return Ok(None) };
    let found = find(machine, address)?;
    // A link-local address exists on every link; the zone selects one.
    let local = found.as_ref().is_some_and(|route| route.local);
    Ok(match &plan.zone {
        Some(zone) if !local => Some(Route { interface: zone.clone(), gateway: None, local }),
        _ => found,
    })
}

/// The route to `address`; `None` if there is none.
fn find(machine: &Machine, address: IpAddr) -> Result<Option<Route>, Unread> {
    let address = address.to_canonical();
    if address.is_multicast() {
        return Ok(None);
    }
    let local = address.is_loopback()
        || address.is_unspecified()
        || match address {
            IpAddr::V4(v4) => is_local_v4(machine, v4)?,
            IpAddr::V6(v6) => is_local_v6(machine, v6)?,
        };
    if local {
        return Ok(Some(Route { interface: LOOPBACK.into(), gateway: None, local }));
    }
    match address {
        IpAddr::V4(v4) => by_v4(machine, v4),
        IpAddr::V6(v6) => by_v6(machine, v6),
    }
}

/// Whether /proc/net/fib_trie lists the address as local: `|-- 192.0.2.2` and below it `/32 host LOCAL`.
fn is_local_v4(machine: &Machine, address: Ipv4Addr) -> Result<bool, Unread> {
    let text = machine.read_if_there("/proc/net/fib_trie")?.unwrap_or_default();
    let mut leaf = None;
    for line in text.lines().map(str::trim) {
        if let Some(spelled) = line.strip_prefix("|-- ") {
            leaf = spelled.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" && leaf == Some(address) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether /proc/net/if_inet6 lists the address. Each line begins with an address of this host, 32 hexadecimal digits.
fn is_local_v6(machine: &Machine, address: Ipv6Addr) -> Result<bool, Unread> {
    let text = machine.read_if_there("/proc/net/if_inet6")?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| v6(line.split_whitespace().next()?)).any(|local| local == address))
}

/// A matching route with its rank: longer prefixes come first, then smaller metrics.
struct Candidate {
    prefix: u32,
    metric: u32,
    flags: u32,
    route: Route,
}

fn best(candidates: impl Iterator<Item = Candidate>) -> Option<Route> {
    candidates
        .filter(|candidate| candidate.flags & RTF_UP != 0 || candidate.flags & RTF_REJECT != 0)
        .min_by_key(|candidate| (u32::MAX - candidate.prefix, candidate.metric))
        // If the best match is an unreachable route, there is no route.
        .filter(|candidate| candidate.flags & RTF_REJECT == 0)
        .map(|candidate| candidate.route)
}

/// Looks up an IPv4 route. Each line is `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, with addresses in
/// hexadecimal and host byte order (fib_route_seq_show, net/ipv4/fib_trie.c).
fn by_v4(machine: &Machine, address: Ipv4Addr) -> Result<Option<Route>, Unread> {
    let text = machine.read("/proc/net/route")?;
    let fits = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let (destination, mask, gateway) = (v4(destination)?, v4(mask)?, v4(gateway)?);
        (address & mask == destination).then_some(Candidate {
            prefix: mask.to_bits().count_ones(),
            metric: metric.parse().ok()?,
            flags: u32::from_str_radix(flags, 16).ok()?,
            route: Route {
                interface: interface.into(),
                gateway: (!gateway.is_unspecified()).then_some(gateway.into()),
                local: false,
            },
        })
    };
    Ok(best(text.lines().filter_map(fits)))
}

/// Looks up an IPv6 route. Each line is `destination prefix source prefix nexthop metric refcount use flags device`,
/// all in hexadecimal (rt6_info_route, net/ipv6/route.c).
fn by_v6(machine: &Machine, address: Ipv6Addr) -> Result<Option<Route>, Unread> {
    // The file is missing if IPv6 is disabled.
    let text = machine.read_if_there("/proc/net/ipv6_route")?.unwrap_or_default();
    let fits = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix, _, _, gateway, metric, _, _, flags, interface] = fields[..] else {
            return None;
        };
        let (destination, gateway) = (v6(destination)?, v6(gateway)?);
        let prefix = u32::from_str_radix(prefix, 16).ok().filter(|&bits| bits <= 128)?;
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        (address.to_bits() & mask == destination.to_bits() & mask).then_some(Candidate {
            prefix,
            metric: u32::from_str_radix(metric, 16).ok()?,
            flags: u32::from_str_radix(flags, 16).ok()?,
            route: Route {
                interface: interface.into(),
                gateway: (!gateway.is_unspecified()).then_some(gateway.into()),
                local: false,
            },
        })
    };
    Ok(best(text.lines().filter_map(fits)))
}

fn v4(hexadecimal: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(hexadecimal, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))
}

fn v6(hexadecimal: &str) -> Option<Ipv6Addr> {
    u128::from_str_radix(hexadecimal, 16).ok().map(Ipv6Addr::from_bits)
}
