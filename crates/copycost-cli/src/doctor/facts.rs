//! Facts about a machine that only system calls provide.
//!
//! They are plain data, so that a test can describe any machine with them and a tree of files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use super::copies::CopyTime;
use copycost::internals::cost::opener::{CounterReach, Event, Opener, Perf};
pub use copycost::internals::sys::ethtool::Offloads;
pub use copycost::internals::sys::rtnetlink::Qdisc;
use copycost::internals::sys::rtnetlink::{self, Interface};
use copycost::internals::sys::socket::has_zero_copy;
use copycost::internals::sys::{ethtool::Ethtool, limits, memory, sched, text, uring};

/// Whether the kernel supports a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// The feature works.
    Present,
    /// The kernel or the hardware lacks the feature.
    Absent,
    /// Not known: the test was forbidden or not made.
    #[default]
    Unknown,
}

/// Effective capabilities that matter here. A capability that the kernel checks in the initial user namespace is false
/// in any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// CAP_IPC_LOCK: pinned pages are not charged (mm_account_pinned_pages, net/core/skbuff.c).
    pub ipc_lock: bool,
    /// CAP_NET_ADMIN: any congestion control may be set.
    pub net_admin: bool,
    /// CAP_PERFMON, or CAP_SYS_ADMIN, which includes it.
    pub perfmon: bool,
}

/// The state of io_uring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoUring {
    /// A ring opens.
    Opens {
        /// IORING_OP_SEND_ZC, Linux 6.0.
        send_zc: bool,
        /// IORING_OP_SENDMSG_ZC, Linux 6.1.
        sendmsg_zc: bool,
    },
    /// No ring opens. Holds the error message of the system.
    Refused(String),
}

/// The properties of a network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// The driver's name; `None` if the driver does not report it.
    pub driver: Option<String>,
    /// The offloads; `None` if the driver does not report them.
    pub offloads: Option<Offloads>,
    /// Whether the interface is up; `None` if unknown.
    pub up: Option<bool>,
    /// The MTU in bytes; `None` if unknown.
    pub mtu: Option<u32>,
    /// All queueing disciplines of the interface.
    pub qdiscs: Vec<Qdisc>,
}

/// All facts about a machine that do not come from files.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub page_bytes: u64,
    /// The user to whom pinned pages are charged.
    pub uid: u32,
    /// Soft RLIMIT_NOFILE; `None` is no limit.
    pub open_files: Option<u64>,
    /// Soft RLIMIT_MEMLOCK in bytes; `None` is no limit.
    pub memory_lock_bytes: Option<u64>,
    /// Effective capabilities of this thread.
    pub capabilities: Capabilities,
    /// CPUs this thread may run on; empty when not known.
    pub allowed_cpus: Vec<usize>,
    /// SO_ZEROCOPY on a TCP socket.
    pub msg_zerocopy: Support,
    /// The perf software event task-clock opens.
    pub task_clock: Support,
    /// The hardware event cycles opens.
    pub pmu: Support,
    /// io_uring and its zero-copy operations.
    pub io_uring: IoUring,
    /// Interfaces by name.
    pub links: BTreeMap<String, LinkFacts>,
    /// The times of copies by the offsets of their ends; empty if not measured.
    pub copies: Vec<CopyTime>,
    /// How long checks observe values that change over time. The default is two periods of a CPU quota, 100 ms each.
    pub watch: Duration,
}

const TWO_PERIODS: Duration = Duration::from_millis(200);

impl Default for Facts {
    /// A machine with pages of 4 KiB of which nothing else is known.
    fn default() -> Facts {
        Facts {
            page_bytes: 4096,
            uid: 0,
            open_files: None,
            memory_lock_bytes: None,
            capabilities: Capabilities::default(),
            allowed_cpus: Vec::new(),
            msg_zerocopy: Support::Unknown,
            task_clock: Support::Unknown,
            pmu: Support::Unknown,
            io_uring: IoUring::Refused("not asked".into()),
            links: BTreeMap::new(),
            copies: Vec::new(),
            watch: TWO_PERIODS,
        }
    }
}

impl Facts {
    /// The facts of this machine. A fact that cannot be read stays unknown.
    pub fn live() -> Facts {
        // The same information as capget(2), without unsafe code.
        let status = text::read("/proc/thread-self/status").unwrap_or_default();
        Facts {
            page_bytes: memory::page_size() as u64,
            uid: limits::user(),
            open_files: soft(limits::open_files()),
            memory_lock_bytes: soft(limits::locked_memory()),
            capabilities: capabilities(
                &status,
                &fs::read_to_string("/proc/self/uid_map").unwrap_or_default(),
            ),
            // Not from Cpus_allowed_list, which includes offline CPUs.
            allowed_cpus: sched::allowed_cpus().unwrap_or_default(),
            msg_zerocopy: supported(has_zero_copy()),
            task_clock: supported(Perf.open(Event::TaskClock, CounterReach::UserOnly).map(drop)),
            pmu: supported(Perf.open(Event::Cycles, CounterReach::UserOnly).map(drop)),
            io_uring: match uring::probe() {
                Ok(operations) => {
                    IoUring::Opens { send_zc: operations.send_zc, sendmsg_zc: operations.sendmsg_zc }
                }
                Err(why) => IoUring::Refused(why.to_string()),
            },
            links: links(),
            copies: Vec::new(),
            watch: TWO_PERIODS,
        }
    }
}

/// The soft limit; `None` if there is none or it is unknown.
fn soft(limit: io::Result<limits::Limit>) -> Option<u64> {
    limit.ok().map(|limit| limit.soft).filter(|soft| *soft != u64::MAX)
}

fn supported(probe: io::Result<()>) -> Support {
    probe.map_or_else(|why| missing(&why), |()| Support::Present)
}

// An error such as ENOSYS proves that the feature is missing; one such as EPERM proves nothing.
fn missing(why: &io::Error) -> Support {
    match why.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV | libc::ENOPROTOOPT | libc::ENOSYS) => {
            Support::Absent
        }
        _ => Support::Unknown,
    }
}

/// The interfaces by name. Not read from /sys/class/net, which shows the network namespace that mounted it.
fn links() -> BTreeMap<String, LinkFacts> {
    let (Ok(ethtool), Ok(interfaces)) = (Ethtool::open(), rtnetlink::interfaces()) else {
        return BTreeMap::new();
    };
    let qdiscs = rtnetlink::qdiscs().unwrap_or_default();
    let link = |Interface { index, name, up, mtu, .. }: Interface| {
        let driver = ethtool.driver(&name).ok().filter(|driver| !driver.is_empty());
        let offloads = ethtool.offloads(&name).ok();
        let qdiscs = qdiscs.iter().filter(|qdisc| qdisc.index == index).cloned().collect();
        (name, LinkFacts { driver, offloads, up: Some(up), mtu: Some(mtu), qdiscs })
    };
    interfaces.into_iter().map(link).collect()
}

/// The value of a line of `/proc/*/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn capabilities(status: &str, uid_map: &str) -> Capabilities {
    // Bit numbers of include/uapi/linux/capability.h.
    const NET_ADMIN: u64 = 1 << 12;
    const IPC_LOCK: u64 = 1 << 14;
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON: u64 = 1 << 38;
    let held = field(status, "CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    // capable() checks the initial user namespace, which maps every id to itself. There the capabilities of root in a
    // rootless container do not count. The network code checks the user namespace of the socket.
    let initial = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    Capabilities {
        ipc_lock: initial && held & IPC_LOCK != 0,
        net_admin: held & NET_ADMIN != 0,
        perfmon: initial && held & (PERFMON | SYS_ADMIN) != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "Name:\tx\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n";

    #[test]
    fn root_of_a_user_namespace_is_charged_like_anyone() {
        let real = capabilities(ALL, "         0          0 4294967295\n");
        assert_eq!(real, Capabilities { ipc_lock: true, net_admin: true, perfmon: true });
        let rootless = capabilities(ALL, "0 1000 1\n");
        assert_eq!(rootless, Capabilities { ipc_lock: false, net_admin: true, perfmon: false });
        assert_eq!(capabilities("", ""), Capabilities::default());
    }
}
