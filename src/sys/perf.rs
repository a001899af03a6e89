//! `ioctl(2)` on perf events, for what the crate perf-event2 has no function.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd as _;

use perf_event::{Counter, Sampler};

/// The requests of linux/perf_event.h: `_IO('$', 5)` and `_IOW('$', 6, char *)`.
const SET_OUTPUT: libc::c_ulong = 0x2405;
const SET_FILTER: libc::c_ulong = 0x4008_2406;

/// Lets `event` write its samples into the ring of `owner`, which is on the same CPU.
pub fn set_output(event: &Counter, owner: &Sampler) -> io::Result<()> {
    // SAFETY: the request takes a descriptor by value. Both are perf events, and open while they are borrowed.
    super::checked(unsafe { libc::ioctl(event.as_raw_fd(), SET_OUTPUT as _, owner.as_raw_fd()) }).map(drop)
}

/// Lets a tracepoint pass only what `filter` says, such as `protocol == 6`.
///
/// # Errors
/// The filter has a zero byte, or the kernel refuses it.
pub fn set_filter(event: &Counter, filter: &str) -> io::Result<()> {
    let text = CString::new(filter)?;
    // SAFETY: the request reads a string that ends with a zero byte, and `text` is one and lives until then. The descriptor
    // is a perf event and open while it is borrowed.
    super::checked(unsafe { libc::ioctl(event.as_raw_fd(), SET_FILTER as _, text.as_ptr()) }).map(drop)
}
