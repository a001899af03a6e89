//! The wire: a thread that takes frames off one tap and puts them on the other, both ways. It plays the part of a
//! network card's DMA engine: the only copies of the payload between the two ends are its read and its write.
//!
//! A frame passes whole, with the header that says how its checksum and its segments are to be made: what the sender
//! handed to the "card" in one piece arrives in one piece. One thread for both ways: acknowledgements come in the wake
//! of data, and a second thread would only bring switches.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use copycost::cost::cpu::{CpuSpent, ThreadCpu};
use copycost::internals::server::STACK_BYTES;
use copycost::internals::sys::sched;
use copycost::internals::sys::tap::{self, HEADER_BYTES, Tap, TapWaker};
use copycost::offset::Pages;

/// The largest frame: 64 KiB of segmentation offload with an Ethernet header, and a VLAN tag, which the lab has not.
pub const MOST_FRAME: usize = (64 << 10) + 18;

/// The smallest that has an Ethernet header.
const LEAST_FRAME: usize = 14;

/// Larger than any frame by far: what does not fit would be cut off unseen.
const BUFFER: usize = 2 * MOST_FRAME;

/// Frames of one way before the other gets its turn.
const BATCH: usize = 32;

/// A relay that has found nothing more to pass sleeps so long without listening, if it was busy until then. Like a card
/// that moderates its interrupts: otherwise the sender would wake it with every frame, 10 ns for each KiB that no
/// sender pays to a card. Between 20 and 60 µs the sender's demand and the throughput are the same within the noise.
const MODERATION: Duration = Duration::from_micros(30);

/// Busy: more bytes than this since the last sleep. A single message that is waited for is less, and is passed on as
/// soon as it comes.
const BUSY: u64 = 96 << 10;

/// The end of every other wait. Orders ring a bell, so that nothing hangs on its length.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the relay has done so far. Only differences mean anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// CPU time of its thread, whatever ran on top of it included.
    pub cpu: Option<CpuSpent>,
    /// Frames that passed from the server to the clients.
    pub frames: u64,
    /// Their bytes, without the relay's own header.
    pub bytes: u64,
    /// Frames that it did not pass on, either way, because they were too short or too long.
    pub unfit: u64,
    /// Frames that the kernel did not take, either way; it counts them as dropped by the tap's link.
    pub refused: u64,
}

/// What it is told.
enum RelayCommand {
    Account(Sender<RelayCounters>),
    /// Stop, say so, and wait for the end of the other channel.
    Hold(Sender<()>, Receiver<()>),
    Sit {
        cpus: Vec<usize>,
        shared: bool,
    },
    Stop,
}

/// A running relay. It stops when dropped.
#[derive(Debug)]
pub struct Relay {
    orders: Sender<RelayCommand>,
    bell: Arc<TapWaker>,
    thread: Option<JoinHandle<()>>,
}

/// While this lives nothing passes.
#[derive(Debug)]
pub struct HeldRelay {
    _go_on: Sender<()>,
}

impl Relay {
    /// Starts to carry frames between the server's tap and the clients'.
    pub fn start(taps: [Tap; 2]) -> io::Result<Self> {
        let (orders, taken) = unbounded();
        let bell = Arc::new(TapWaker::new()?);
        let of_thread = Arc::clone(&bell);
        let thread = thread::Builder::new()
            .name("relay".into())
            .stack_size(STACK_BYTES)
            .spawn(move || RelayThread::new(taps, taken, of_thread).carry())?;
        Ok(Self { orders, bell, thread: Some(thread) })
    }

    /// What it has done so far. Not while it is held.
    pub fn account(&self) -> Option<RelayCounters> {
        let (told, account) = bounded(1);
        self.order(RelayCommand::Account(told));
        account.recv_timeout(PATIENCE).ok()
    }

    /// Has it stop, and waits until it has.
    pub fn hold(&self) -> io::Result<HeldRelay> {
        let (held, wait) = bounded(1);
        let (go_on, until) = bounded(1);
        self.order(RelayCommand::Hold(held, until));
        wait.recv_timeout(PATIENCE)
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the relay does not stop"))?;
        Ok(HeldRelay { _go_on: go_on })
    }

    /// Moves it to these CPUs; where it shares them with an end, as a thread that preempts nobody.
    pub fn sit(&self, cpus: &[usize], shared: bool) {
        self.order(RelayCommand::Sit { cpus: cpus.to_vec(), shared });
    }

    fn order(&self, order: RelayCommand) {
        // A relay that has ended answers nothing, and the caller finds that out.
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.order(RelayCommand::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct RelayThread {
    taps: [Tap; 2],
    orders: Receiver<RelayCommand>,
    bell: Arc<TapWaker>,
    cpu: ThreadCpu,
    passed: [RelayDirection; 2],
    buffer: Pages,
}

/// One way.
#[derive(Debug, Default)]
struct RelayDirection {
    frames: u64,
    bytes: u64,
    unfit: u64,
    refused: u64,
}

impl RelayThread {
    fn new(taps: [Tap; 2], orders: Receiver<RelayCommand>, bell: Arc<TapWaker>) -> Self {
        let buffer = Pages::new(BUFFER);
        Self { taps, orders, bell, cpu: ThreadCpu::open(), passed: Default::default(), buffer }
    }

    fn carry(mut self) {
        // Where that is refused, it sleeps a little longer.
        let _ = sched::sleep_exactly();
        let mut at_last_sleep = 0;
        loop {
            let [a, b] = &self.taps;
            let [there, back] = &mut self.passed;
            // Wherever an allocator would put it, some copies would be slow on some CPUs.
            let buffer = self.buffer.at(0, BUFFER);
            let more = there.pass(a, b, buffer) | back.pass(b, a, buffer);
            if !more {
                let passed = there.bytes + back.bytes;
                let slept = if passed - at_last_sleep > BUSY {
                    tap::wait_for(&[], &self.bell, MODERATION)
                } else {
                    tap::wait_for(&[a, b], &self.bell, PATIENCE)
                };
                at_last_sleep = passed;
                if slept.is_err() {
                    return;
                }
            }
            if !self.orders.is_empty() && !self.obey() {
                return;
            }
        }
    }

    /// Does what it is told; false: end.
    fn obey(&mut self) -> bool {
        self.bell.silence();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                RelayCommand::Account(told) => drop(told.send(self.account())),
                RelayCommand::Hold(held, until) => {
                    let _ = held.send(());
                    // An end, even if whoever holds it never lets go.
                    let _ = until.recv_timeout(10 * PATIENCE);
                }
                // Where it may not, it stays where it is.
                RelayCommand::Sit { cpus, shared } => {
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

    fn account(&mut self) -> RelayCounters {
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
    /// Passes what waits at `from` on to `to`, [`BATCH`] frames at most; true: there may be more.
    #[inline]
    fn pass(&mut self, from: &Tap, to: &Tap, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            // A tap that fails has no link any more, and nothing to give.
            let Ok(Some(length)) = from.read(buffer) else { return false };
            if length == 0 {
                // Of nothing, or the end: the next wait tells.
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

    /// A relay between two sockets of datagrams; the far ends of both.
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
        let account = relay.account().unwrap();
        assert_eq!((account.frames, account.unfit, account.refused), (3, 6, 0));
        assert_eq!(account.bytes, (LEAST_FRAME + 1514 + MOST_FRAME) as u64);
        assert!(account.cpu.is_some());
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
    fn an_end_that_goes_takes_nothing_and_nobody_hangs() {
        let (relay, a, b) = between_sockets();
        drop(b);
        a.send(&frame(100, 1)).unwrap();
        drop(a);
        // A stand-in hears nothing of its other end, as a tap does of its link; then the relay has ended.
        let began = Instant::now();
        while let Some(account) = relay.account()
            && account.refused == 0
        {
            assert!(account.frames == 0 && began.elapsed() < Duration::from_secs(60), "{account:?}");
            thread::sleep(Duration::from_millis(1));
        }
        drop(relay);
    }

    /// Frames as no sender makes them, for a real tap: what the kernel does not take is counted, and the wire goes on.
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
        let mut account = relay.account().unwrap();
        let began = Instant::now();
        while account.frames + account.unfit + account.refused < 2000 {
            assert!(began.elapsed() < Duration::from_secs(60), "{account:?}");
            thread::sleep(Duration::from_millis(1));
            account = relay.account().unwrap();
        }
        assert!(account.unfit > 0 && account.refused > 0, "{account:?}");
        assert!(network.dropped() >= account.refused);
    }
}
