//! System calls, one file a family, under the names the kernel gives them. The only place with `unsafe`.

#![allow(unsafe_code)]

pub(crate) mod clock;
#[cfg(feature = "cli")]
pub(crate) mod ethtool;
pub mod gather;
#[cfg(feature = "cli")]
pub(crate) mod interfaces;
pub mod limits;
pub mod memory;
pub mod netns;
#[cfg(feature = "cli")]
pub(crate) mod process;
pub mod rusage;
pub mod sched;
pub mod socket;
#[cfg(feature = "cli")]
pub mod tap;
pub mod tcp_info;
#[cfg(feature = "cli")]
pub(crate) mod uring;

/// The result of a C call that reports failure as -1, as an `io::Result`.
fn checked(result: libc::c_int) -> std::io::Result<libc::c_int> {
    if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
