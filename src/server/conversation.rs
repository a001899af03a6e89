//! Serves one client after its hello: request after request, until the client closes the connection.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call_sampler::CallSampler;
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

/// Serves one client to its end. Errors go to the owner of the service.
pub(super) fn serve_client(active: &ActiveService, client: usize, socket: Socket) {
    let mut panic_report = PanicReport { active, client, done: false };
    match Conversation::open(active, client, socket) {
        Ok(mut conversation) => {
            let (huge_share, idle_walk) = (conversation.huge_share(), conversation.idle_walk());
            let message_offset = conversation.pool.message_offset();
            active.report(client, WorkerEvent::Ready { huge_share, idle_walk, message_offset });
            let result = conversation.serve_until_gone();
            let ledger = conversation.finish();
            if let Err(error) = result {
                active.report(client, WorkerEvent::Failed(SenderFailure { error, ledger }));
            }
        }
        Err(error) => {
            active.report(client, WorkerEvent::Failed(SenderFailure { error, ledger: Ledger::default() }))
        }
    }
    panic_report.done = true;
}

/// Reports to the owner if this thread panics, so that nobody waits for it.
struct PanicReport<'a> {
    active: &'a ActiveService,
    client: usize,
    done: bool,
}

impl Drop for PanicReport<'_> {
    fn drop(&mut self) {
        if !self.done {
            let error = io::Error::other("its thread panicked");
            self.active
                .report(self.client, WorkerEvent::Failed(SenderFailure { error, ledger: Ledger::default() }));
        }
    }
}

struct Conversation<'a> {
    active: &'a ActiveService,
    client: usize,
    /// The connection for requests. The sender has a separate handle, whose calls are counted.
    connection: Socket,
    calls: CallCounter,
    pool: MessagePool,
    /// Times calls, if messages are not all the same.
    sampler: Option<CallSampler>,
    sender: Box<dyn Sender>,
    meter: Meter,
    chase: Option<Chase>,
    /// Only client 0 has them.
    throttling: Option<ThrottleCounters>,
}

/// Steps of the pointer chase after each message: an eighth of a 512 KiB table, so that eight messages visit
/// every line, and enough steps that reading the clock does not matter.
const CHASE_STEPS: u64 = 1024;

/// The steps of [`super::Service::idle_steps`] are run in groups of this size, because a short loop costs
/// more than its steps: see docs/tuning.md, "The self-test".
const IDLE_PORTION: u64 = 4096;

/// Steps of the chase without sending: several rounds through the table, the last of them with a warm cache.
const IDLE_STEPS: u64 = 1 << 18;

impl<'a> Conversation<'a> {
    fn open(active: &'a ActiveService, client: usize, connection: Socket) -> io::Result<Self> {
        let service = &active.service;
        // The listener's connections have the options for throughput; a service may need those for latency.
        connection.options().set_tcp_nodelay(service.options.nodelay)?;
        service.placements[client].apply()?;
        let pool = match service.deck(client) {
            None => MessagePool::new(&service.spec, service.verify)?,
            Some(deck) => MessagePool::of_deck(deck, &service.spec, service.verify)?,
        };
        let sampler = service.workload.as_ref().map(|workload| CallSampler::new(workload));
        let socket = connection.try_clone()?;
        let calls = socket.calls();
        let sender = (service.path.open)(socket, pool.messages(), service.sender_config.clone())?;
        let meter = Meter::open(client < service.counted_threads);
        let chase = service.pollution_table.map(Chase::new).transpose().map_err(io::Error::other)?;
        let throttling = (client == 0).then(ThrottleCounters::open);
        Ok(Self { active, client, connection, calls, pool, sampler, sender, meter, chase, throttling })
    }

    fn huge_share(&self) -> Option<f64> {
        let measured = self.client == 0 && self.active.service.spec.layout == Layout::Huge;
        measured.then(|| self.pool.huge_share())
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

    /// Serves one run: the requests from `first` to the last one, then the drain and the report.
    fn serve_run(&mut self, first: Ask) -> io::Result<()> {
        let _run = self.active.begin_run();
        let (calls, ledger) = (self.calls.get(), self.sender.ledger());
        let before = tcp_info(self.connection.as_fd());
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
        connection::flush_nagle(&self.connection)?;
        let drain = self.drain()?;
        let report = SenderReport {
            messages,
            calls: self.calls.get() - calls,
            spent: self.meter.stop(messages),
            wire: before
                .and_then(|before| Ok(Wire::between(&before, &tcp_info(self.connection.as_fd())?)))
                .ok(),
            walk,
            ledger: self.sender.ledger().since(&ledger),
            drain,
            throttled: self.throttled() - throttled,
            classes: self.sampler.as_mut().map(CallSampler::take).unwrap_or_default(),
        };
        self.active.report(self.client, WorkerEvent::Report(Box::new(report)));
        Ok(())
    }

    fn throttled(&self) -> Throttled {
        self.throttling.as_ref().map(ThrottleCounters::read).unwrap_or_default()
    }

    /// Runs the measured loop.
    fn send(&mut self, messages: u64) -> io::Result<Walk> {
        let patience = self.active.service.options.stall_timeout;
        let (mut walk, mut idle) = (Walk::default(), 0);
        for _ in 0..messages {
            if self.active.is_finishing() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the host is being stopped"));
            }
            let timed = self.sampler.as_mut().is_some_and(CallSampler::is_due);
            let message = self.pool.next(&mut *self.sender, patience)?;
            match self.sampler.as_mut().filter(|_| timed) {
                None => self.sender.send(message)?,
                Some(sampler) => {
                    let message = Arc::clone(message);
                    sampler.send(&mut *self.sender, &message, self.pool.last_class())?;
                }
            }
            if let Some(chase) = &mut self.chase {
                walk += chase.walk(CHASE_STEPS);
            }
            idle += self.active.service.idle_steps;
            if idle >= IDLE_PORTION {
                count_to(idle);
                idle = 0;
            }
        }
        // The client may wait for all messages before its next request.
        self.sender.flush()?;
        Ok(walk)
    }

    fn drain(&mut self) -> io::Result<Duration> {
        let began = Instant::now();
        drain(&mut *self.sender, began + self.active.service.drain_timeout)?;
        Ok(began.elapsed())
    }

    /// The next request, however long the client is silent; `None` if the client has closed the connection.
    /// Stopping the server ends the wait, because it shuts the connection down.
    fn next_ask(&mut self) -> io::Result<Option<Ask>> {
        let stall = self.active.service.options.stall_timeout;
        let mut bytes = [0; Ask::BYTES];
        loop {
            match self.connection.readable_by(Instant::now() + stall)? {
                WakeReason::Ready => break,
                WakeReason::Late => {}
                // Take the notifications, because they would end every wait at once.
                WakeReason::ByErrorQueue => match self.sender.reap(Instant::now()) {
                    Ok(true) => {}
                    // Nothing is held, so it is an error, which receiving reports.
                    Ok(false) => break,
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    Err(error) => return Err(error),
                },
            }
        }
        if !self.connection.recv_exact(&mut bytes, Instant::now() + stall)? {
            return Ok(None);
        }
        Ask::decode(&bytes).map(Some).map_err(io::Error::other)
    }

    /// Waits until the kernel has released everything. If it does not in time, aborts the connection. Returns
    /// the ledger of the whole connection.
    fn finish(mut self) -> Ledger {
        if self.drain().is_err() {
            self.sender.abort();
        }
        self.sender.ledger()
    }
}

/// Does a known amount of extra work. It counts steps and not time, so that it slows down with the CPU as
/// sending does.
#[inline(never)]
fn count_to(steps: u64) {
    for step in 0..steps {
        std::hint::black_box(step);
    }
}
