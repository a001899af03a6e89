//! The network of a lab: three namespaces and the links between them, built with iproute2 and removed on drop.
//!
//! ```text
//! copycost-PID-a           copycost-PID-r                            copycost-PID-b
//! eth0 10.0.0.1     <->    wire-a + tap-a   (relay)   tap-b + wire-b   <->     eth0 10.0.0.2
//! ```
//!
//! The names are for people and for tools such as `ip netns exec`. The lab itself holds a file descriptor of each
//! namespace and a lock on it that marks the namespace as used. With the lock, the sweep can distinguish the names of a
//! killed lab from those of a running one, in every PID namespace and even if another process has got the PID.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::LabError;
use super::iproute::{batch, inside, on_a_thread};
use copycost::internals::sys::netns::{self, Netns};
use copycost::internals::sys::tap::Tap;

/// The address of the server's end; the first host of the original experiment has the same.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The address of the clients' end.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The prefix of every namespace name.
pub(super) const PREFIX: &str = "copycost-";

/// The directory in which iproute2 keeps the names of namespaces.
pub(super) const NAMES: &str = "/run/netns";

/// The usual MTU of Ethernet. With segmentation offload the frames are larger and stay whole, so the sender's CPU time
/// is the same with 9,000 or 65,535 within the noise.
const MTU: u32 = 1500;

/// Frames that may wait at a tap for the relay. The kernel's default of 500 is too small: a window of 1 MiB filled with
/// segments of 1448 bytes takes 724 frames per client.
const QUEUE: u32 = 16_384;

/// A namespace of the lab: that of the server, of the clients or of the wire.
#[derive(Debug)]
pub struct NetworkEnd {
    /// The name of the namespace, for `ip netns exec`.
    pub name: String,
    /// A descriptor of the namespace, for threads that enter it.
    pub netns: Netns,
    stats: NamespaceStats,
}

/// The `rps_cpus` file of a link: the CPUs that process its received packets. `None` on a kernel without CONFIG_RPS.
#[derive(Debug)]
struct Steering(Option<File>);

/// Open files of `/proc/net` of a namespace, which any thread can read without entering it.
#[derive(Debug)]
struct NamespaceStats {
    links: File,
    packet_sockets: File,
}

/// The network of a running lab. Drop removes the names; the kernel removes the namespaces with their last user.
#[derive(Debug)]
pub struct LabNetwork {
    /// The namespace of the server.
    pub server: NetworkEnd,
    /// The namespace of the clients.
    pub clients: NetworkEnd,
    /// The namespace with the relay's links.
    wire: NetworkEnd,
    /// For eth0 of the server and for wire-a.
    server_steering: [Steering; 2],
    /// For eth0 of the clients and for wire-b.
    client_steering: [Steering; 2],
    _names: Names,
}

/// The names of the three namespaces of a lab; drop removes them.
#[derive(Debug)]
struct Names([String; 3]);

/// The names of all labs of this process. [`remove_all`] needs them when the process ends without unwinding.
static NAMES_IN_USE: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl LabNetwork {
    /// Builds a network. Returns it with the taps of wire-a and wire-b.
    pub fn build() -> Result<(Self, [Tap; 2]), LabError> {
        let names = Names::new();
        let [server, wire, clients] = on_a_thread(|| {
            let new = |name: &String| new_namespace(name);
            Ok([new(&names.0[0])?, new(&names.0[1])?, new(&names.0[2])?])
        })?;
        inside(&wire, || join(&names))?;
        let (server, steer_server) = end(&names.0[0], server, SERVER, CLIENTS)?;
        let (clients, steer_clients) = end(&names.0[2], clients, CLIENTS, SERVER)?;
        let (taps, [steer_wire_a, steer_wire_b], stats) = inside(&wire, open_wire)?;
        let wire = NetworkEnd { name: names.0[1].clone(), netns: wire, stats };
        let (server_steering, client_steering) =
            ([steer_server, steer_wire_a], [steer_clients, steer_wire_b]);
        Ok((Self { server, clients, wire, server_steering, client_steering, _names: names }, taps))
    }

    /// The namespaces of the server, the wire and the clients.
    pub fn ends(&self) -> [&NetworkEnd; 3] {
        [&self.server, &self.wire, &self.clients]
    }

    /// Moves the softirq work of each end to the CPUs of that end. An empty list leaves it on the CPU that causes it.
    ///
    /// Without this the relay's write would run the receive path of TCP, and the relay would pay for the
    /// acknowledgements that the sender receives: 12 to 55 ns per KiB sent. Also, segments that TCP sends on the
    /// relay's CPU, from a timer or when a frame is freed, could overtake segments that still wait in the queue of the
    /// sender's CPU.
    pub fn steer(&self, server: &[usize], clients: &[usize]) -> Result<(), LabError> {
        self.server_steering.iter().try_for_each(|link| link.steer(server))?;
        self.client_steering.iter().try_for_each(|link| link.steer(clients))
    }

    /// The frames that all links of the lab have dropped so far.
    pub fn dropped(&self) -> u64 {
        self.ends().iter().map(|end| end.dropped()).sum()
    }
}

impl NetworkEnd {
    /// `/proc/net/packet` of this namespace.
    pub fn packet_sockets(&self) -> String {
        read(&self.stats.packet_sockets)
    }

    fn dropped(&self) -> u64 {
        dropped(&read(&self.stats.links))
    }
}

impl Steering {
    /// For a link of the network namespace that the calling thread's `/sys` shows.
    fn of(link: &str) -> Self {
        let file = Path::new("/sys/class/net").join(link).join("queues/rx-0/rps_cpus");
        Self(fs::OpenOptions::new().write(true).open(file).ok())
    }

    fn steer(&self, cpus: &[usize]) -> Result<(), LabError> {
        let Some(file) = &self.0 else { return Ok(()) };
        file.write_all_at(mask(cpus).as_bytes(), 0).map_err(LabError::os("RPS could not be set"))
    }
}

impl Names {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let lab = match NUMBER.fetch_add(1, Ordering::Relaxed) {
            0 => format!("{PREFIX}{pid}"),
            number => format!("{PREFIX}{pid}.{number}"),
        };
        let names = ["a", "r", "b"].map(|end| format!("{lab}-{end}"));
        names_in_use().extend(names.iter().cloned());
        Self(names)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        remove(&self.0);
        names_in_use().retain(|name| !self.0.contains(name));
    }
}

fn names_in_use() -> std::sync::MutexGuard<'static, Vec<String>> {
    NAMES_IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the names of all labs of this process. For exits that do not unwind, such as a signal.
pub fn remove_all() {
    let names = std::mem::take(&mut *names_in_use());
    remove(&names);
}

/// Removes those of the names that exist.
pub(super) fn remove(names: &[String]) {
    let exists = |name: &&String| Path::new(NAMES).join(name).exists();
    let lines: Vec<_> = names.iter().filter(exists).map(|name| format!("netns del {name}")).collect();
    if !lines.is_empty() {
        // The next lab sweeps the names that cannot be removed now.
        let _ = batch("remove network namespaces", &lines, true);
    }
}

/// Makes a namespace. It is marked as used before it has a name, so that no sweep can remove it.
fn new_namespace(name: &str) -> Result<Netns, LabError> {
    let netns = Netns::unshare().map_err(LabError::os("a network namespace could not be made"))?;
    netns.mark_used().map_err(LabError::os("a network namespace could not be locked"))?;
    let thread = fs::read_link("/proc/thread-self").map_err(LabError::os("/proc/thread-self"))?;
    let thread = thread.file_name().unwrap_or_default().to_string_lossy().into_owned();
    batch("name a network namespace", &[format!("netns attach {name} {thread}")], false)?;
    Ok(netns)
}

/// Locally administered MAC addresses. They are fixed because the relay does not change frames, so each end must know
/// the address of the other.
const fn hardware(end: Ipv4Addr) -> &'static str {
    if end.octets()[3] == SERVER.octets()[3] { "02:00:00:00:00:0a" } else { "02:00:00:00:00:0b" }
}

/// Makes a link to each end and a tap on its near side. Must run in the namespace of the wire.
fn join(names: &Names) -> Result<(), LabError> {
    quiet();
    let veth = |wire: &str, end: &str, address: Ipv4Addr| {
        format!(
            "link add {wire} mtu {MTU} numtxqueues 1 numrxqueues 1 type veth peer name eth0 \
             address {} mtu {MTU} numtxqueues 1 numrxqueues 1 netns {end}",
            hardware(address)
        )
    };
    batch(
        "add a veth link",
        &[veth("wire-a", &names.0[0], SERVER), veth("wire-b", &names.0[2], CLIENTS)],
        false,
    )
    .map_err(of_kind("veth"))?;
    let tap = |tap: &str, wire: &str| {
        format!("link add link {wire} name {tap} txqueuelen {QUEUE} type macvtap mode passthru")
    };
    batch("add a macvtap link", &[tap("tap-a", "wire-a"), tap("tap-b", "wire-b")], false)
        .map_err(of_kind("macvtap"))?;
    // Promiscuous, because the frames are addressed to the far end.
    let up = ["wire-a", "wire-b", "tap-a", "tap-b"].map(|link| format!("link set {link} promisc on up"));
    batch("set the wire up", &up, false)
}

/// Turns the error of `ip` into [`LabError::NoLinks`] if `ip` or the kernel does not know this kind of link.
fn of_kind(kind: &'static str) -> impl FnOnce(LabError) -> LabError {
    move |error| match error {
        LabError::Ip { output, .. }
            if output.contains("not supported") || output.contains("nknown device type") =>
        {
            LabError::NoLinks { kind, output }
        }
        error => error,
    }
}

fn end(
    name: &str,
    netns: Netns,
    local: Ipv4Addr,
    other: Ipv4Addr,
) -> Result<(NetworkEnd, Steering), LabError> {
    let (steering, stats) = inside(&netns, || {
        quiet();
        // Connections are idle between runs. By default each run would then begin again in slow start, with ten
        // segments.
        sysctl("net/ipv4/tcp_slow_start_after_idle", "0");
        // The same value as on the host, from which senders derive their limits.
        if let Ok(optmem) = fs::read_to_string("/proc/sys/net/core/optmem_max") {
            sysctl("net/core/optmem_max", optmem.trim());
        }
        let lines = [
            "link set lo up".to_owned(),
            format!("address add {local}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("neighbour add {other} lladdr {} dev eth0 nud permanent", hardware(other)),
        ];
        batch("set an end up", &lines, false)?;
        with_own_sysfs(|| Ok((Steering::of("eth0"), NamespaceStats::open()?)))
    })?;
    Ok((NetworkEnd { name: name.to_owned(), netns, stats }, steering))
}

/// Disables IPv6 and its neighbour discovery, so that the wire carries only frames of the measurement.
fn quiet() {
    sysctl("net/ipv6/conf/all/disable_ipv6", "1");
    sysctl("net/ipv6/conf/default/disable_ipv6", "1");
}

/// Sets a value under `/proc/sys`. A kernel without this setting is not an error.
fn sysctl(name: &str, value: &str) {
    let _ = fs::write(Path::new("/proc/sys").join(name), value);
}

/// Runs `work` with a `/sys` that shows the links of the calling thread's network namespace. The thread keeps its new
/// mounts, so it must not be used for anything else afterwards.
fn with_own_sysfs<T>(work: impl FnOnce() -> Result<T, LabError>) -> Result<T, LabError> {
    netns::unshare_mounts().map_err(LabError::os("a mount namespace could not be made"))?;
    netns::mount_sysfs(Path::new("/sys")).map_err(LabError::os("sysfs could not be mounted"))?;
    work()
}

impl NamespaceStats {
    fn open() -> Result<Self, LabError> {
        // /proc/net is that of the main thread.
        let open = |name| {
            File::open(Path::new("/proc/thread-self/net").join(name)).map_err(LabError::os("/proc/net"))
        };
        Ok(Self { links: open("dev")?, packet_sockets: open("packet")? })
    }
}

/// Opens both taps and the steering files of both links. Must run in the namespace of the wire.
fn open_wire() -> Result<([Tap; 2], [Steering; 2], NamespaceStats), LabError> {
    with_own_sysfs(|| {
        // Only this thread sees the device nodes, and they vanish when it ends.
        let nodes = Path::new("/dev");
        let a = device("tap-a")?;
        let b = device("tap-b")?;
        netns::mount_tmpfs(nodes).map_err(LabError::os("a place for device nodes could not be mounted"))?;
        let taps = [open_tap(&nodes.join("tap-a"), a)?, open_tap(&nodes.join("tap-b"), b)?];
        Ok((taps, [Steering::of("wire-a"), Steering::of("wire-b")], NamespaceStats::open()?))
    })
}

/// The major and minor number of a macvtap's device.
fn device(link: &str) -> Result<(u32, u32), LabError> {
    let folder = Path::new("/sys/class/net").join(link).join("macvtap");
    let numbers = fs::read_dir(&folder)
        .and_then(|mut taps| taps.next().transpose())
        .and_then(|tap| fs::read_to_string(tap.map(|tap| tap.path().join("dev")).unwrap_or_default()))
        .map_err(LabError::os("the device of a macvtap could not be found"))?;
    let number = |text: &str| text.trim().parse().ok();
    let numbers = numbers.split_once(':').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    numbers.ok_or_else(|| LabError::Os {
        what: "the device of a macvtap has no number",
        error: std::io::ErrorKind::InvalidData.into(),
    })
}

fn open_tap(node: &Path, (major, minor): (u32, u32)) -> Result<Tap, LabError> {
    let failed = |what: &'static str| move |error| LabError::Device { what, major, minor, error };
    netns::make_node(node, (major, minor)).map_err(failed("made"))?;
    let file = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(node);
    Tap::new(file.map_err(failed("opened"))?).map_err(LabError::os("a tap could not be set to whole frames"))
}

/// The contents of an open file of `/proc`, 64 KiB at most.
fn read(file: &File) -> String {
    let mut text = vec![0; 64 << 10];
    let mut length = 0;
    while let Ok(n) = file.read_at(&mut text[length..], length as u64) {
        length += n;
        if n == 0 || length == text.len() {
            break;
        }
    }
    String::from_utf8_lossy(&text[..length]).into_owned()
}

/// The sum of dropped frames over all links in the text of `/proc/net/dev`, received and sent.
fn dropped(links: &str) -> u64 {
    // Eight columns for receiving, the fourth of which counts drops, and eight for sending.
    let of_link = |line: &str| {
        let (_, counts) = line.split_once(':')?;
        let count = |column: usize| counts.split_ascii_whitespace().nth(column)?.parse::<u64>().ok();
        Some(count(3)?.saturating_add(count(11)?))
    };
    links.lines().filter_map(of_link).fold(0, u64::saturating_add)
}

/// A CPU mask in the format of sysfs: groups of 32 bits in hexadecimal, the highest first.
fn mask(cpus: &[usize]) -> String {
    let groups = cpus.iter().max().map_or(1, |highest| highest / 32 + 1);
    let group = |group: usize| {
        let bits =
            cpus.iter().filter(|cpu| **cpu / 32 == group).fold(0u32, |bits, cpu| bits | 1 << (cpu % 32));
        format!("{bits:08x}")
    };
    (0..groups).rev().map(group).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_in_groups_of_32() {
        assert_eq!(mask(&[]), "00000000");
        assert_eq!(mask(&[0, 1]), "00000003");
        assert_eq!(mask(&[1, 33, 64]), "00000001,00000002,00000002");
    }

    #[test]
    fn drops_are_summed_over_links_and_directions() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
                    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n  \
                    eth0: 5 6 0 7 0 0 0 0 9 9 0 3 0 0 0 0\n";
        assert_eq!(dropped(text), 10);
    }
}
