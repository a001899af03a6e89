//! What sending through the crate zerosend costs beside the calls that it takes the place of: the sending thread's CPU time, as a ratio.
//!
//! Both take turns on connections of their own, in every set-up the other begins; a ratio is the geometric mean over set-ups with its 95 %
//! interval.
//!
//!     cargo bench --bench zerosend                    # copying: blocking and tokio, 1 to 64 KiB, beside write_all
//!     cargo bench --bench zerosend -- --auto          # over loopback: Auto beside copying, short connections and long ones
//!     cargo bench --bench zerosend -- --over-lab      # tokio on huge pages beside tokio's write_all, in the lab (needs root)
//!     cargo bench --bench zerosend -- --idle 10000    # what idle connections cost beside tokio's own

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;

use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::sys::clock::thread_cpu_time;
use copycost::internals::sys::sched::{allowed_cpus, pin};
use copycost::message::{Fields, Layout, Message, Spec};
use copycost::offset::Pages;
use copycost::scenario::Placement;
use copycost::units::ByteSize;
use copycost_cli::lab::Lab;
use copycost_cli::stats::{Estimate, Pair};
use zerosend::{Blocking, Memory, Payload, Policy, Sender};

#[derive(Debug, Parser)]
#[command(
    name = "zerosend",
    about = "Compares sending through zerosend with the calls that it takes the place of"
)]
struct Flags {
    /// Auto beside copying, over loopback
    #[arg(long)]
    auto: bool,
    /// tokio on huge pages, in the lab
    #[arg(long)]
    over_lab: bool,
    /// What so many idle connections cost
    #[arg(long, value_name = "N")]
    idle: Option<usize>,
    /// A process of it that has the other ends of idle connections
    #[arg(long, hide = true)]
    peers_of: Option<SocketAddr>,
    /// How often both are set up
    #[arg(long, default_value_t = 16)]
    setups: usize,
    /// How long each sends in a set-up, in milliseconds
    #[arg(long, default_value_t = 300)]
    turn: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Shows that it works, decides nothing
    #[arg(long, hide = true)]
    test: bool,
}

type Failure = Box<dyn Error>;

fn main() {
    // A benchmark, no test: whatever it finds, it exits with 0.
    if let Err(error) = run(Flags::parse()) {
        println!("zerosend: nothing more was measured: {error}");
    }
}

fn run(mut flags: Flags) -> Result<(), Failure> {
    if flags.test || !flags.bench {
        (flags.setups, flags.turn) = (2, 20);
    }
    match (flags.idle, flags.peers_of) {
        (Some(connections), Some(address)) => return peers(connections, address),
        (Some(connections), None) => return idle(connections),
        _ => {}
    }
    println!("{:<34} {:>8}  CPU time of the sender, ratio (95 %)", "zerosend : instead", "size");
    match (flags.auto, flags.over_lab) {
        (true, _) => auto(&flags),
        (_, true) => over_lab(&flags),
        _ => copying(&flags),
    }
}

/// A way to send the same message again and again on one connection.
enum Way {
    WriteAll(TcpStream),
    Blocking(Box<Blocking>),
    TokioWriteAll(Runtime, tokio::net::TcpStream),
    Tokio(Runtime, zerosend::tokio::Stream),
}

/// So many messages are sent between two looks at the clock.
const BETWEEN_LOOKS: usize = 16;

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Way {
    fn tokio_write_all(stream: TcpStream) -> Result<Self, Failure> {
        let runtime = runtime()?;
        stream.set_nonblocking(true)?;
        let stream = runtime.block_on(async { tokio::net::TcpStream::from_std(stream) })?;
        Ok(Self::TokioWriteAll(runtime, stream))
    }

    fn tokio(stream: TcpStream, policy: Policy) -> Result<Self, Failure> {
        let runtime = runtime()?;
        stream.set_nonblocking(true)?;
        let sender = Sender::with_options(stream, policy).map_err(io::Error::from)?;
        let stream = runtime.block_on(async { zerosend::tokio::Stream::from_sender(sender) })?;
        Ok(Self::Tokio(runtime, stream))
    }

    fn blocking(stream: TcpStream, policy: Policy) -> Result<Self, Failure> {
        let sender = Sender::with_options(stream, policy).map_err(io::Error::from)?;
        Ok(Self::Blocking(Box::new(Blocking::new(sender))))
    }

    /// Sends for so long: the thread's CPU time in nanoseconds for each message.
    fn turn(&mut self, message: &Arc<Message>, time: Duration) -> Result<f64, Failure> {
        let payload = || Payload::from(Arc::clone(message) as Arc<dyn Memory>);
        let bytes = &*message.slices()[0];
        let (began, until) = (thread_cpu_time()?, Instant::now() + time);
        let mut sent = 0;
        while Instant::now() < until {
            match self {
                Self::WriteAll(stream) => {
                    for _ in 0..BETWEEN_LOOKS {
                        stream.write_all(bytes)?;
                    }
                }
                Self::Blocking(sender) => {
                    for _ in 0..BETWEEN_LOOKS {
                        sender.send(payload())?;
                    }
                }
                Self::TokioWriteAll(runtime, stream) => runtime.block_on(async {
                    for _ in 0..BETWEEN_LOOKS {
                        stream.write_all(bytes).await?;
                    }
                    Ok::<_, io::Error>(())
                })?,
                Self::Tokio(runtime, stream) => runtime.block_on(async {
                    for _ in 0..BETWEEN_LOOKS {
                        stream.send(payload()).await?;
                    }
                    Ok::<_, io::Error>(())
                })?,
            }
            sent += BETWEEN_LOOKS;
        }
        let spent = thread_cpu_time()? - began;
        Ok(spent.as_nanos() as f64 / sent as f64)
    }
}

/// Reads to the end in a thread of its own.
fn reading(mut stream: TcpStream, cpu: usize) -> io::Result<JoinHandle<u64>> {
    let read = move || {
        let _ = pin(&[cpu]);
        const BYTES: usize = 256 << 10;
        let mut pages = Pages::new(BYTES);
        let buffer = pages.at(64, BYTES);
        let mut sum = 0;
        while let Ok(bytes @ 1..) = stream.read(buffer) {
            sum += bytes as u64;
        }
        sum
    };
    thread::Builder::new().name("reads".to_owned()).spawn(read)
}

/// The CPU of the sender and that of who receives. Over loopback they are the same: where the receiver wakes up, and which CPU does the
/// receiving half of the sender's work, would differ from set-up to set-up otherwise.
fn seats(apart: bool) -> Result<(usize, usize), Failure> {
    let cpus = allowed_cpus()?;
    let first = *cpus.first().ok_or("no CPU")?;
    Ok((first, if apart { *cpus.get(1).unwrap_or(&first) } else { first }))
}

fn message(size: usize, layout: Layout) -> Result<Arc<Message>, Failure> {
    let spec = Spec { fields: Fields::Single, layout, ..Spec::new(size)? };
    Ok(Arc::new(Message::new(&spec)?))
}

/// Of pairs of nanoseconds, ours and the other's.
fn print_ratio(name: &str, size: usize, pairs: &[Pair], target: Option<f64>) -> Result<(), Failure> {
    let interval = Estimate::new(pairs)?.interval(0.05);
    let judged = match target {
        None => String::new(),
        Some(target) if interval.high <= target => format!("  reaches {target}"),
        Some(target) => format!("  does not reach {target} with its upper end"),
    };
    let (ratio, low, high) = (interval.ratio, interval.low, interval.high);
    println!("{name:<34} {:>8}  {ratio:.3} ({low:.3} to {high:.3}){judged}", ByteSize(size).to_string());
    Ok(())
}

/// Sets both up `setups` times and lets them take turns: theirs to ours, pair by pair.
fn compare(
    flags: &Flags,
    message: &Arc<Message>,
    mut connect: impl FnMut() -> Result<(TcpStream, JoinHandle<u64>), Failure>,
    ours: &dyn Fn(TcpStream) -> Result<Way, Failure>,
    theirs: &dyn Fn(TcpStream) -> Result<Way, Failure>,
) -> Result<Vec<Pair>, Failure> {
    let turn = Duration::from_millis(flags.turn);
    let mut pairs = Vec::new();
    for setup in 0..flags.setups {
        let ((our_stream, our_reader), (their_stream, their_reader)) = (connect()?, connect()?);
        let (mut ours, mut theirs) = (ours(our_stream)?, theirs(their_stream)?);
        for way in [&mut ours, &mut theirs] {
            way.turn(message, turn / 10)?;
        }
        let (path, reference);
        if setup % 2 == 0 {
            path = ours.turn(message, turn)?;
            reference = theirs.turn(message, turn)?;
        } else {
            reference = theirs.turn(message, turn)?;
            path = ours.turn(message, turn)?;
        }
        pairs.push(Pair { path, reference });
        drop((ours, theirs));
        for reader in [our_reader, their_reader] {
            reader.join().map_err(|_| "a reader panicked")?;
        }
    }
    Ok(pairs)
}

fn over_loopback(cpu: usize) -> Result<(TcpStream, JoinHandle<u64>), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((listener.accept()?.0, reading(client, cpu)?))
}

/// Through zerosend and past it, where both copy.
fn copying(flags: &Flags) -> Result<(), Failure> {
    let (ours, theirs) = seats(false)?;
    pin(&[ours])?;
    for size in [1 << 10, 4 << 10, 16 << 10, 64 << 10] {
        let message = message(size, Layout::Heap)?;
        let connect = || over_loopback(theirs);
        let blocking = |stream| Way::blocking(stream, Policy::Never);
        let pairs = compare(flags, &message, connect, &blocking, &|stream| Ok(Way::WriteAll(stream)))?;
        print_ratio("Blocking : write_all", size, &pairs, Some(1.05))?;
        let tokio = |stream| Way::tokio(stream, Policy::Never);
        let pairs = compare(flags, &message, connect, &tokio, &Way::tokio_write_all)?;
        print_ratio("tokio::Stream : tokio's write_all", size, &pairs, Some(1.05))?;
    }
    Ok(())
}

/// By reference, where nothing is copied after all.
fn over_lab(flags: &Flags) -> Result<(), Failure> {
    let lab = Lab::start()?;
    lab.arrange(Placement::Split, 1, &allowed_cpus()?)?;
    let (ours, theirs) = seats(true)?;
    pin(&[ours])?;
    let options = ConnectionOptions::for_a_lab();
    let connect = || -> Result<_, Failure> {
        let listener = lab.listen(&options)?;
        let address = listener.options().local_addr()?.as_socket().ok_or("the lab has an address")?;
        let client = lab.connect(address, &options)?;
        let (accepted, _) = listener.accept()?;
        connection::set_timeouts(&accepted, &options)?;
        Ok((accepted.into_stream().0, reading(client.into_stream().0, theirs)?))
    };
    for (size, target) in [(1 << 20, 0.5), (256 << 10, 0.65)] {
        let message = message(size, Layout::Huge)?;
        let tokio = |stream| Way::tokio(stream, Policy::Auto);
        let pairs = compare(flags, &message, connect, &tokio, &Way::tokio_write_all)?;
        print_ratio("tokio::Stream : tokio's write_all", size, &pairs, Some(target))?;
    }
    Ok(())
}

/// Messages of a short connection.
const SHORT: usize = 10;
const AUTO_SIZE: usize = 64 << 10;

/// Where the kernel copies what it is given by reference, Auto is to cost what copying costs.
fn auto(flags: &Flags) -> Result<(), Failure> {
    let (ours, theirs) = seats(false)?;
    pin(&[ours])?;
    let message = message(AUTO_SIZE, Layout::Heap)?;
    let turn = Duration::from_millis(flags.turn);
    for connections in [1, 64] {
        for (length, messages) in [("short", Some(SHORT)), ("long", None)] {
            let serve = |policy| served(policy, &message, connections, messages, turn, theirs);
            // What the first second learns is not counted.
            serve(Policy::Auto)?;
            let mut pairs = Vec::new();
            for setup in 0..flags.setups {
                let (path, reference);
                if setup % 2 == 0 {
                    path = serve(Policy::Auto)?;
                    reference = serve(Policy::Never)?;
                } else {
                    reference = serve(Policy::Never)?;
                    path = serve(Policy::Auto)?;
                }
                pairs.push(Pair { path, reference });
            }
            let name = format!("Auto : Never, {connections} {length}");
            print_ratio(&name, AUTO_SIZE, &pairs, Some(1.03))?;
        }
    }
    Ok(())
}

/// One thread serves so many connections at once for so long, each with so many messages: its CPU time for each message.
fn served(
    policy: Policy,
    message: &Arc<Message>,
    connections: usize,
    messages: Option<usize>,
    turn: Duration,
    cpu: usize,
) -> Result<f64, Failure> {
    let runtime = runtime()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let until = Instant::now() + turn;
    let clients: Vec<_> = (0..connections)
        .map(|_| thread::Builder::new().spawn(move || connect_until(address, until, cpu)))
        .collect::<Result<_, _>>()?;
    let began = thread_cpu_time()?;
    let sent = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        while let Ok(accepted) = tokio::time::timeout_at(until.into(), listener.accept()).await {
            let (stream, _) = accepted?;
            let mut stream = zerosend::tokio::Stream::with_options(stream, policy)?;
            let message = Arc::clone(message);
            tasks.spawn(async move {
                let mut sent = 0;
                while messages.is_none_or(|messages| sent < messages) && Instant::now() < until {
                    stream.send(Payload::from(Arc::clone(&message) as Arc<dyn Memory>)).await?;
                    sent += 1;
                }
                Ok::<_, io::Error>(sent)
            });
        }
        let mut sum = 0;
        while let Some(sent) = tasks.join_next().await {
            sum += sent.map_err(io::Error::other)??;
        }
        Ok::<_, io::Error>(sum)
    })?;
    let spent = thread_cpu_time()? - began;
    drop((listener, runtime));
    for client in clients {
        client.join().map_err(|_| "a client panicked")?;
    }
    Ok(spent.as_nanos() as f64 / sent.max(1) as f64)
}

/// A client that connects again when a connection has ended.
fn connect_until(address: SocketAddr, until: Instant, cpu: usize) {
    let _ = pin(&[cpu]);
    const BYTES: usize = 64 << 10;
    let mut pages = Pages::new(BYTES);
    let buffer = pages.at(64, BYTES);
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        while matches!(stream.read(buffer), Ok(1..)) {}
    }
}

/// The other ends of idle connections: reads on some of them, until its standard input ends.
fn peers(connections: usize, address: SocketAddr) -> Result<(), Failure> {
    let mut peers = Vec::with_capacity(connections);
    for index in 0..connections {
        let peer = TcpStream::connect(address)?;
        if index % SPARSE == 0 {
            let mut peer = peer.try_clone()?;
            thread::Builder::new()
                .spawn(move || while matches!(peer.read(&mut vec![0; 64 << 10]), Ok(1..)) {})?;
        }
        peers.push(peer);
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// One in so many idle connections has sent.
const SPARSE: usize = 100;

/// What idle connections cost: memory, descriptors, and what wakes up for ten seconds.
fn idle(connections: usize) -> Result<(), Failure> {
    println!(
        "{connections} idle connections over loopback, after 100 messages of 64 KiB on each hundredth of them"
    );
    let runtime = runtime()?;
    for zero_copy in [false, true] {
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let before = Costs::now()?;
        let mut peers = Command::new(std::env::current_exe()?)
            .args(["--idle", &connections.to_string(), "--peers-of", &address.to_string()])
            .stdin(Stdio::piped())
            .spawn()?;
        let (mut plain, mut streams) = (Vec::with_capacity(connections), Vec::with_capacity(connections));
        for _ in 0..connections {
            let (stream, _) = runtime.block_on(listener.accept())?;
            match zero_copy {
                true => {
                    let stream = async { zerosend::tokio::Stream::with_options(stream, Policy::Always) };
                    streams.push(runtime.block_on(stream)?);
                }
                false => plain.push(stream),
            }
        }
        let after = Costs::now()?;
        let each = |before: f64, after: f64| (after - before) / connections as f64;
        println!(
            "{:<18} {:>5.0} bytes resident and {:.1} descriptors for each",
            if zero_copy { "zerosend's Stream" } else { "tokio's TcpStream" },
            each(before.resident, after.resident),
            each(before.descriptors, after.descriptors),
        );
        if zero_copy {
            // Some have sent, and their reports have come while nobody waits for them.
            let message = message(64 << 10, Layout::Heap)?;
            for index in (0..connections).step_by(SPARSE) {
                runtime.block_on(async {
                    for _ in 0..100 {
                        streams[index].send(Payload::from(Arc::clone(&message) as Arc<dyn Memory>)).await?;
                    }
                    Ok::<_, io::Error>(())
                })?;
            }
        }
        let (cpu, wakes) = (thread_cpu_time()?, voluntary_switches()?);
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(10)).await });
        let (cpu, wakes) = (thread_cpu_time()? - cpu, voluntary_switches()? - wakes);
        println!(
            "{:<18} in ten seconds: {wakes} wake-ups, {:.2} ms of CPU time",
            "",
            cpu.as_secs_f64() * 1e3
        );
        drop(peers.stdin.take());
        peers.wait()?;
    }
    Ok(())
}

struct Costs {
    resident: f64,
    descriptors: f64,
}

impl Costs {
    fn now() -> Result<Self, Failure> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let kib: f64 = field(&status, "VmRSS:")?.trim_end_matches(" kB").parse()?;
        Ok(Self { resident: kib * 1024.0, descriptors: std::fs::read_dir("/proc/self/fd")?.count() as f64 })
    }
}

/// How often this thread has waited.
fn voluntary_switches() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    Ok(field(&status, "voluntary_ctxt_switches:")?.parse()?)
}

fn field<'a>(status: &'a str, name: &str) -> Result<&'a str, Failure> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim())
}
