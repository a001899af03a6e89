//! getifaddrs(3), if_nametoindex(3): the addresses and the interfaces of this network namespace.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// The addresses of all interfaces that are up, in the system's order.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: getifaddrs(3) writes a list to the pointer that it is given.
    super::checked(unsafe { libc::getifaddrs(&mut list) })?;
    let mut addresses = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list of getifaddrs(3), which is freed only below.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 || entry.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: an address that is there has at least its family.
        match libc::c_int::from(unsafe { (*entry.ifa_addr).sa_family }) {
            libc::AF_INET => {
                // SAFETY: an address of the family AF_INET is a sockaddr_in.
                let address = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_in>() };
                addresses.push(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into());
            }
            libc::AF_INET6 => {
                // SAFETY: an address of the family AF_INET6 is a sockaddr_in6.
                let address = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_in6>() };
                addresses.push(Ipv6Addr::from(address.sin6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    // SAFETY: `list` is what getifaddrs(3) made, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// The number of the interface with this name.
///
/// ENODEV if there is none.
pub fn index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: `name` is a live, NUL-terminated string, which the call only reads.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The name of the interface with this number.
///
/// ENXIO if there is none.
pub fn name(index: u32) -> io::Result<String> {
    let mut name = [0 as libc::c_char; libc::IFNAMSIZ];
    // SAFETY: the call writes at most IFNAMSIZ bytes, which `name` has, the final NUL included.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so that `name` holds a NUL-terminated string.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_number_and_a_name() {
        assert_eq!(name(index("lo").unwrap()).unwrap(), "lo");
        assert!(index("no-such-if").is_err() && index("a\0b").is_err() && name(0).is_err());
    }

    #[test]
    fn loopback_is_listed() {
        assert!(addresses().unwrap().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
