//! Costs against a truth that the test itself knows. Nothing here fails because a machine is slow.

#![allow(clippy::disallowed_methods, reason = "a test may start a plain thread")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use copycost::internals::cost::counters::Counters;
use copycost::internals::cost::cpu::{CpuScope, ThreadCpu, process_now, process_since};
use copycost::internals::cost::opener::{CounterReach, Event, Opener, Perf};
use copycost::internals::cost::system::SystemCpu;
use copycost::internals::cost::wire::{Wire, tcp_info};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::common::child::{Wanted, is_root, role, this_test, works};
use crate::common::{eventually, skip};

/// The thread's CPU time by the process file system, which shares no code with the crate.
fn schedstat() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ran = text.split_whitespace().next().unwrap();
    Duration::from_nanos(ran.parse().unwrap())
}

/// Burns CPU time in user mode until the process file system has seen `time` of it.
fn burn(time: Duration) {
    let begun = schedstat();
    let mut x = 1u64;
    while schedstat() - begun < time {
        for i in 0..10_000u64 {
            x = std::hint::black_box(x.wrapping_mul(31) ^ i);
        }
    }
}

#[test]
fn cpu_time_of_a_burner_lies_between_its_clock_and_the_wall() {
    const BURNT: Duration = Duration::from_millis(40);
    let mut cpu = ThreadCpu::open();
    println!("scope: {}, fallback: {:?}", cpu.scope(), cpu.fallback());
    let wall = Instant::now();
    let process = process_now().unwrap();
    let begun = cpu.now().unwrap();
    burn(BURNT);
    let spent = cpu.since(begun).unwrap();
    let process = process_since(process).unwrap();
    let wall = wall.elapsed();
    // The file lags by up to a timer tick (10 ms at 100 Hz), hence half. No thread runs longer than the wall clock;
    // the two clocks are steered apart by some parts in ten thousand.
    assert!(spent.time >= BURNT / 2 && spent.time <= wall.mul_f64(1.01), "{spent:?}, wall {wall:?}");
    assert!(process.time >= BURNT / 2, "{process:?}");
}

#[test]
fn a_sleeper_spends_nothing_beside_a_burner() {
    // What another thread burns is not this thread's; what this one's io_uring workers do is, so the clock is inherited by
    // those that it starts, and the other one is there before.
    let (go, gone) = mpsc::channel();
    let burner = thread::spawn(move || gone.recv().map(|()| burn(Duration::from_millis(40))));
    let mut cpu = ThreadCpu::open();
    let begun = cpu.now().unwrap();
    go.send(()).unwrap();
    burner.join().unwrap().unwrap();
    let spent = cpu.since(begun).unwrap();
    assert!(spent.time < Duration::from_millis(20), "{spent:?}");
}

/// A flood that nobody receives, in a network namespace that nobody else sends in.
#[test]
fn the_task_clock_covers_softirq() {
    let test = this_test!();
    if role(test).is_some() {
        return flood();
    }
    if !is_root() || !works("unshare", &["-n", "ip", "link", "set", "lo", "up"]) {
        return skip("the flood needs a network namespace: root, unshare (util-linux) and ip (iproute2)");
    }
    let up = ["unshare", "-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
    Wanted::new(test, "flood", &up).run();
}

fn flood() {
    let mut cpu = ThreadCpu::open();
    if cpu.scope() != CpuScope::TaskClock {
        return skip(&format!("no task-clock event: {:?}", cpu.fallback()));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    // A flood without a receiver: a quarter of it is softirq. In a burst without a switch the thread was on its
    // CPU throughout, so the event must say what the wall clock says. A busy machine only makes such bursts rarer.
    const UNDISTURBED: u32 = 20;
    let mut counters = Counters::open();
    let mut undisturbed = 0;
    let before = softirq_time();
    eventually("a flood is undisturbed now and then, and its softirq shows", || {
        counters.start();
        // The cost of the reads lies inside the outer clock and outside the inner one.
        let outer = Instant::now();
        let begun = cpu.now().unwrap();
        let inner = Instant::now();
        while inner.elapsed() < Duration::from_millis(1) {
            socket.send(&[0; 64]).unwrap();
        }
        let inner = inner.elapsed();
        let spent = cpu.since(begun).unwrap().time;
        let outer = outer.elapsed();
        if counters.stop().get(Event::ContextSwitches) == Ok(0) {
            assert!(spent <= outer.mul_f64(1.01), "{spent:?} of {outer:?}");
            assert!(spent >= inner.mul_f64(0.97), "{spent:?} of {inner:?}");
            undisturbed += 1;
        }
        undisturbed >= UNDISTURBED && softirq_time() > before
    });
}

/// Softirq time of the machine, by the system's own books.
fn softirq_time() -> Duration {
    SystemCpu::read().unwrap().time.softirq
}

/// Context switches of the thread of this folder of /proc, those that it asked for by waiting, and all.
fn proc_switches(thread: &Path) -> (u64, u64) {
    let text = fs::read_to_string(thread.join("status")).unwrap();
    let count = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    let of = |name: &str| text.lines().find(|line| line.starts_with(name)).map(count).unwrap();
    let (waited, preempted) = (of("voluntary_ctxt_switches"), of("nonvoluntary_ctxt_switches"));
    (waited, waited + preempted)
}

#[test]
fn switches_of_a_known_ping_pong() {
    const ROUNDS: u64 = 100;
    let (mut mine, mut theirs) = UnixStream::pair().unwrap();
    let me = Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap());
    let of_me = me.clone();
    let peer = thread::spawn(move || {
        let mut waited = [0; 8];
        while theirs.read_exact(&mut waited).is_ok() {
            // Answers only once the other thread has left its CPU to wait, so that each round is a switch for certain.
            while proc_switches(&of_me).0 <= u64::from_ne_bytes(waited) {
                thread::yield_now();
            }
            theirs.write_all(&[0]).unwrap();
        }
    });
    let mut counters = Counters::open();
    let before = proc_switches(&me).1;
    counters.start();
    for _ in 0..ROUNDS {
        mine.write_all(&proc_switches(&me).0.to_ne_bytes()).unwrap();
        mine.read_exact(&mut [0]).unwrap();
    }
    let counts = counters.stop();
    let by_proc = proc_switches(&me).1 - before;
    drop(mine);
    peer.join().unwrap();
    let switches = counts.get(Event::ContextSwitches).unwrap();
    println!("{switches} switches in {ROUNDS} rounds, {}", counts.scope);
    // More than one a round is preemption, by anyone.
    assert!((ROUNDS..=by_proc).contains(&switches), "{switches} of {by_proc} by /proc");
    assert!(counts.per_message(Event::ContextSwitches, ROUNDS).unwrap() >= 1.0);
}

#[test]
fn software_counters_count() {
    if let Err(error) = Perf.open(Event::PageFaults, CounterReach::Kernel) {
        return skip(&format!("no software events with the kernel in them: {error}"));
    }
    let mut counters = Counters::open();
    println!("scope: {}", counters.scope());
    counters.start();
    let pages = 256;
    let mut fresh = vec![0u8; pages * 4096];
    for page in fresh.chunks_mut(4096) {
        std::hint::black_box(page)[0] = 1;
    }
    thread::sleep(Duration::from_micros(100));
    let counts = counters.stop();
    // Larger pages, or memory that the allocator had at hand, make it fewer; none at all would be a dead counter.
    assert!(counts.get(Event::PageFaults).unwrap() > 0, "{counts:?}");
    assert!(counts.get(Event::ContextSwitches).unwrap() > 0);
    assert!(counts.get(Event::CpuMigrations).is_ok());
    // Hardware may be absent; where it is there, instructions were retired.
    assert!(
        counts.scope != copycost::internals::cost::counts::CounterScope::UserKernel
            || counts.get(Event::Instructions).is_ok_and(|n| n > 0)
    );
}

/// A loopback pair whose sender makes segments of at most `mss` bytes, TCP options included.
fn pair_with_mss(mss: u32) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_tcp_mss(mss).unwrap();
    let address = SockAddr::from(listener.local_addr().unwrap());
    client.connect(&address).unwrap();
    (client.into(), listener.accept().unwrap().0)
}

#[test]
fn segments_per_message_of_a_known_mss() {
    let (mut sender, mut receiver) = pair_with_mss(1000);
    let before = tcp_info(sender.as_fd()).unwrap();
    let mss = before.snd_mss.unwrap() as usize;
    // 1000 less the 12 bytes of the timestamp option, where that is on.
    assert!((988..=1000).contains(&mss), "{mss}");
    let (messages, segments) = (20, 50);
    let message = vec![7u8; mss * segments];
    let reader = thread::spawn(move || {
        let mut sink = vec![0; 1 << 16];
        let mut got = 0;
        while got < messages * mss * segments {
            match receiver.read(&mut sink).unwrap() {
                0 => break,
                n => got += n,
            }
        }
        (got, receiver)
    });
    for _ in 0..messages {
        sender.write_all(&message).unwrap();
    }
    let (got, _receiver) = reader.join().unwrap();
    assert_eq!(got, messages * message.len());
    let wire = Wire::between(&before, &tcp_info(sender.as_fd()).unwrap());
    println!("{wire:?}");
    let bytes = wire.bytes.clone().unwrap() - wire.retransmitted_bytes.clone().unwrap();
    assert_eq!(bytes as usize, got);
    let again = wire.retransmits.clone().unwrap() as f64 / messages as f64;
    let per_message = wire.segments_per_message(messages as u64).unwrap() - again;
    // Never fewer than fit; a few more where a full buffer cuts a message at an odd byte.
    assert!(per_message >= segments as f64 && per_message <= segments as f64 * 1.2, "{per_message}");
    let mean = wire.mean_segment_bytes().unwrap();
    assert!(mean <= mss as f64 && mean >= mss as f64 / 1.2, "{mean}");
}
