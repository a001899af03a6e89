//! The interface that sends the data. It decides how large the segments are, whether the kernel or the device cuts
//! them, and when they leave.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use copycost::internals::sys::ethtool::{Ethtool, Offloads};
use copycost::internals::sys::rtnetlink;

/// An interface as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkConditions {
    /// The interface's name, for example `eth0`.
    pub interface: String,
    /// The IP version of the connections: 4 or 6.
    pub ip_version: u8,
    /// The MTU in bytes.
    pub mtu: u32,
    /// The queueing disciplines: `noqueue`, or `mq, fq_codel`.
    pub qdisc: String,
    /// How the disciplines limit the rate or delay packets; null if they only queue.
    #[serde(default)]
    pub shaping: Option<String>,
    /// Whether the device can gather a packet from several pieces of memory. Null if the driver does not report it; the
    /// same holds for the next four fields.
    #[serde(default)]
    pub scatter_gather: Option<bool>,
    /// Whether the device fills in checksums.
    #[serde(default)]
    pub tx_checksum: Option<bool>,
    /// Whether the device cuts large segments.
    #[serde(default)]
    pub tso: Option<bool>,
    /// Whether the kernel cuts large segments just before the driver.
    #[serde(default)]
    pub gso: Option<bool>,
    /// Whether received segments are joined.
    #[serde(default)]
    pub gro: Option<bool>,
    /// The largest packet for TSO and GSO, in bytes. Null on kernels that do not report it; the same holds for the next
    /// two fields.
    #[serde(default)]
    pub gso_max_size: Option<u32>,
    /// The largest number of segments of such a packet.
    #[serde(default)]
    pub gso_max_segs: Option<u32>,
    /// The largest packet that GRO joins received segments into, in bytes.
    #[serde(default)]
    pub gro_max_size: Option<u32>,
}

impl LinkConditions {
    /// The conditions of `interface` in the calling thread's network namespace, for connections to `peer`; `None` if
    /// there is no such interface.
    pub fn of(interface: &str, peer: IpAddr) -> Option<Self> {
        let link = rtnetlink::interfaces().ok()?.into_iter().find(|link| link.name == interface)?;
        let qdiscs = rtnetlink::qdiscs().unwrap_or_default();
        let of_link = || qdiscs.iter().filter(|qdisc| qdisc.index == link.index);
        let mut kinds: Vec<&str> = of_link().map(|qdisc| qdisc.kind.as_str()).collect();
        kinds.dedup();
        let shaping: Vec<String> = of_link()
            .filter_map(|qdisc| qdisc.shaping.as_ref().map(|effect| format!("{} {effect}", qdisc.kind)))
            .collect();
        let offloads: Option<Offloads> = Ethtool::open().and_then(|ethtool| ethtool.offloads(interface)).ok();
        Some(Self {
            interface: link.name,
            ip_version: if peer.to_canonical().is_ipv4() { 4 } else { 6 },
            mtu: link.mtu,
            qdisc: kinds.join(", "),
            shaping: (!shaping.is_empty()).then(|| shaping.join("; ")),
            scatter_gather: offloads.map(|offloads| offloads.scatter_gather),
            tx_checksum: offloads.map(|offloads| offloads.tx_checksum),
            tso: offloads.map(|offloads| offloads.tso),
            gso: offloads.map(|offloads| offloads.gso),
            gro: offloads.map(|offloads| offloads.gro),
            gso_max_size: link.gso_max_size,
            gso_max_segs: link.gso_max_segs,
            gro_max_size: link.gro_max_size,
        })
    }

    /// A warning for the record if a queueing discipline limits throughput or latency; `None` otherwise.
    pub fn flag(&self) -> Option<String> {
        let shaping = self.shaping.as_ref()?;
        Some(format!(
            "a queueing discipline of {} shapes the traffic ({shaping}): it decides throughput and latency",
            self.interface
        ))
    }

    /// Names and values of the known conditions, to show to the user.
    pub fn known(&self) -> Vec<(&'static str, String)> {
        let some = |name, value: Option<String>| value.map(|value| (name, value));
        let on =
            |name, flag: Option<bool>| some(name, flag.map(|on| if on { "on" } else { "off" }.to_owned()));
        let number = |name, number: Option<u32>| some(name, number.map(|number| number.to_string()));
        let qdisc = match &self.shaping {
            Some(shaping) => format!("{} ({shaping})", self.qdisc),
            None => self.qdisc.clone(),
        };
        let all = [
            some("interface", Some(self.interface.clone())),
            some("IP version", Some(self.ip_version.to_string())),
            some("MTU", Some(self.mtu.to_string())),
            some("queueing discipline", (!qdisc.is_empty()).then_some(qdisc)),
            on("scatter-gather", self.scatter_gather),
            on("tx checksum offload", self.tx_checksum),
            on("TSO", self.tso),
            on("GSO", self.gso),
            on("GRO", self.gro),
            number("largest GSO packet", self.gso_max_size),
            number("most GSO segments", self.gso_max_segs),
            number("largest GRO packet", self.gro_max_size),
        ];
        all.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_conditions_are_read_from_the_kernel() {
        let link = LinkConditions::of("lo", IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!((link.interface.as_str(), link.ip_version, link.tso.is_some()), ("lo", 4, true));
        assert!(link.known().iter().any(|(name, value)| *name == "MTU" && *value == link.mtu.to_string()));
        assert_eq!(LinkConditions::of("no-such-if", IpAddr::from([127, 0, 0, 1])), None);
    }

    #[test]
    fn only_shaping_raises_a_flag() {
        let plain =
            LinkConditions { interface: "lo".into(), qdisc: "noqueue".into(), ..LinkConditions::default() };
        assert_eq!(plain.flag(), None);
        let shaped = LinkConditions { shaping: Some("tbf at most 9 B/s".into()), ..plain };
        assert!(shaped.flag().unwrap().contains("lo shapes the traffic (tbf at most 9 B/s)"));
    }
}
