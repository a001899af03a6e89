//! One client's thread: hello, then ask after ask, until the client goes.

use std::io;
use std::time::{Duration, Instant};

use super::{Failure, Report, Shared, Told};
use crate::connection;
use crate::message::Layout;
use crate::protocol::{Ask, Hello, Misunderstood};
use crate::send::{Ledger, Sender, drain};
use crate::supply::Supply;
use crate::sys::socket::{Calls, Socket};
use crate::sys::usage::Usage;

/// Serves one connection to its end. What goes wrong after the hello is told to the owner; a stranger is only
/// shown the door.
pub(super) fn hold(shared: &Shared, socket: Socket) {
    let Ok(client) = greet(shared, &socket) else { return };
    let mut farewell = Farewell { shared, client, told: false };
    match Conversation::open(shared, client, socket) {
        Ok(mut conversation) => {
            shared.tell(client, Told::Ready { huge_share: conversation.huge_share() });
            let result = conversation.serve_until_gone();
            let ledger = conversation.finish();
            if let Err(error) = result {
                shared.tell(client, Told::Failed(Failure { error, ledger }));
            }
        }
        Err(error) => shared.tell(client, Told::Failed(Failure { error, ledger: Ledger::default() })),
    }
    farewell.told = true;
}

/// Tells the owner when this thread panics, so that nobody waits for it.
struct Farewell<'a> {
    shared: &'a Shared,
    client: usize,
    told: bool,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if !self.told {
            let error = io::Error::other("its thread panicked");
            self.shared.tell(self.client, Told::Failed(Failure { error, ledger: Ledger::default() }));
        }
    }
}

fn greet(shared: &Shared, socket: &Socket) -> io::Result<usize> {
    let mut bytes = [0; Hello::BYTES];
    if !socket.recv_exact(&mut bytes, Instant::now() + shared.service.hello_timeout)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let hello = Hello::decode(&bytes).map_err(io::Error::other)?;
    let client = hello.client as usize;
    if hello.ticket != shared.service.ticket || !shared.admit(client) {
        return Err(io::Error::other(Misunderstood::Uninvited));
    }
    Ok(client)
}

struct Conversation<'a> {
    shared: &'a Shared,
    client: usize,
    /// Where asks come from; the sender has a handle of its own, whose calls are counted.
    asks: Socket,
    calls: Calls,
    supply: Supply,
    sender: Box<dyn Sender>,
}

impl<'a> Conversation<'a> {
    fn open(shared: &'a Shared, client: usize, asks: Socket) -> io::Result<Self> {
        let service = &shared.service;
        service.seats[client].take()?;
        let supply = Supply::new(&service.spec, service.verify)?;
        let socket = asks.try_clone()?;
        let calls = socket.calls();
        let sender = (service.path.open)(socket, &supply, service.budget)?;
        Ok(Self { shared, client, asks, calls, supply, sender })
    }

    fn huge_share(&self) -> Option<f64> {
        let asked = self.client == 0 && self.shared.service.spec.layout == Layout::Huge;
        asked.then(|| self.supply.huge_share())
    }

    fn serve_until_gone(&mut self) -> io::Result<()> {
        while let Some(ask) = self.next_ask()? {
            self.serve_run(ask)?;
        }
        Ok(())
    }

    /// One run: this ask and those that follow until the last of the run, then the drain and the report.
    fn serve_run(&mut self, first: Ask) -> io::Result<()> {
        let (calls, usage, ledger) = (self.calls.get(), Usage::of_thread(), self.sender.ledger());
        let mut messages = 0;
        let mut ask = first;
        loop {
            self.send(ask.messages)?;
            messages += ask.messages;
            if ask.last {
                break;
            }
            ask = self.next_ask()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        connection::push(&self.asks)?;
        let drain = self.drain()?;
        let report = Report {
            messages,
            calls: self.calls.get() - calls,
            usage: Usage::of_thread().since(&usage),
            ledger: self.sender.ledger().since(&ledger),
            drain,
        };
        self.shared.tell(self.client, Told::Report(report));
        Ok(())
    }

    /// The loop that is measured.
    fn send(&mut self, messages: u64) -> io::Result<()> {
        let patience = self.shared.service.options.stall;
        for _ in 0..messages {
            let message = self.supply.next(&mut *self.sender, patience)?;
            self.sender.send(message)?;
        }
        // The client may wait for all of it before it asks again.
        self.sender.flush()
    }

    fn drain(&mut self) -> io::Result<Duration> {
        let began = Instant::now();
        drain(&mut *self.sender, began + self.shared.service.drain_timeout)?;
        Ok(began.elapsed())
    }

    /// The next ask, however long the client is silent; `None` when it has gone. A stop ends the wait, because
    /// it shuts the connection down.
    fn next_ask(&self) -> io::Result<Option<Ask>> {
        let stall = self.shared.service.options.stall;
        let mut bytes = [0; Ask::BYTES];
        while !self.asks.readable_by(Instant::now() + stall)? {}
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
