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

use crate::cost::cpu::{CpuSpent, ThreadCpu};
use crate::server::STACK_BYTES;
use crate::sys::sched;
use crate::sys::tap::{self, Bell, HEADER_BYTES, Tap};

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
pub struct Account {
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
enum Order {
    Account(Sender<Account>),
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
    orders: Sender<Order>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// While this lives nothing passes.
#[derive(Debug)]
pub struct Held {
    _go_on: Sender<()>,
}

impl Relay {
    /// Starts to carry frames between the server's tap and the clients'.
    pub fn start(taps: [Tap; 2]) -> io::Result<Self> {
        let (orders, taken) = unbounded();
        let bell = Arc::new(Bell::new()?);
        let of_thread = Arc::clone(&bell);
        let thread = thread::Builder::new()
            .name("relay".into())
            .stack_size(STACK_BYTES)
            .spawn(move || Wire::new(taps, taken, of_thread).carry())?;
        Ok(Self { orders, bell, thread: Some(thread) })
    }

    /// What it has done so far. Not while it is held.
    pub fn account(&self) -> Option<Account> {
        let (told, account) = bounded(1);
        self.order(Order::Account(told));
        account.recv_timeout(PATIENCE).ok()
    }

    /// Has it stop, and waits until it has.
    pub fn hold(&self) -> io::Result<Held> {
        let (held, wait) = bounded(1);
        let (go_on, until) = bounded(1);
        self.order(Order::Hold(held, until));
        wait.recv_timeout(PATIENCE)
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the relay does not stop"))?;
        Ok(Held { _go_on: go_on })
    }

    /// Moves it to these CPUs; where it shares them with an end, as a thread that preempts nobody.
    pub fn sit(&self, cpus: &[usize], shared: bool) {
        self.order(Order::Sit { cpus: cpus.to_vec(), shared });
    }

    fn order(&self, order: Order) {
        // A relay that has ended answers nothing, and the caller finds that out.
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Wire {
    taps: [Tap; 2],
    orders: Receiver<Order>,
    bell: Arc<Bell>,
    cpu: ThreadCpu,
    passed: [Passed; 2],
    buffer: Box<[u8]>,
}

/// One way.
#[derive(Debug, Default)]
struct Passed {
    frames: u64,
    bytes: u64,
    unfit: u64,
    refused: u64,
}

impl Wire {
    fn new(taps: [Tap; 2], orders: Receiver<Order>, bell: Arc<Bell>) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { taps, orders, bell, cpu: ThreadCpu::open(), passed: Default::default(), buffer }
    }

    fn carry(mut self) {
        // Where that is refused, it sleeps a little longer.
        let _ = sched::sleep_exactly();
        let mut at_last_sleep = 0;
        loop {
            let [a, b] = &self.taps;
            let [there, back] = &mut self.passed;
            let more = there.pass(a, b, &mut self.buffer) | back.pass(b, a, &mut self.buffer);
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
                Order::Account(told) => drop(told.send(self.account())),
                Order::Hold(held, until) => {
                    let _ = held.send(());
                    // An end, even if whoever holds it never lets go.
                    let _ = until.recv_timeout(10 * PATIENCE);
                }
                // Where it may not, it stays where it is.
                Order::Sit { cpus, shared } => {
                    let _ = sched::pin(&cpus);
                    if shared {
                        let _ = sched::batch();
                    }
                }
                Order::Stop => return false,
            }
        }
        true
    }

    fn account(&mut self) -> Account {
        let [there, back] = &self.passed;
        Account {
            cpu: self.cpu.since(Duration::ZERO).ok(),
            frames: there.frames,
            bytes: there.bytes,
            unfit: there.unfit + back.unfit,
            refused: there.refused + back.refused,
        }
    }
}

impl Passed {
    /// Passes what waits at `from` on to `to`, [`BATCH`] frames at most; true: there may be more.
    #[inline]
    fn pass(&mut self, from: &Tap, to: &Tap, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            // A tap that fails has no link any more, and nothing to give.
            let Ok(Some(length)) = from.read(buffer) else { return false };
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
