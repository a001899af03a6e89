//! The network of a lab: three namespaces and the links between them, built with iproute2 and removed on drop.
//!
//! ```text
//! copycost-PID-a           copycost-PID-r                            copycost-PID-b
//! eth0 10.0.0.1     <->    wire-a + tap-a   (relay)   tap-b + wire-b   <->     eth0 10.0.0.2
//! ```
//!
//! The names are for people and for tools that want to enter. What the lab itself holds on to is a descriptor of each
//! namespace, with a lock on it that says that somebody lives there: so the names of a lab that was killed can be told
//! from those of one that runs, in every PID namespace and whatever process has got its number meanwhile.

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

/// The server's end, as the first host of the original experiment.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The clients' end.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// What every name begins with.
pub(super) const PREFIX: &str = "copycost-";

/// Where iproute2 keeps the names.
pub(super) const NAMES: &str = "/run/netns";

/// As of a common network card. Frames of segmentation offload are larger and stay whole; with 9,000 or 65,535 the
/// sender's demand is the same within the noise, and the segments would be none that a network has.
const MTU: u32 = 1500;

/// Frames that may wait at a tap for the relay. The kernel's 500 are too few for a window of small segments: a
/// receive buffer of 1 MiB filled with segments of 1448 bytes is 724 of them, for each client.
const QUEUE: u32 = 16_384;

/// One of the two ends.
#[derive(Debug)]
pub struct NetworkEnd {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    watched: NamespaceStats,
}

/// Which CPUs take what arrives off a link: `rps_cpus`. A kernel without CONFIG_RPS has no such file.
#[derive(Debug)]
struct Steering(Option<File>);

/// What the kernel tells of the links and the packet sockets of a namespace, to be read from anywhere.
#[derive(Debug)]
struct NamespaceStats {
    links: File,
    packet_sockets: File,
}

/// A network that stands. Its names are removed when it is dropped; it is gone when nobody uses it any more.
#[derive(Debug)]
pub struct LabNetwork {
    /// Where the server is.
    pub server: NetworkEnd,
    /// Where the clients are.
    pub clients: NetworkEnd,
    /// Where the relay's links are.
    wire: NetworkEnd,
    /// At the server's end and on its wire.
    of_server: [Steering; 2],
    /// Likewise at the clients'.
    of_clients: [Steering; 2],
    _names: Names,
}

/// The names of a network that stands.
#[derive(Debug)]
struct Names([String; 3]);

/// The names of all networks of this process: for an end without unwinding.
static STANDING: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl LabNetwork {
    /// Builds one, and opens the taps at the server's and at the clients' wire.
    pub fn build() -> Result<(Self, [Tap; 2]), LabError> {
        let names = Names::new();
        let [server, wire, clients] = on_a_thread(|| {
            let new = |name: &String| new_namespace(name);
            Ok([new(&names.0[0])?, new(&names.0[1])?, new(&names.0[2])?])
        })?;
        inside(&wire, || join(&names))?;
        let (server, steer_server) = end(&names.0[0], server, SERVER, CLIENTS)?;
        let (clients, steer_clients) = end(&names.0[2], clients, CLIENTS, SERVER)?;
        let (taps, [steer_a, steer_b], watched) = inside(&wire, open_wire)?;
        let wire = NetworkEnd { name: names.0[1].clone(), netns: wire, watched };
        let (of_server, of_clients) = ([steer_server, steer_a], [steer_clients, steer_b]);
        Ok((Self { server, clients, wire, of_server, of_clients, _names: names }, taps))
    }

    /// The three namespaces.
    pub fn ends(&self) -> [&NetworkEnd; 3] {
        [&self.server, &self.wire, &self.clients]
    }

    /// Has the work of softirq for each end be done on that end's CPUs; with none, by whoever causes it.
    ///
    /// Otherwise the relay's write would run the receiving half of TCP, and be charged with what it costs the sender to
    /// hear an acknowledgement: 12 to 55 ns for each KiB sent. And what TCP sends from a timer or when the relay has let
    /// go of a frame would overtake, on the relay's CPU, what the sender's own CPU still has in its queue.
    pub fn steer(&self, server: &[usize], clients: &[usize]) -> Result<(), LabError> {
        self.of_server.iter().try_for_each(|link| link.steer(server))?;
        self.of_clients.iter().try_for_each(|link| link.steer(clients))
    }

    /// Frames that any link has dropped so far.
    pub fn dropped(&self) -> u64 {
        self.ends().iter().map(|end| end.dropped()).sum()
    }
}

impl NetworkEnd {
    /// `/proc/net/packet` of this namespace.
    pub fn packet_sockets(&self) -> String {
        read(&self.watched.packet_sockets)
    }

    fn dropped(&self) -> u64 {
        dropped(&read(&self.watched.links))
    }
}

impl Steering {
    /// For a link of the namespace whose links the calling thread's `/sys` shows.
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
        standing().extend(names.iter().cloned());
        Self(names)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        remove(&self.0);
        standing().retain(|name| !self.0.contains(name));
    }
}

fn standing() -> std::sync::MutexGuard<'static, Vec<String>> {
    STANDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the names of every network of this process, for an end that unwinds nothing.
pub fn remove_all() {
    let names = std::mem::take(&mut *standing());
    remove(&names);
}

/// Removes names, those that are there.
pub(super) fn remove(names: &[String]) {
    let there = |name: &&String| Path::new(NAMES).join(name).exists();
    let lines: Vec<_> = names.iter().filter(there).map(|name| format!("netns del {name}")).collect();
    if !lines.is_empty() {
        // Whatever cannot be removed now is swept by the next start.
        let _ = batch("remove network namespaces", &lines, true);
    }
}

/// A new namespace, marked as in use before it has a name.
fn new_namespace(name: &str) -> Result<Netns, LabError> {
    let netns = Netns::unshare().map_err(LabError::os("a network namespace could not be made"))?;
    netns.mark_used().map_err(LabError::os("a network namespace could not be locked"))?;
    let thread = fs::read_link("/proc/thread-self").map_err(LabError::os("/proc/thread-self"))?;
    let thread = thread.file_name().unwrap_or_default().to_string_lossy().into_owned();
    batch("name a network namespace", &[format!("netns attach {name} {thread}")], false)?;
    Ok(netns)
}

/// Addresses of links, local ones. The relay changes nothing in a frame, so that each end must know the other's.
const fn hardware(end: Ipv4Addr) -> &'static str {
    if end.octets()[3] == SERVER.octets()[3] { "02:00:00:00:00:0a" } else { "02:00:00:00:00:0b" }
}

/// From within the wire's namespace: a link to each end, and a tap on the near side of it.
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
    // Promiscuous: what passes is addressed to the far end.
    let up = ["wire-a", "wire-b", "tap-a", "tap-b"].map(|link| format!("link set {link} promisc on up"));
    batch("set the wire up", &up, false)
}

/// `ip` knows no such link, or the kernel does not.
fn of_kind(kind: &'static str) -> impl FnOnce(LabError) -> LabError {
    move |error| match error {
        LabError::Ip { told, .. }
            if told.contains("not supported") || told.contains("nknown device type") =>
        {
            LabError::NoLinks { kind, told }
        }
        error => error,
    }
}

fn end(name: &str, netns: Netns, own: Ipv4Addr, other: Ipv4Addr) -> Result<(NetworkEnd, Steering), LabError> {
    let (steering, watched) = inside(&netns, || {
        quiet();
        // After a pause a connection would begin anew with ten segments, and a turn follows a pause.
        sysctl("net/ipv4/tcp_slow_start_after_idle", "0");
        // As on the host, which senders have their bounds from.
        if let Ok(optmem) = fs::read_to_string("/proc/sys/net/core/optmem_max") {
            sysctl("net/core/optmem_max", optmem.trim());
        }
        let lines = [
            "link set lo up".to_owned(),
            format!("address add {own}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("neighbour add {other} lladdr {} dev eth0 nud permanent", hardware(other)),
        ];
        batch("set an end up", &lines, false)?;
        with_own_sysfs(|| Ok((Steering::of("eth0"), NamespaceStats::open()?)))
    })?;
    Ok((NetworkEnd { name: name.to_owned(), netns, watched }, steering))
}

/// No neighbour discovery: frames on the wire are those of the measurement.
fn quiet() {
    sysctl("net/ipv6/conf/all/disable_ipv6", "1");
    sysctl("net/ipv6/conf/default/disable_ipv6", "1");
}

/// What is not there need not be set.
fn sysctl(name: &str, value: &str) {
    let _ = fs::write(Path::new("/proc/sys").join(name), value);
}

/// Shows the calling thread, which must be of no further use, the links of its network namespace.
fn with_own_sysfs<T>(work: impl FnOnce() -> Result<T, LabError>) -> Result<T, LabError> {
    netns::unshare_mounts().map_err(LabError::os("a mount namespace could not be made"))?;
    netns::mount_sysfs(Path::new("/sys")).map_err(LabError::os("sysfs could not be mounted"))?;
    work()
}

impl NamespaceStats {
    fn open() -> Result<Self, LabError> {
        // A process' /proc/net is that of its main thread.
        let open = |name| {
            File::open(Path::new("/proc/thread-self/net").join(name)).map_err(LabError::os("/proc/net"))
        };
        Ok(Self { links: open("dev")?, packet_sockets: open("packet")? })
    }
}

/// From within the wire's namespace: both taps, and both links to the ends.
fn open_wire() -> Result<([Tap; 2], [Steering; 2], NamespaceStats), LabError> {
    with_own_sysfs(|| {
        // The nodes lie where only this thread sees them, and go with it.
        let nodes = Path::new("/dev");
        let a = device("tap-a")?;
        let b = device("tap-b")?;
        netns::mount_tmpfs(nodes).map_err(LabError::os("a place for device nodes could not be mounted"))?;
        let taps = [open_tap(&nodes.join("tap-a"), a)?, open_tap(&nodes.join("tap-b"), b)?];
        Ok((taps, [Steering::of("wire-a"), Steering::of("wire-b")], NamespaceStats::open()?))
    })
}

/// The device of a macvtap.
fn device(link: &str) -> Result<(u32, u32), LabError> {
    let folder = Path::new("/sys/class/net").join(link).join("macvtap");
    let told = fs::read_dir(&folder)
        .and_then(|mut taps| taps.next().transpose())
        .and_then(|tap| fs::read_to_string(tap.map(|tap| tap.path().join("dev")).unwrap_or_default()))
        .map_err(LabError::os("the device of a macvtap could not be found"))?;
    let number = |text: &str| text.trim().parse().ok();
    let numbers = told.split_once(':').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
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

/// The whole of a file of `/proc` that was opened before.
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

/// The dropped frames of all links of a `/proc/net/dev`, received and sent.
fn dropped(links: &str) -> u64 {
    // Eight columns for receiving, of which the fourth is drops, and the same for sending.
    let of_link = |line: &str| {
        let (_, counts) = line.split_once(':')?;
        let count = |column: usize| counts.split_ascii_whitespace().nth(column)?.parse::<u64>().ok();
        Some(count(3)?.saturating_add(count(11)?))
    };
    links.lines().filter_map(of_link).fold(0, u64::saturating_add)
}

/// A set of CPUs as sysfs takes it: groups of 32 bits in hexadecimal, the highest first.
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
