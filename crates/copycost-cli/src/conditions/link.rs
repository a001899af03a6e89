//! The interface that the bytes leave by: it decides how large segments are, who cuts them, and when they go.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use copycost::internals::sys::ethtool::{Ethtool, Offloads};
use copycost::internals::sys::rtnetlink;

/// An interface as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkConditions {
    /// Its name.
    pub interface: String,
    /// 4 or 6.
    pub ip_version: u8,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its queueing disciplines: `noqueue`, `mq, fq_codel`.
    pub qdisc: String,
    /// What they do to rate and time; null where they only queue.
    #[serde(default)]
    pub shaping: Option<String>,
    /// Whether the device gathers packets from pieces of memory; null where the driver does not say, as below.
    #[serde(default)]
    pub scatter_gather: Option<bool>,
    /// Whether the device fills in checksums.
    #[serde(default)]
    pub tx_checksum: Option<bool>,
    /// Whether the device cuts large segments.
    #[serde(default)]
    pub tso: Option<bool>,
    /// Whether the kernel cuts large segments late.
    #[serde(default)]
    pub gso: Option<bool>,
    /// Whether received segments are joined.
    #[serde(default)]
    pub gro: Option<bool>,
    /// The largest packet that is cut late, in bytes; null on kernels that do not say, as below.
    #[serde(default)]
    pub gso_max_size: Option<u32>,
    /// The most segments of such a packet.
    #[serde(default)]
    pub gso_max_segs: Option<u32>,
    /// The largest packet that received segments are joined to, in bytes.
    #[serde(default)]
    pub gro_max_size: Option<u32>,
}

impl LinkConditions {
    /// Those of the interface with this name in the network namespace of the calling thread, for connections to `peer`;
    /// `None` where there is no such interface.
    pub fn of(interface: &str, peer: IpAddr) -> Option<Self> {
        let link = rtnetlink::interfaces().ok()?.into_iter().find(|link| link.name == interface)?;
        let qdiscs = rtnetlink::qdiscs().unwrap_or_default();
        let own = || qdiscs.iter().filter(|qdisc| qdisc.index == link.index);
        let mut kinds: Vec<&str> = own().map(|qdisc| qdisc.kind.as_str()).collect();
        kinds.dedup();
        let shaping: Vec<String> = own()
            .filter_map(|qdisc| qdisc.shaping.as_ref().map(|does| format!("{} {does}", qdisc.kind)))
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

    /// Why its figures are not those of sending, where a discipline decides over them.
    pub fn flag(&self) -> Option<String> {
        let shaping = self.shaping.as_ref()?;
        Some(format!(
            "a queueing discipline of {} shapes the traffic ({shaping}): it decides throughput and latency",
            self.interface
        ))
    }

    /// Names and values of what is known, for people.
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
    fn loopback_has_all_that_the_kernel_tells() {
        let link = LinkConditions::of("lo", IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!((link.interface.as_str(), link.ip_version, link.tso.is_some()), ("lo", 4, true));
        assert!(link.known().iter().any(|(name, value)| *name == "MTU" && *value == link.mtu.to_string()));
        assert_eq!(LinkConditions::of("no-such-if", IpAddr::from([127, 0, 0, 1])), None);
    }

    #[test]
    fn only_what_shapes_is_a_flag() {
        let plain =
            LinkConditions { interface: "lo".into(), qdisc: "noqueue".into(), ..LinkConditions::default() };
        assert_eq!(plain.flag(), None);
        let shaped = LinkConditions { shaping: Some("tbf at most 9 B/s".into()), ..plain };
        assert!(shaped.flag().unwrap().contains("lo shapes the traffic (tbf at most 9 B/s)"));
    }
}
