//! IP networks, which select one of several addresses of a host.

use std::net::IpAddr;
use std::str::FromStr;

/// An IP network in CIDR notation: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u32,
}

impl FromStr for IpNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a network such as 10.0.0.0/8 or fd00::/64");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?;
        Ok(Self { address, prefix })
    }
}

impl std::fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl IpNetwork {
    /// Whether `address` belongs to the network.
    pub fn holds(&self, address: IpAddr) -> bool {
        let differs = |network: u128, address: u128, bits: u32| {
            (network ^ address).checked_shr(bits - self.prefix).unwrap_or(0) != 0
        };
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                !differs(network.to_bits().into(), address.to_bits().into(), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => !differs(network.to_bits(), address.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses_with_their_prefix() {
        let holds = |network: &str, address: &str| {
            network.parse::<IpNetwork>().unwrap().holds(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.200.3.4") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("10.1.2.3/32", "10.1.2.3") && !holds("10.1.2.3/32", "10.1.2.2"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1") && holds("::/0", "fe80::1"));
        assert!(holds("fd00:1::/32", "fd00:1:2::3") && !holds("fd00:1::/32", "fd00:2::3"));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(wrong.parse::<IpNetwork>().unwrap_err().contains("is not a network"), "{wrong}");
        }
        assert_eq!("10.0.0.0/8".parse::<IpNetwork>().unwrap().to_string(), "10.0.0.0/8");
    }
}
