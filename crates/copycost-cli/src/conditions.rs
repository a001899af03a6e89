//! Where and how a measurement was made. A reader needs these facts to judge or repeat a record.

mod differences;
mod link;
mod system;

use std::fs;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use copycost::internals::connection::AppliedOptions;

pub use link::LinkConditions;
pub use system::SystemConditions;

/// The machine, the settings and the connections of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// The kernel release, as `uname -r` prints it.
    pub kernel: String,
    /// The CPU's name.
    pub cpu_model: String,
    /// The number of CPUs in the process's affinity mask.
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
    /// The commit that the program was built from; `None` if the build did not set COPYCOST_COMMIT.
    pub commit: Option<String>,
    /// The command line, one argument per element.
    pub command: Vec<String>,
    /// Settings of the kernel and the CPUs.
    #[serde(default)]
    pub system: SystemConditions,
    /// The interface that sends the data. Null if it belongs to another machine, and in results of versions that did
    /// not record it.
    #[serde(default)]
    pub link: Option<LinkConditions>,
    /// For the conditions of a server: whether it runs on the machine of the clients, behind another address or in
    /// another network namespace, so that both ends share the CPUs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_machine: bool,
    /// The conditions of the remote server; `None` if both ends are on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<Conditions>>,
    /// The conditions of every rank of an MPI job; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<RankConditions>,
    /// Conditions that distort all records of the run, one sentence each.
    pub flags: Vec<String>,
}

/// The conditions of one rank of an MPI job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankConditions {
    /// The rank's number in the job, from 0.
    pub rank: usize,
    /// `server` or `client host`.
    pub role: String,
    /// The host name of the rank's machine.
    pub host: String,
    /// What [`Conditions::here`] returned on that machine.
    pub conditions: Conditions,
}

impl Conditions {
    /// The conditions of this machine and this process. [`Conditions::connected`] adds those of the connections.
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

    /// Records the interface that carries connections to `peer`, and flags traffic shaping on it.
    pub fn leaving_by(&mut self, interface: &str, peer: IpAddr) {
        self.link = LinkConditions::of(interface, peer);
        let flag = self.link.as_ref().and_then(LinkConditions::flag);
        self.flags.extend(flag.filter(|flag| !self.flags.contains(flag)));
    }

    /// Records the options of the connections, and flags a receive buffer that is too small.
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

/// The arguments of the command line. File names may hold any bytes, but a record is UTF-8, so others are replaced.
fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
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
