//! Where and how a measurement was made: what a record must carry to be believed.

mod differences;
mod link;
mod system;

use std::fs;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use copycost::internals::connection::AppliedOptions;

pub use link::LinkConditions;
pub use system::SystemConditions;

/// Where and how the run was made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// The release of the kernel.
    pub kernel: String,
    /// The CPU's name.
    pub cpu_model: String,
    /// How many CPUs the process may use.
    pub cpus: usize,
    /// TCP_CONGESTION as read back.
    pub congestion_control: String,
    /// SO_SNDBUF as read back, in bytes.
    pub send_buffer_bytes: usize,
    /// SO_RCVBUF as read back, in bytes.
    pub receive_buffer_bytes: usize,
    /// TCP_NODELAY of the sender.
    pub nodelay: bool,
    /// The version of this crate.
    pub version: String,
    /// The commit it was built from, where that is known.
    pub commit: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// What the kernel and the CPUs are set to.
    #[serde(default)]
    pub system: SystemConditions,
    /// The interface that the bytes leave by; null where it is not one of this machine, and in results of versions that
    /// did not record it.
    #[serde(default)]
    pub link: Option<LinkConditions>,
    /// Of a serving host: whether it is the machine of the clients, reached through another address or from another
    /// network namespace, so that both ends share its CPUs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_machine: bool,
    /// The other host's conditions, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<Conditions>>,
    /// Over MPI: the conditions of every rank.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<RankConditions>,
    /// What distorts all records alike.
    pub flags: Vec<String>,
}

/// The conditions of one of several hosts that measured together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankConditions {
    /// Its number in the job.
    pub rank: usize,
    /// `server` or `client host`.
    pub role: String,
    /// Its name.
    pub host: String,
    /// Its conditions.
    pub conditions: Conditions,
}

impl Conditions {
    /// What this machine and this process are; the connection's share is added by [`Conditions::connected`].
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu_model: cpu_model(&read("/proc/cpuinfo")),
            cpus: copycost::internals::sys::sched::allowed_cpus().map_or(0, |cpus| cpus.len()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("COPYCOST_COMMIT").map(str::to_owned),
            command: command_line(),
            system: SystemConditions::here(),
            ..Self::default()
        }
    }

    /// Takes the interface by which connections to `peer` leave, and what about it distorts.
    pub fn leaving_by(&mut self, interface: &str, peer: IpAddr) {
        self.link = LinkConditions::of(interface, peer);
        let flag = self.link.as_ref().and_then(LinkConditions::flag);
        self.flags.extend(flag.filter(|flag| !self.flags.contains(flag)));
    }

    /// Takes what the connections have, and what about it distorts.
    pub fn connected(&mut self, applied: &AppliedOptions) {
        self.congestion_control.clone_from(&applied.congestion_control);
        self.send_buffer_bytes = applied.send_buffer;
        self.receive_buffer_bytes = applied.receive_buffer;
        self.nodelay = applied.nodelay;
        let flag =
            "the receive buffer is below four times the send buffer: raise net.core.rmem_max and wmem_max";
        if applied.window_may_close() && !self.flags.iter().any(|old| old == flag) {
            self.flags.push(flag.to_owned());
        }
    }
}

/// The words of the command line. Names of files are bytes of any kind, and a record is text.
fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn cpu_model(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    field("model name").or_else(|| field("CPU part")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_named_from_either_architecture() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(cpu_model("CPU part\t: 0xd40\n"), "0xd40");
        assert_eq!(cpu_model(""), "");
    }
}
