//! A tree of files that looks like a machine, healthy until a test breaks it.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use copycost_cli::doctor::{
    Capabilities, Copier, CopyTime, Facts, Finding, IoUring, LinkFacts, Machine, Offloads, PlannedRun,
    Status, Support, examine,
};
use tempfile::TempDir;

/// A machine below a temporary directory.
pub struct Fixture {
    root: TempDir,
    pub facts: Facts,
    pub plan: PlannedRun,
}

const FILES: &[(&str, &str)] = &[
    ("sys/devices/system/cpu/online", "0-15\n"),
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("sys/kernel/mm/transparent_hugepage/defrag", "always defer [madvise] never\n"),
    ("sys/class/net/lo/mtu", "65536\n"),
    ("sys/class/net/lo/ifindex", "1\n"),
    ("sys/class/net/lo/queues/rx-0/rps_cpus", "00000000,00000000\n"),
    ("sys/class/net/lo/queues/rx-0/rps_flow_cnt", "0\n"),
    ("sys/class/net/eth0/mtu", "1500\n"),
    ("sys/class/net/eth0/ifindex", "2\n"),
    ("sys/class/net/eth0/device/vendor", "0x8086\n"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("proc/loadavg", "0.12 0.10 0.09 1/123 4567\n"),
    ("proc/stat", "cpu  1086 0 1048 75943 113 0 17 6 0 0\ncpu0 1 0 1 1 1 0 1 1 0 0\n"),
    ("proc/sys/kernel/osrelease", "6.12.1-fixture\n"),
    ("boot/config-6.12.1-fixture", "CONFIG_NET=y\n# CONFIG_IRQ_TIME_ACCOUNTING is not set\n"),
    ("proc/sys/kernel/perf_event_paranoid", "1\n"),
    ("proc/sys/kernel/io_uring_disabled", "0\n"),
    ("proc/sys/net/core/optmem_max", "131072\n"),
    ("proc/sys/net/core/wmem_max", "4194304\n"),
    ("proc/sys/net/core/rmem_max", "4194304\n"),
    ("proc/sys/net/core/rps_sock_flow_entries", "0\n"),
    ("proc/sys/net/ipv4/tcp_mem", "287901\t383868\t575802\n"),
    (
        "proc/net/sockstat",
        "sockets: used 100\nTCP: inuse 5 orphan 0 tw 0 alloc 6 mem 80\nUDP: inuse 0 mem 0\n",
    ),
    ("proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
    ("proc/sys/net/ipv4/tcp_available_congestion_control", "reno cubic\n"),
    ("proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno cubic\n"),
    ("proc/net/packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
    ("proc/net/route", ROUTES),
    ("proc/net/fib_trie", FIB_TRIE),
    ("proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"),
    ("proc/self/cgroup", "0::/bench.slice/run\n"),
    ("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"),
    ("sys/fs/cgroup/bench.slice/run/cpu.max", "max 100000\n"),
    (
        "sys/fs/cgroup/bench.slice/run/cpu.stat",
        "usage_usec 5\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
    ),
    ("sys/fs/cgroup/bench.slice/cpu.max", "max 100000\n"),
];

// 10.0.0.0/8 through 192.168.1.254, 192.168.1.0/24 directly; 10.9.0.0/16 is unreachable. No default route.
// Addresses are in the byte order of a little-endian host.
const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t0000000A\tFE01A8C0\t0003\t0\t0\t100\t000000FF\t0\t0\t0
*\t0000090A\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";

const FIB_TRIE: &str = "\
Local:
  +-- 192.168.1.0/24 2 0 2
     |-- 192.168.1.7
        /32 host LOCAL
     |-- 192.168.1.255
        /32 link BROADCAST
";

impl Fixture {
    /// A machine on which every check is ready, but for the truth about loopback.
    pub fn healthy() -> Fixture {
        let fixture = Fixture {
            root: tempfile::tempdir().expect("a temporary directory"),
            facts: facts(),
            plan: PlannedRun::default(),
        };
        for (path, text) in FILES {
            fixture.write(path, text);
        }
        for cpu in 0..16 {
            let cpu_directory = format!("sys/devices/system/cpu/cpu{cpu}");
            fixture.write(&format!("{cpu_directory}/cpufreq/scaling_governor"), "performance\n");
            fixture.write(&format!("{cpu_directory}/topology/thread_siblings_list"), &format!("{cpu}\n"));
        }
        fixture
    }

    /// Puts a file in place of what is there.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    /// Where a file lies.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    /// Takes a file away.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).expect("a file to remove");
    }

    /// Makes a file unreadable even for root: a directory cannot be read as one.
    pub fn spoil(&self, path: &str) {
        self.remove(path);
        fs::create_dir(self.root.path().join(path)).expect("a directory");
    }

    /// Puts `text` into every file.
    pub fn fill(&self, text: &str) {
        for (path, _) in FILES {
            self.write(path, text);
        }
    }

    /// A process with one descriptor.
    pub fn process(&self, pid: u32, name: &str, descriptor: u32, target: &str) {
        self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.write(&format!("proc/{pid}/fd/.keep"), "");
        let link = self.root.path().join(format!("proc/{pid}/fd/{descriptor}"));
        symlink(target, link).expect("a link");
    }

    /// Plans to send to `address`.
    pub fn over(mut self, address: &str) -> Fixture {
        self.plan.address = Some(address.parse::<IpAddr>().expect("an address"));
        self
    }

    /// What the doctor finds.
    pub fn examine(&self) -> Vec<Finding> {
        examine(&Machine::at(self.root.path(), self.facts.clone()), &self.plan)
    }

    /// The finding of `check`, after making sure that no other check noticed what was broken.
    pub fn only(&self, check: &str) -> Finding {
        let healthy = Fixture { plan: self.plan.clone(), ..Fixture::healthy() }.examine();
        let findings = self.examine();
        for (was, is) in healthy.iter().zip(&findings).filter(|(was, _)| was.check != check) {
            assert_eq!(was.status, is.status, "{check} was to change, not {is:?}");
        }
        self.of(check)
    }

    /// The finding of `check`.
    pub fn of(&self, check: &str) -> Finding {
        self.examine().into_iter().find(|finding| finding.check == check).expect(check)
    }
}

/// Compares what scripts and people rely on.
pub fn expect(finding: &Finding, status: Status, told: &str, fix: Option<&str>) {
    assert_eq!((finding.status, finding.fix.as_deref()), (status, fix), "{finding:?}");
    assert!(finding.told.contains(told), "{finding:?} does not tell `{told}`");
}

fn facts() -> Facts {
    let all = Offloads { scatter_gather: true, tx_checksum: true, tso: true, gso: true, gro: true };
    let link = |driver: Option<&str>| LinkFacts {
        driver: driver.map(Into::into),
        offloads: Some(all),
        up: Some(true),
        ..LinkFacts::default()
    };
    // Copies take as long everywhere.
    let took = Duration::from_micros(1);
    let copy = |distance| CopyTime { cpu: 0, by: Copier::Recv, bytes: 1024, distance, took };
    Facts {
        copies: vec![copy(0), copy(8)],
        page_bytes: 4096,
        uid: 1000,
        open_files: Some(1024),
        memory_lock_bytes: None,
        capabilities: Capabilities::default(),
        allowed_cpus: (0..16).collect(),
        msg_zerocopy: Support::Present,
        task_clock: Support::Present,
        pmu: Support::Present,
        io_uring: IoUring::Opens { send_zc: true, sendmsg_zc: true },
        links: [("lo".into(), link(None)), ("eth0".into(), link(Some("ice")))].into(),
        watch: Duration::from_millis(20),
    }
}
