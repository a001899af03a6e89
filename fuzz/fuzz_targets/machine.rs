//! What the doctor makes of the files of /proc, /sys and /boot: a machine's, two of them with other contents.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use copycost::internals::cost::system::SystemCpu;
use copycost_cli::doctor::{Facts, Machine, PlannedRun, examine, exit_code, print};
use libfuzzer_sys::fuzz_target;

/// In memory where there is such a file system, so that a disk is not what is measured; it stays behind, one folder for
/// each process.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let root = folder.join(format!("copycost-fuzz-machine-{}", std::process::id()));
    for (path, text) in FILES {
        write(&root, path, text.as_bytes());
    }
    let descriptor = root.join("proc/77/fd/5");
    fs::create_dir_all(descriptor.parent().expect("a folder")).expect("folders");
    let _ = std::os::unix::fs::symlink("socket:[4711]", descriptor);
    root
});

fn write(root: &Path, path: &str, text: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("a file");
}

fuzz_target!(|data: &[u8]| {
    let Some((&[one, other, cut, address], rest)) = data.split_first_chunk() else { return };
    let (first, second) = rest.split_at(rest.len() * usize::from(cut) / 256);
    let changed = [(one, first), (other, second)];
    let file = |number: u8| FILES[usize::from(number) % FILES.len()];
    for (number, text) in changed {
        fs::write(ROOT.join(file(number).0), text).expect("a file");
    }
    let addresses = ["10.1.2.3", "192.168.1.7", "::1", "2001:db8::1", "127.0.0.1", "224.0.0.1"];
    let address = addresses.get(usize::from(address % 8)).and_then(|text| text.parse().ok());
    let facts = Facts {
        uid: u32::from(cut % 2),
        allowed_cpus: (0..4).collect(),
        watch: Duration::ZERO,
        ..Facts::default()
    };
    let findings = examine(&Machine::at(&*ROOT, facts), &PlannedRun { address, ..PlannedRun::default() });
    let _ = (exit_code(&findings), print::to_json(&findings).to_string(), print::render(&findings));
    let _ = SystemCpu::read_under(&ROOT);
    for (number, _) in changed {
        fs::write(ROOT.join(file(number).0), file(number).1).expect("a file");
    }
});

const FILES: &[(&str, &str)] = &[
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
    ("sys/devices/system/cpu/cpufreq/boost", "1\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
    ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n"),
    ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1-3\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("sys/kernel/mm/transparent_hugepage/defrag", "always defer [madvise] never\n"),
    ("sys/class/net/lo/mtu", "65536\n"),
    ("sys/class/net/lo/ifindex", "1\n"),
    ("sys/class/net/lo/queues/rx-0/rps_cpus", "00000000,00000000\n"),
    ("sys/class/net/lo/queues/rx-0/rps_flow_cnt", "0\n"),
    ("sys/class/net/eth0/mtu", "1500\n"),
    ("sys/class/net/eth0/ifindex", "2\n"),
    ("sys/class/net/eth0/speed", "10000\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/device/vendor", "0x8086\n"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("proc/stat", "cpu  1086 0 1048 75943 113 0 17 6 0 0\ncpu0 1 0 1 1 1 0 1 1 0 0\n"),
    ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 1000 kB\n"),
    ("proc/sys/kernel/osrelease", "6.12.1-fixture\n"),
    ("boot/config-6.12.1-fixture", "CONFIG_NET=y\n# CONFIG_IRQ_TIME_ACCOUNTING is not set\n"),
    ("proc/sys/kernel/perf_event_paranoid", "1\n"),
    ("proc/sys/kernel/io_uring_disabled", "0\n"),
    ("proc/sys/net/core/optmem_max", "131072\n"),
    ("proc/sys/net/core/wmem_max", "4194304\n"),
    ("proc/sys/net/core/rmem_max", "4194304\n"),
    ("proc/sys/net/core/rps_sock_flow_entries", "0\n"),
    ("proc/sys/net/ipv4/tcp_mem", "287901\t383868\t575802\n"),
    ("proc/sys/net/netfilter/nf_conntrack_count", "7\n"),
    (
        "proc/net/sockstat",
        "sockets: used 100\nTCP: inuse 5 orphan 0 tw 0 alloc 6 mem 80\nUDP: inuse 0 mem 0\n",
    ),
    ("proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
    ("proc/sys/net/ipv4/tcp_available_congestion_control", "reno cubic\n"),
    ("proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno cubic\n"),
    ("proc/net/packet", "sk RefCnt Type Proto  Iface R Rmem   User   Inode\n0000 3 3 0003 0 1 0 0 4711\n"),
    (
        "proc/net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
         eth0\t0000000A\tFE01A8C0\t0003\t0\t0\t100\t000000FF\t0\t0\t0\n",
    ),
    (
        "proc/net/ipv6_route",
        "20010db8000000000000000000000000 20 00000000000000000000000000000000 00 \
         fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n",
    ),
    (
        "proc/net/fib_trie",
        "Local:\n  +-- 192.168.1.0/24 2 0 2\n     |-- 192.168.1.7\n        /32 host LOCAL\n",
    ),
    ("proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"),
    ("proc/net/ip_tables_names", "raw\n"),
    ("proc/modules", "nf_tables 1 2 - Live 0x0\n"),
    ("proc/self/cgroup", "0::/bench.slice/run\n"),
    ("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"),
    ("sys/fs/cgroup/bench.slice/run/cpu.max", "max 100000\n"),
    (
        "sys/fs/cgroup/bench.slice/run/cpu.stat",
        "usage_usec 5\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
    ),
    ("sys/fs/cgroup/bench.slice/cpu.max", "50000 100000\n"),
    ("sys/fs/cgroup/bench.slice/memory.max", "max\n"),
    ("proc/77/comm", "lldpd\n"),
    ("proc/77/stat", "77 (ksoftirqd/0) S 2 0 0 0\n"),
    ("proc/77/schedstat", "1 2 3\n"),
];
