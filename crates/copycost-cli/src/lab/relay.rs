//! The wire: a thread that reads frames from one tap and writes them to the other, in both directions. It takes the
//! part of a network card's DMA engine: its read and its write are the only copies of the payload between the two ends.
//!
//! A frame passes whole, with the header that describes its checksum and its segmentation, so a frame that the sender
//! hands to the "card" in one piece arrives in one piece. One thread serves both directions: acknowledgements follow
//! the data, and a second thread would only add context switches.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use copycost::internals::cost::cpu::{CpuSpent, ThreadCpu};
use copycost::internals::placement::STACK_BYTES;
use copycost::internals::sys::sched;
use copycost::internals::sys::tap::{self, HEADER_BYTES, Tap, TapWaker};
use copycost::offset::Pages;

/// The largest frame in bytes: 64 KiB of segmentation offload, an Ethernet header, and a VLAN tag, which the lab does
/// not use.
pub const MOST_FRAME: usize = (64 << 10) + 18;

/// The smallest frame in bytes: an Ethernet header.
const LEAST_FRAME: usize = 14;

/// Much larger than any frame, because a longer frame would be truncated without an error.
const BUFFER: usize = 2 * MOST_FRAME;

/// Frames that the relay passes in one direction before it serves the other.
const BATCH: usize = 32;

/// How long a busy relay sleeps without polling the taps when it runs out of frames, like a card that moderates its
/// interrupts. Otherwise the sender would wake the relay with every frame, a cost of 10 ns per KiB that a card does not
/// cause. Between 20 and 60 µs the sender's CPU time and the throughput are the same within the noise.
const MODERATION: Duration = Duration::from_micros(30);

/// The relay is busy if it passed more bytes than this since its last sleep. A single message whose latency is measured
/// is smaller, so the relay passes it on at once.
const BUSY: u64 = 96 << 10;

/// The limit of every other wait. Its length does not matter, because a command wakes the relay.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counters of the relay since its start. Only differences have a meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// The CPU time of the relay's thread, with the softirq work that ran on it; `None` if it cannot be read.
    pub cpu: Option<CpuSpent>,
    /// Frames passed from the server to the clients.
    pub frames: u64,
    /// The bytes of these frames, without the virtio-net header of the tap.
    pub bytes: u64,
    /// Frames not passed on because they were too short or too long, both directions together.
    pub unfit: u64,
    /// Frames that the kernel rejected, both directions together. The kernel counts them as drops of the tap's link.
    pub refused: u64,
}

/// A command to the relay's thread.
enum RelayCommand {
    Counters(Sender<RelayCounters>),
    /// Stop, confirm on the first channel, and wait until the second is closed.
    Hold(Sender<()>, Receiver<()>),
    MoveTo {
        cpus: Vec<usize>,
        shared: bool,
    },
    Stop,
}

/// A running relay. Drop stops it.
#[derive(Debug)]
pub struct Relay {
    commands: Sender<RelayCommand>,
    waker: Arc<TapWaker>,
    thread: Option<JoinHandle<()>>,
}

/// A guard: the relay passes no frames while it exists.
#[derive(Debug)]
pub struct HeldRelay {
    _go_on: Sender<()>,
}

impl Relay {
    /// Starts the thread that passes frames between the taps of the server and of the clients.
    pub fn start(taps: [Tap; 2]) -> io::Result<Self> {
        let (commands, receiver) = unbounded();
        let waker = Arc::new(TapWaker::new()?);
        let thread_waker = Arc::clone(&waker);
        let thread = thread::Builder::new()
            .name("relay".into())
            .stack_size(STACK_BYTES)
            .spawn(move || RelayThread::new(taps, receiver, thread_waker).run())?;
        Ok(Self { commands, waker, thread: Some(thread) })
    }

    /// The counters as they are now; `None` if the relay does not answer, for example while it is held.
    pub fn counters(&self) -> Option<RelayCounters> {
        let (reply, counters) = bounded(1);
        self.send(RelayCommand::Counters(reply));
        counters.recv_timeout(PATIENCE).ok()
    }

    /// Stops the relay and waits until it has stopped.
    pub fn hold(&self) -> io::Result<HeldRelay> {
        let (held, wait) = bounded(1);
        let (go_on, until) = bounded(1);
        self.send(RelayCommand::Hold(held, until));
        wait.recv_timeout(PATIENCE)
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the relay does not stop"))?;
        Ok(HeldRelay { _go_on: go_on })
    }

    /// Moves the relay to these CPUs. If it shares them with an end, it becomes a batch thread, which does not preempt.
    pub fn move_to(&self, cpus: &[usize], shared: bool) {
        self.send(RelayCommand::MoveTo { cpus: cpus.to_vec(), shared });
    }

    fn send(&self, command: RelayCommand) {
        // Sending fails if the relay has ended; the caller notices that no reply comes.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.send(RelayCommand::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state of the relay's thread.
struct RelayThread {
    taps: [Tap; 2],
    commands: Receiver<RelayCommand>,
    waker: Arc<TapWaker>,
    cpu: ThreadCpu,
    passed: [RelayDirection; 2],
    buffer: Pages,
}

/// The counters of one direction.
#[derive(Debug, Default)]
struct RelayDirection {
    frames: u64,
    bytes: u64,
    unfit: u64,
    refused: u64,
}

impl RelayThread {
    fn new(taps: [Tap; 2], commands: Receiver<RelayCommand>, waker: Arc<TapWaker>) -> Self {
        let buffer = Pages::new(BUFFER);
        Self { taps, commands, waker, cpu: ThreadCpu::open(), passed: Default::default(), buffer }
    }

    fn run(mut self) {
        // If this is refused, the thread sleeps slightly longer.
        let _ = sched::sleep_exactly();
        let mut at_last_sleep = 0;
        loop {
            let [a, b] = &self.taps;
            let [there, back] = &mut self.passed;
            // A fixed offset: on some CPUs copies are slow if source and target lie at unfavourable offsets in their
            // pages.
            let buffer = self.buffer.at(0, BUFFER);
            let more = there.pass(a, b, buffer) | back.pass(b, a, buffer);
            if !more {
                let passed = there.bytes + back.bytes;
                let slept = if passed - at_last_sleep > BUSY {
                    tap::wait_for(&[], &self.waker, MODERATION)
                } else {
                    tap::wait_for(&[a, b], &self.waker, PATIENCE)
                };
                at_last_sleep = passed;
                if slept.is_err() {
                    return;
                }
            }
            if !self.commands.is_empty() && !self.execute_commands() {
                return;
            }
        }
    }

    /// Executes the waiting commands. Returns false if the thread must end.
    fn execute_commands(&mut self) -> bool {
        self.waker.clear();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                RelayCommand::Counters(reply) => drop(reply.send(self.counters())),
                RelayCommand::Hold(held, until) => {
                    let _ = held.send(());
                    // The limit ends the wait even if the guard is never dropped.
                    let _ = until.recv_timeout(10 * PATIENCE);
                }
                // If pinning is refused, the thread stays on its CPUs.
                RelayCommand::MoveTo { cpus, shared } => {
                    let _ = sched::pin(&cpus);
                    if shared {
                        let _ = sched::batch();
                    }
                }
                RelayCommand::Stop => return false,
            }
        }
        true
    }

    fn counters(&mut self) -> RelayCounters {
        let [there, back] = &self.passed;
        RelayCounters {
            cpu: self.cpu.since(Duration::ZERO).ok(),
            frames: there.frames,
            bytes: there.bytes,
            unfit: there.unfit + back.unfit,
            refused: there.refused + back.refused,
        }
    }
}

impl RelayDirection {
    /// Passes at most [`BATCH`] waiting frames from `from` to `to`. Returns true if there may be more.
    #[inline]
    fn pass(&mut self, from: &Tap, to: &Tap, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            // A read fails if the tap's link is gone, so there are no more frames.
            let Ok(Some(length)) = from.read(buffer) else { return false };
            if length == 0 {
                // An empty frame, or the end of the tap, which the next wait reports.
                self.unfit += 1;
                return false;
            }
            let frame = length.saturating_sub(HEADER_BYTES);
            if !(LEAST_FRAME..=MOST_FRAME).contains(&frame) {
                self.unfit += 1;
            } else if to.write(&buffer[..length]).is_err() {
                self.refused += 1;
            } else {
                self.frames += 1;
                self.bytes += frame as u64;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Instant;

    use super::super::network::LabNetwork;
    use super::*;

    /// A relay between two datagram sockets, and the far ends of both.
    fn between_sockets() -> (Relay, UnixDatagram, UnixDatagram) {
        let pair = || {
            let (near, far) = UnixDatagram::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            (Tap::stand_in(near), far)
        };
        let ((a, far_a), (b, far_b)) = (pair(), pair());
        (Relay::start([a, b]).unwrap(), far_a, far_b)
    }

    fn frame(length: usize, byte: u8) -> Vec<u8> {
        vec![byte; HEADER_BYTES + length]
    }

    #[test]
    fn frames_pass_whole_both_ways_and_misfits_do_not() {
        let (relay, a, b) = between_sockets();
        let mut buffer = vec![0; BUFFER];
        for misfit in
            [0, 1, HEADER_BYTES, HEADER_BYTES + LEAST_FRAME - 1, HEADER_BYTES + MOST_FRAME + 1, BUFFER + 1]
        {
            a.send(&vec![7; misfit]).unwrap();
        }
        for length in [LEAST_FRAME, 1514, MOST_FRAME] {
            a.send(&frame(length, length as u8)).unwrap();
            let got = b.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..got], frame(length, length as u8), "the misfits before it were left out");
            b.send(&frame(length, 3)).unwrap();
            assert_eq!(a.recv(&mut buffer).unwrap(), HEADER_BYTES + length);
        }
        let counters = relay.counters().unwrap();
        assert_eq!((counters.frames, counters.unfit, counters.refused), (3, 6, 0));
        assert_eq!(counters.bytes, (LEAST_FRAME + 1514 + MOST_FRAME) as u64);
        assert!(counters.cpu.is_some());
    }

    #[test]
    fn nothing_passes_while_it_is_held() {
        let (relay, a, b) = between_sockets();
        let held = relay.hold().unwrap();
        a.send(&frame(100, 1)).unwrap();
        b.set_nonblocking(true).unwrap();
        thread::sleep(Duration::from_millis(50));
        let mut buffer = [0; 200];
        assert_eq!(b.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        b.set_nonblocking(false).unwrap();
        drop(held);
        assert_eq!(b.recv(&mut buffer).unwrap(), HEADER_BYTES + 100);
    }

    #[test]
    fn a_closed_end_gets_no_frames_and_nothing_hangs() {
        let (relay, a, b) = between_sockets();
        drop(b);
        a.send(&frame(100, 1)).unwrap();
        drop(a);
        // Unlike a tap, a stand-in may not notice that its far end is gone. If it does, the relay ends and gives no
        // counters.
        let began = Instant::now();
        while let Some(counters) = relay.counters()
            && counters.refused == 0
        {
            assert!(counters.frames == 0 && began.elapsed() < Duration::from_secs(60), "{counters:?}");
            thread::sleep(Duration::from_millis(1));
        }
        drop(relay);
    }

    /// Writes invalid frames to a real tap. The relay counts those that the kernel rejects and keeps running.
    #[test]
    fn garbage_is_refused_and_counted() {
        if copycost::internals::sys::limits::user() != 0 {
            return crate::rules::skip("a tap needs root");
        }
        let (network, [_, tap_b]) = LabNetwork::build().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let relay = Relay::start([Tap::stand_in(near), tap_b]).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..2000 {
            let length = random.usize(0..BUFFER / (1 + round % 64));
            let mut bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            if round % 2 == 0 && length > HEADER_BYTES {
                // A header that asks for segments and a checksum far outside of the frame.
                bytes[..HEADER_BYTES].copy_from_slice(&[1, 1, 0xff, 0xff, 1, 0, 0xff, 0xff, 0xff, 0xff]);
            }
            far.send(&bytes).unwrap();
        }
        let mut counters = relay.counters().unwrap();
        let began = Instant::now();
        while counters.frames + counters.unfit + counters.refused < 2000 {
            assert!(began.elapsed() < Duration::from_secs(60), "{counters:?}");
            thread::sleep(Duration::from_millis(1));
            counters = relay.counters().unwrap();
        }
        assert!(counters.unfit > 0 && counters.refused > 0, "{counters:?}");
        assert!(network.dropped() >= counters.refused);
    }
}
