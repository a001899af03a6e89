//! Why there is no lab, and what to do about it.

use std::io;

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// Without these capabilities no network can be built.
    #[error("the lab needs {}, which this process does not have: run it as root", .0.join(" and "))]
    NotAllowed(Vec<&'static str>),
    /// The command that builds networks is not there.
    #[error("the lab needs the command `ip`: install iproute2")]
    NoIproute,
    /// The kernel has no such links.
    #[error(
        "this kernel has no {kind} links ({told}): try `modprobe {kind}`, or use a kernel with CONFIG_{}",
        kind.to_uppercase()
    )]
    NoLinks {
        /// The kind of link, as `ip` calls it.
        kind: &'static str,
        /// What `ip` said.
        told: String,
    },
    /// `ip` did not do what was asked.
    #[error("`ip` could not {what}: {told}")]
    Ip {
        /// What was to be done.
        what: &'static str,
        /// What it said.
        told: String,
    },
    /// The device of a macvtap may not be opened.
    #[error(
        "the macvtap device c {major}:{minor} cannot be {what}: {error}: allow it in the device cgroup \
         (docker: --device-cgroup-rule 'c {major}:* rwm'; systemd: DeviceAllow=char-macvtap rwm), and grant \
         CAP_MKNOD"
    )]
    Device {
        /// Made, or opened.
        what: &'static str,
        /// The device's number.
        major: u32,
        /// Within the driver.
        minor: u32,
        /// The error.
        error: io::Error,
    },
    /// Something else.
    #[error("{what}: {error}")]
    Os {
        /// What failed.
        what: &'static str,
        /// The error.
        error: io::Error,
    },
}

impl LabError {
    /// Names what failed.
    pub(super) fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Os { what, error }
    }
}
