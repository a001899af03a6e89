//! ioctl(SIOCETHTOOL): the driver and the offloads of a network interface.
//!
//! They decide whether a zero-copy send stays one: without scatter-gather, TCP copies at once
//! (net/ipv4/tcp.c, NETIF_F_SG). Only requests without privilege are used (net/ethtool/ioctl.c).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Socket, Type};

const SIOCETHTOOL: libc::c_ulong = 0x8946;

// include/uapi/linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GSG: u32 = 0x18;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GGRO: u32 = 0x2b;

/// The offloads that decide how a TCP segment leaves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// The device gathers a packet from pieces of memory.
    pub scatter_gather: bool,
    /// The device fills in the checksum.
    pub tx_checksum: bool,
    /// The device splits large segments.
    pub tso: bool,
    /// The kernel splits large segments late, just before the driver.
    pub gso: bool,
    /// The kernel joins received segments.
    pub gro: bool,
}

// struct ethtool_value
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

// The head of struct ethtool_drvinfo. The rest only makes room for what the kernel writes.
#[repr(C)]
struct Driver {
    command: u32,
    name: [u8; 32],
    rest: [u8; 160],
}

// struct ifreq with the union member for SIOCETHTOOL; 24 bytes is the union's size.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut libc::c_void,
    rest: [u8; 16],
}

/// A socket to query interfaces of this network namespace.
#[derive(Debug)]
pub struct Ethtool(OwnedFd);

impl Ethtool {
    /// Opens the socket.
    ///
    /// The error of socket(2).
    pub fn open() -> io::Result<Ethtool> {
        Ok(Ethtool(Socket::new(Domain::IPV4, Type::DGRAM, None)?.into()))
    }

    /// The offloads of `interface`.
    ///
    /// ENODEV for an unknown name, EOPNOTSUPP if the device does not support the request.
    pub fn offloads(&self, interface: &str) -> io::Result<Offloads> {
        Ok(Offloads {
            scatter_gather: self.flag(interface, ETHTOOL_GSG)?,
            tx_checksum: self.flag(interface, ETHTOOL_GTXCSUM)?,
            tso: self.flag(interface, ETHTOOL_GTSO)?,
            gso: self.flag(interface, ETHTOOL_GGSO)?,
            gro: self.flag(interface, ETHTOOL_GGRO)?,
        })
    }

    /// The driver's name, such as `veth` or `virtio_net`.
    ///
    /// ENODEV for an unknown name, EOPNOTSUPP if the driver has no name (lo has none).
    pub fn driver(&self, interface: &str) -> io::Result<String> {
        let mut driver = Driver { command: ETHTOOL_GDRVINFO, name: [0; 32], rest: [0; 160] };
        // SAFETY: ETHTOOL_GDRVINFO writes one struct ethtool_drvinfo, 196 bytes, which `Driver` is.
        unsafe { self.ask(interface, (&raw mut driver).cast()) }?;
        let name = driver.name.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn flag(&self, interface: &str, command: u32) -> io::Result<bool> {
        let mut value = EthtoolValue { command, data: 0 };
        // SAFETY: the five commands used here write one struct ethtool_value, which `EthtoolValue` is.
        unsafe { self.ask(interface, (&raw mut value).cast()) }?;
        Ok(value.data != 0)
    }

    /// # Safety
    /// `data` must point to the writable structure that the command in its first word fills.
    unsafe fn ask(&self, interface: &str, data: *mut libc::c_void) -> io::Result<()> {
        let mut request = Request { name: [0; libc::IFNAMSIZ], data, rest: [0; 16] };
        // The last byte stays 0, because the kernel needs a terminated name.
        if interface.len() >= libc::IFNAMSIZ {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        request.name[..interface.len()].copy_from_slice(interface.as_bytes());
        // SAFETY: `request` has the layout and at least the size of struct ifreq; the caller guarantees
        // `data`.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Driver>(), 196);
        assert_eq!(size_of::<EthtoolValue>(), 8);
        assert!(size_of::<Request>() >= 40);
    }

    #[test]
    fn an_unknown_interface_is_an_error() {
        let ethtool = Ethtool::open().expect("a socket");
        assert!(ethtool.offloads("no-such-if").is_err());
        assert!(ethtool.driver("a name that is longer than sixteen bytes").is_err());
    }
}
