//! System calls, one file for each family, with the kernel's names. Only this module has `unsafe`.

#![allow(unsafe_code)]

pub mod boot;
pub mod c_library;
pub mod clock;
pub mod ethtool;
pub mod interfaces;
pub mod limits;
pub mod memory;
pub mod message;
pub mod netns;
pub mod perf;
pub mod process;
pub mod rtnetlink;
pub mod rusage;
pub mod sched;
pub mod signals;
mod sigpipe;
pub mod socket;
pub mod splice;
pub mod tap;
pub mod tcp_info;
pub mod text;
pub mod uring;
pub mod xattr;
pub mod zerocopy_receive;

/// The result of a C call that reports failure as -1, as an `io::Result`.
fn checked(result: libc::c_int) -> std::io::Result<libc::c_int> {
    if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
