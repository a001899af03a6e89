//! IP addresses as users write them, with the zone that a link-local address needs: `fe80::1%eth0` (RFC 4007).
//!
//! `fe80::1` exists on every link. The interface selects the link; without one the kernel returns EINVAL, which does
//! not explain the problem to the user.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use copycost::internals::sys::interfaces;

/// An IP address, with its interface if the address is link-local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZonedAddress {
    /// The address without its zone.
    pub ip: IpAddr,
    /// The index of the interface; 0 means that none was given.
    pub zone: u32,
}

/// Why a text is not a valid address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadZone {
    /// The text is not an IP address; it may be a host name.
    #[error("'{0}' is not an IP address")]
    NoAddress(String),
    /// A link-local address without a zone; the second value is an example interface.
    #[error("{0} is a link-local address and needs a zone, the interface that it belongs to: {0}%{1}")]
    Missing(Ipv6Addr, String),
    /// This machine has no such interface.
    #[error("there is no interface '{0}' here (`ip link` lists them)")]
    Unknown(String),
    /// An IPv4 address with a zone.
    #[error("{0} has a zone, and only IPv6 addresses have zones")]
    NotV6(String),
}

impl ZonedAddress {
    /// The socket address with this port and this zone.
    pub fn with_port(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.zone).into(),
        }
    }

    /// The name of the interface; `None` if none was given or it is gone.
    pub fn interface(self) -> Option<String> {
        interfaces::name(self.zone).ok()
    }
}

impl FromStr for ZonedAddress {
    type Err = BadZone;

    fn from_str(text: &str) -> Result<Self, BadZone> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| BadZone::NoAddress(text.to_owned()))?;
        match (ip, zone) {
            (IpAddr::V4(_), Some(_)) => Err(BadZone::NotV6(text.to_owned())),
            (IpAddr::V6(ip), None) if ip.is_unicast_link_local() => Err(BadZone::Missing(ip, example())),
            (_, None) => Ok(Self { ip, zone: 0 }),
            (IpAddr::V6(_), Some(zone)) => {
                let zone = number(zone).ok_or_else(|| BadZone::Unknown(zone.to_owned()))?;
                Ok(Self { ip, zone })
            }
        }
    }
}

impl fmt::Display for ZonedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface() {
            Some(interface) => write!(f, "{}%{interface}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

/// The index of an interface, given its name or its index.
fn number(zone: &str) -> Option<u32> {
    let numbered = || zone.parse().ok().filter(|number| interfaces::name(*number).is_ok());
    interfaces::index(zone).ok().or_else(numbered)
}

/// The name of an interface of this machine, as an example for the error message.
fn example() -> String {
    (2..64).find_map(|number| interfaces::name(number).ok()).unwrap_or_else(|| "eth0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SocketAddr, String> {
        text.parse::<ZonedAddress>().map(|zoned| zoned.with_port(9)).map_err(|error| error.to_string())
    }

    #[test]
    fn zones_are_names_or_numbers() {
        let lo = interfaces::index("lo").unwrap();
        for text in ["fe80::1%lo", &format!("fe80::1%{lo}")] {
            assert_eq!(read(text).unwrap().to_string(), format!("[fe80::1%{lo}]:9"));
        }
        assert_eq!(read("::1").unwrap().to_string(), "[::1]:9");
        assert_eq!(read("10.0.0.1").unwrap().to_string(), "10.0.0.1:9");
        assert_eq!("fe80::1%lo".parse::<ZonedAddress>().unwrap().to_string(), "fe80::1%lo");
    }

    #[test]
    fn a_bad_zone_gives_one_sentence() {
        assert!(read("fe80::1").unwrap_err().starts_with("fe80::1 is a link-local address and needs a zone"));
        for zone in ["no-such-if", "", "0", "4000000000", "lo%lo"] {
            assert!(
                read(&format!("fe80::1%{zone}")).unwrap_err().contains("there is no interface"),
                "{zone}"
            );
        }
        assert!(read("10.0.0.1%lo").unwrap_err().contains("only IPv6"));
        assert!(read("localhost").unwrap_err().contains("not an IP address"));
    }
}
