//! One client's thread after its hello: ask after ask, until the client goes.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{ActiveService, SenderFailure, SenderReport, WorkerEvent};
use crate::cgroup::throttle::{ThrottleCounters, Throttled};
use crate::connection;
use crate::cost::meter::Meter;
use crate::cost::pollution::{Chase, Walk};
use crate::cost::wire::{Wire, tcp_info};
use crate::message::Layout;
use crate::pool::MessagePool;
use crate::protocol::Ask;
use crate::send::{Ledger, Sender, drain};
use crate::sys::socket::{CallCounter, Socket, WakeReason};

/// Serves one client to its end. What goes wrong is told to the owner.
pub(super) fn hold(offer: &ActiveService, client: usize, socket: Socket) {
    let mut farewell = PanicReport { offer, client, told: false };
    match Conversation::open(offer, client, socket) {
        Ok(mut conversation) => {
            let (huge_share, idle_walk) = (conversation.huge_share(), conversation.idle_walk());
            let message_offset = conversation.supply.message_offset();
            offer.report(client, WorkerEvent::Ready { huge_share, idle_walk, message_offset });
            let result = conversation.serve_until_gone();
            let ledger = conversation.finish();
            if let Err(error) = result {
                offer.report(client, WorkerEvent::Failed(SenderFailure { error, ledger }));
            }
        }
        Err(error) => {
            offer.report(client, WorkerEvent::Failed(SenderFailure { error, ledger: Ledger::default() }))
        }
    }
    farewell.told = true;
}

/// Tells the owner when this thread panics, so that nobody waits for it.
struct PanicReport<'a> {
    offer: &'a ActiveService,
    client: usize,
    told: bool,
}

impl Drop for PanicReport<'_> {
    fn drop(&mut self) {
        if !self.told {
            let error = io::Error::other("its thread panicked");
            self.offer
                .report(self.client, WorkerEvent::Failed(SenderFailure { error, ledger: Ledger::default() }));
        }
    }
}

struct Conversation<'a> {
    offer: &'a ActiveService,
    client: usize,
    /// Where asks come from; the sender has a handle of its own, whose calls are counted.
    asks: Socket,
    calls: CallCounter,
    supply: MessagePool,
    sender: Box<dyn Sender>,
    meter: Meter,
    chase: Option<Chase>,
    /// Only of client 0.
    throttling: Option<ThrottleCounters>,
}

/// Steps of the pointer chase after each message: an eighth of a 512 KiB table, so that every line is visited again
/// after eight messages, and enough that reading the clock does not show.
const CHASE_STEPS: u64 = 1024;

/// The steps of [`super::Service::idle_steps`] are taken together once there are so many: a loop of a few hundred steps costs
/// a quarter more than its steps (45 ns measured), and a slow-down by 5 % came out as 6.6 %.
const IDLE_PORTION: u64 = 4096;

/// Steps of the chase without sending: the table is walked through several times, the last of them warm.
const IDLE_STEPS: u64 = 1 << 18;

impl<'a> Conversation<'a> {
    fn open(offer: &'a ActiveService, client: usize, asks: Socket) -> io::Result<Self> {
        let service = &offer.service;
        // The listener's connections are made for throughput; a service may want its own for latency.
        asks.options().set_tcp_nodelay(service.options.nodelay)?;
        service.placements[client].apply()?;
        let supply = MessagePool::new(&service.spec, service.verify)?;
        let socket = asks.try_clone()?;
        let calls = socket.calls();
        let sender = (service.path.open)(socket, &supply, service.sender_config.clone())?;
        let meter = Meter::open(client < service.counted_threads);
        let chase = service.pollution_table.map(Chase::new).transpose().map_err(io::Error::other)?;
        let throttling = (client == 0).then(ThrottleCounters::open);
        Ok(Self { offer, client, asks, calls, supply, sender, meter, chase, throttling })
    }

    fn huge_share(&self) -> Option<f64> {
        let asked = self.client == 0 && self.offer.service.spec.layout == Layout::Huge;
        asked.then(|| self.supply.huge_share())
    }

    fn idle_walk(&mut self) -> Walk {
        let Some(chase) = &mut self.chase else { return Walk::default() };
        chase.walk(IDLE_STEPS);
        chase.walk(IDLE_STEPS)
    }

    fn serve_until_gone(&mut self) -> io::Result<()> {
        while let Some(ask) = self.next_ask()? {
            self.serve_run(ask)?;
        }
        Ok(())
    }

    /// One run: this ask and those that follow until the last of the run, then the drain and the report.
    fn serve_run(&mut self, first: Ask) -> io::Result<()> {
        let _sends = self.offer.sends();
        let (calls, ledger) = (self.calls.get(), self.sender.ledger());
        let before = tcp_info(self.asks.as_fd());
        let (mut messages, mut walk) = (0, Walk::default());
        let throttled = self.throttled();
        self.meter.start();
        let mut ask = first;
        loop {
            walk += self.send(ask.messages)?;
            messages += ask.messages;
            if ask.last {
                break;
            }
            ask = self.next_ask()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        connection::flush_nagle(&self.asks)?;
        let drain = self.drain()?;
        let report = SenderReport {
            messages,
            calls: self.calls.get() - calls,
            spent: self.meter.stop(messages),
            wire: before.and_then(|before| Ok(Wire::between(&before, &tcp_info(self.asks.as_fd())?))).ok(),
            walk,
            ledger: self.sender.ledger().since(&ledger),
            drain,
            throttled: self.throttled() - throttled,
        };
        self.offer.report(self.client, WorkerEvent::Report(Box::new(report)));
        Ok(())
    }

    fn throttled(&self) -> Throttled {
        self.throttling.as_ref().map(ThrottleCounters::read).unwrap_or_default()
    }

    /// The loop that is measured.
    fn send(&mut self, messages: u64) -> io::Result<Walk> {
        let patience = self.offer.service.options.stall_timeout;
        let (mut walk, mut idle) = (Walk::default(), 0);
        for _ in 0..messages {
            if self.offer.is_finishing() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the host is being stopped"));
            }
            let message = self.supply.next(&mut *self.sender, patience)?;
            self.sender.send(message)?;
            if let Some(chase) = &mut self.chase {
                walk += chase.walk(CHASE_STEPS);
            }
            idle += self.offer.service.idle_steps;
            if idle >= IDLE_PORTION {
                count_to(idle);
                idle = 0;
            }
        }
        // The client may wait for all of it before it asks again.
        self.sender.flush()?;
        Ok(walk)
    }

    fn drain(&mut self) -> io::Result<Duration> {
        let began = Instant::now();
        drain(&mut *self.sender, began + self.offer.service.drain_timeout)?;
        Ok(began.elapsed())
    }

    /// The next ask, however long the client is silent; `None` when it has gone. A stop ends the wait, because
    /// it shuts the connection down.
    fn next_ask(&mut self) -> io::Result<Option<Ask>> {
        let stall = self.offer.service.options.stall_timeout;
        let mut bytes = [0; Ask::BYTES];
        loop {
            match self.asks.readable_by(Instant::now() + stall)? {
                WakeReason::Ready => break,
                WakeReason::Late => {}
                // Notifications of what was sent: take them, or they would wake this wait at once for ever.
                WakeReason::ByErrorQueue => match self.sender.reap(Instant::now()) {
                    Ok(true) => {}
                    // Nothing is held: then it is an error, which receiving tells.
                    Ok(false) => break,
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    Err(error) => return Err(error),
                },
            }
        }
        if !self.asks.recv_exact(&mut bytes, Instant::now() + stall)? {
            return Ok(None);
        }
        Ask::decode(&bytes).map(Some).map_err(io::Error::other)
    }

    /// Waits for the kernel to let go; where it does not in time, ends the connection to make it. Returns what
    /// it told over the whole connection.
    fn finish(mut self) -> Ledger {
        if self.drain().is_err() {
            self.sender.abort();
        }
        self.sender.ledger()
    }
}

/// Work that nobody asked for, of a known length: steps and not time, so that it slows down with the CPU as sending does.
#[inline(never)]
fn count_to(steps: u64) {
    for step in 0..steps {
        std::hint::black_box(step);
    }
}
