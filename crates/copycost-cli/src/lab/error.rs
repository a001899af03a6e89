//! Errors of the lab; each message says what to do.

use std::io;

/// The reason why the lab could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The process lacks these capabilities, which building a network requires.
    #[error("the lab needs {}, which this process does not have: run it as root", .0.join(" and "))]
    NotAllowed(Vec<&'static str>),
    /// The command `ip` is not installed.
    #[error("the lab needs the command `ip`: install iproute2")]
    NoIproute,
    /// The kernel does not support this kind of link.
    #[error(
        "this kernel has no {kind} links ({output}): try `modprobe {kind}`, or use a kernel with CONFIG_{}",
        kind.to_uppercase()
    )]
    NoLinks {
        /// The kind of link, as `ip` calls it.
        kind: &'static str,
        /// The error output of `ip`.
        output: String,
    },
    /// `ip` failed.
    #[error("`ip` could not {what}: {output}")]
    Ip {
        /// The task, as an infinitive: `add a veth link`.
        what: &'static str,
        /// The error output of `ip`.
        output: String,
    },
    /// The process may not create or open the device of a macvtap.
    #[error(
        "the macvtap device c {major}:{minor} cannot be {what}: {error}: allow it in the device cgroup \
         (docker: --device-cgroup-rule 'c {major}:* rwm'; systemd: DeviceAllow=char-macvtap rwm), and grant \
         CAP_MKNOD"
    )]
    Device {
        /// `made` or `opened`.
        what: &'static str,
        /// The major number of the device.
        major: u32,
        /// The minor number of the device.
        minor: u32,
        /// The error of the system call.
        error: io::Error,
    },
    /// Another system call failed.
    #[error("{what}: {error}")]
    Os {
        /// What failed, as a clause: `sysfs could not be mounted`.
        what: &'static str,
        /// The error of the system call.
        error: io::Error,
    },
}

impl LabError {
    /// Turns an I/O error into a [`LabError::Os`] with this clause.
    pub(super) fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Os { what, error }
    }
}
