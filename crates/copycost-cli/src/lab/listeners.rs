//! Packet taps that see the traffic of a lab. With a tap the kernel copies every zero-copy send, and its completions
//! report a copy.

use std::fs;

use super::Lab;
use crate::doctor::hooks::{PacketSocket, taps};

/// Since this version of Linux a tap on all interfaces sees only those of its own namespace (per-namespace ptype_all,
/// net/core/dev.c). Before, it saw those of every namespace.
const TAPS_APART: (u32, u32) = (6, 15);

impl Lab {
    /// A process that taps the traffic of the lab, as a clause: `tcpdump (pid 812) taps copycost-77-a`. `None` if there
    /// is no tap.
    pub fn tapped(&self) -> Option<String> {
        let at_end = self.network.ends().into_iter().find_map(|end| {
            let tap = taps(&end.packet_sockets()).into_iter().next()?;
            Some(format!("{} taps {}", tap.owner(), end.name))
        });
        at_end.or_else(|| {
            let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            if taps_are_apart(&release) {
                return None;
            }
            let sockets = fs::read_to_string("/proc/net/packet").unwrap_or_default();
            let everywhere = taps(&sockets).into_iter().find(PacketSocket::is_everywhere)?;
            Some(format!(
                "{} taps every interface of the host, and on this kernel that includes those of the lab",
                everywhere.owner()
            ))
        })
    }
}

fn taps_are_apart(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    matches!(version, (Some(major), Some(minor)) if (major, minor) >= TAPS_APART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_a_release() {
        for (release, apart) in [
            ("6.18.44-fc-v657\n", true),
            ("6.15.0", true),
            ("6.14.9", false),
            ("5.10.0-28-amd64", false),
            ("", false),
        ] {
            assert_eq!(taps_are_apart(release), apart, "{release}");
        }
    }
}
