//! The ranks that take part in a job, and the differences between them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, RankConditions};
use copycost::internals::connection::{self, AppliedOptions, ConnectionOptions};
use copycost::internals::sys::boot;

/// The version of the [control messages](super::control_messages). Ranks that run different versions of the program can
/// work together as long as this number is the same.
pub const VERSION: u32 = 3;

/// The role of a rank in the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RankRole {
    /// A server: it sends.
    Serves,
    /// A client host: it receives with its own set of clients.
    Receives,
}

impl fmt::Display for RankRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serves => "server",
            Self::Receives => "client host",
        })
    }
}

/// What a rank reports about itself when it joins the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// The rank's [`VERSION`] of the control messages.
    pub words: u32,
    /// The host name.
    pub name: String,
    /// The boot ID of the kernel: equal for all processes on one running kernel.
    pub machine: String,
    /// The number of online CPUs, including those that the rank may not use.
    pub online: usize,
    /// The rank's conditions, including those of its connections.
    pub conditions: Conditions,
    /// The addresses of the rank's server; empty on a client host.
    pub addresses: Vec<SocketAddr>,
}

impl Greeting {
    /// The greeting of this process, whose server listens at `addresses`.
    pub fn here(addresses: Vec<SocketAddr>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let mut conditions = Conditions::here();
        // Only a socket shows which congestion control may be set and how large its buffers become.
        let probe =
            connection::listen((Ipv4Addr::LOCALHOST, 0).into(), &ConnectionOptions::for_this_machine());
        if let Ok(applied) = probe.and_then(|probe| AppliedOptions::of(&probe)) {
            conditions.connected(&applied);
        }
        Self {
            words: VERSION,
            name: read("/proc/sys/kernel/hostname"),
            machine: boot::id().unwrap_or_default(),
            online: online(&read("/sys/devices/system/cpu/online")).unwrap_or(conditions.cpus),
            conditions,
            addresses,
        }
    }
}

/// The number of CPUs in a list such as `0-3,8`.
fn online(list: &str) -> Option<usize> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').map(range).sum()
}

/// A rank that has joined the job.
#[derive(Debug, Clone)]
pub struct Member {
    /// The rank's number, from 0.
    pub rank: usize,
    /// Whether the rank serves or receives.
    pub role: RankRole,
    /// What the rank reported when it joined.
    pub greeting: Greeting,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (rank {})", self.role, self.greeting.name, self.rank)
    }
}

/// The conditions of every rank, for a record.
pub fn conditions(members: &[Member]) -> Vec<RankConditions> {
    let of = |member: &Member| RankConditions {
        rank: member.rank,
        role: member.role.to_string(),
        host: member.greeting.name.clone(),
        conditions: member.greeting.conditions.clone(),
    };
    members.iter().map(of).collect()
}

/// Sentences about what may distort the results of these ranks: differences between hosts, and shared machines.
pub fn remarks(members: &[Member]) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut differing = |what: &str, of: &dyn Fn(&Conditions) -> String| {
        let groups = grouped(members, |member| of(&member.greeting.conditions));
        if groups.len() > 1 {
            let values: Vec<_> =
                groups.iter().map(|(value, on)| format!("{value} on {}", names(on))).collect();
            remarks.push(format!("the hosts differ in their {what}: {}", values.join("; ")));
        }
    };
    differing("version of copycost", &|conditions| {
        let commit = conditions.commit.as_deref().map(|commit| format!(" ({commit})"));
        format!("{}{}", conditions.version, commit.unwrap_or_default())
    });
    differing("kernel", &|conditions| conditions.kernel.clone());
    differing("congestion control", &|conditions| conditions.congestion_control.clone());
    differing("socket buffers", &|conditions| {
        format!("{} + {} bytes", conditions.send_buffer_bytes, conditions.receive_buffer_bytes)
    });
    for shared in grouped(members, |member| member.greeting.machine.clone()).values() {
        if shared.len() > 1 {
            remarks.push(format!(
                "{} run on one machine: they share its CPUs, and its system figures cover all of them",
                names(shared)
            ));
        }
    }
    let bound = |member: &&Member| member.greeting.conditions.cpus < member.greeting.online;
    let bound: Vec<_> = members.iter().filter(bound).collect();
    if let Some(first) = bound.first() {
        remarks.push(format!(
            "{} may use {} of {} CPUs{}: start mpirun with --bind-to none",
            first,
            first.greeting.conditions.cpus,
            first.greeting.online,
            if bound.len() > 1 {
                format!(" (and {} more are limited)", bound.len() - 1)
            } else {
                String::new()
            },
        ));
    }
    remarks
}

fn grouped(members: &[Member], of: impl Fn(&Member) -> String) -> BTreeMap<String, Vec<&Member>> {
    let mut groups: BTreeMap<String, Vec<&Member>> = BTreeMap::new();
    for member in members {
        groups.entry(of(member)).or_default().push(member);
    }
    groups
}

/// `a (rank 0), b (rank 1)`. A long list is cut after four names: `… and 3 more`.
fn names(members: &[&Member]) -> String {
    const MOST: usize = 4;
    let one = |member: &&Member| format!("{} (rank {})", member.greeting.name, member.rank);
    let first: Vec<_> = members.iter().take(MOST).map(one).collect();
    let more = members.len().saturating_sub(MOST);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(rank: usize) -> Member {
        let conditions = Conditions {
            kernel: "6.1".into(),
            version: "0.1.0".into(),
            congestion_control: "cubic".into(),
            cpus: 8,
            ..Conditions::default()
        };
        let greeting = Greeting {
            words: VERSION,
            name: format!("node{rank}"),
            machine: format!("m{rank}"),
            online: 8,
            conditions,
            addresses: Vec::new(),
        };
        Member { rank, role: if rank == 0 { RankRole::Serves } else { RankRole::Receives }, greeting }
    }

    #[test]
    fn only_differences_are_reported_with_their_hosts() {
        let mut members: Vec<_> = (0..7).map(member).collect();
        assert_eq!(remarks(&members), Vec::<String>::new());
        members[2].greeting.conditions.version = "0.2.0".into();
        members[3].greeting.conditions.kernel = "5.15".into();
        members[4].greeting.conditions.congestion_control = "reno".into();
        members[5].greeting.conditions.commit = Some("abcdef".into());
        let found = remarks(&members);
        assert_eq!(found.len(), 3, "{found:?}");
        for (remark, parts) in found.iter().zip([
            &["version", "0.2.0 on node2 (rank 2)", "0.1.0 (abcdef) on node5 (rank 5)"][..],
            &["kernel", "5.15 on node3 (rank 3)", "6.1 on node0 (rank 0), node1 (rank 1)", "and 2 more"],
            &["congestion control", "reno on node4 (rank 4)"],
        ]) {
            parts.iter().for_each(|part| assert!(remark.contains(part), "{part} in {remark}"));
        }
    }

    #[test]
    fn shared_machines_and_bound_ranks_are_reported() {
        let mut members: Vec<_> = (0..3).map(member).collect();
        members[2].greeting.machine = "m0".into();
        members[1].greeting.conditions.cpus = 1;
        let remarks = remarks(&members);
        assert!(remarks[0].contains("node0 (rank 0), node2 (rank 2) run on one machine"), "{remarks:?}");
        assert!(remarks[1].contains("client host node1 (rank 1) may use 1 of 8 CPUs"), "{remarks:?}");
        assert!(remarks[1].contains("--bind-to none"));
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        assert_eq!(online("0-3,8"), Some(5));
        assert_eq!(online("0"), Some(1));
        for wrong in ["", "3-1", "a"] {
            assert_eq!(online(wrong), None, "{wrong}");
        }
    }
}
