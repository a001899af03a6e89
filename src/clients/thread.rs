//! The thread of one client: it asks for messages, receives and counts them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Commands, Sender};

use super::portion::Portion;
use super::state::RunState;
use super::{ClientConfig, ClientOutcome, ClientReport, OpenLoop, Work};
use crate::cost::meter::Meter;
use crate::protocol::Ask;
use crate::recv::Verifier;
use crate::sys::socket::SendFlags;

pub(super) struct ClientThread {
    index: usize,
    config: ClientConfig,
    outcomes: Sender<ClientOutcome>,
    /// A run has begun and its outcome has not been sent. `Drop` then reports a panic.
    owes_outcome: bool,
}

impl Drop for ClientThread {
    fn drop(&mut self) {
        if self.owes_outcome {
            self.report(Err(io::Error::other("its thread panicked")));
        }
    }
}

impl ClientThread {
    pub(super) fn new(index: usize, config: ClientConfig, outcomes: Sender<ClientOutcome>) -> Self {
        Self { index, config, outcomes, owes_outcome: false }
    }

    fn report(&mut self, result: io::Result<ClientReport>) {
        self.owes_outcome = false;
        let _ = self.outcomes.send(ClientOutcome { client: self.index, result });
    }

    pub(super) fn run_commands(mut self, commands: &Commands<(Arc<RunState>, Work)>) {
        let placed = self.config.placement.apply();
        self.owes_outcome = true;
        self.report(placed.map(|()| ClientReport::begin()));
        let mut meter = Meter::open(self.config.counted);
        while let Ok((state, work)) = commands.recv() {
            self.owes_outcome = true;
            let result = self.run(&mut meter, &state, work);
            self.report(result);
        }
    }

    fn run(&mut self, meter: &mut Meter, state: &RunState, work: Work) -> io::Result<ClientReport> {
        let before = self.config.receiver.mapped();
        meter.start();
        let mut report = ClientReport::begin();
        match work {
            Work::Rounds(n) => {
                let messages = n.checked_mul(self.config.sizes.messages_of_round()).ok_or_else(too_many)?;
                let bytes = self.config.sizes.next_bytes(messages).ok_or_else(too_many)?;
                report.messages = messages;
                self.ask(messages, true)?;
                self.receive_until(bytes, &mut report, state)?;
            }
            Work::Window(length) => self.receive_while_open(length, &mut report, state)?,
            Work::Single(n) => self.receive_one_by_one(n, &mut report, state)?,
            Work::OpenLoop(load) => self.receive_when_due(&load, &mut report, state)?,
        }
        state.finish();
        // Acknowledge now and not in 40 ms, because a zero-copy sender waits for the acknowledgement.
        self.config.socket.options().set_tcp_quickack(true)?;
        self.config.receiver.release()?;
        report.spent = meter.stop(report.messages);
        report.mapped = self.config.receiver.mapped().zip(before).map(|(now, before)| now.since(&before));
        match self.config.verifier.as_ref().and_then(Verifier::wrong) {
            Some(wrong) => Err(io::Error::new(io::ErrorKind::InvalidData, wrong)),
            None => Ok(report),
        }
    }

    fn receive_until(&mut self, bytes: u64, report: &mut ClientReport, state: &RunState) -> io::Result<()> {
        while report.bytes < bytes {
            self.receive(bytes - report.bytes, report, state)?;
        }
        Ok(())
    }

    /// Asks ahead until the window is over, so that the sender never waits for a request. Then it receives
    /// the rest.
    fn receive_while_open(
        &mut self,
        length: Duration,
        report: &mut ClientReport,
        state: &RunState,
    ) -> io::Result<()> {
        let mut portion = Portion::new(self.config.sizes.mean(), length);
        let mut asked = 0;
        let mut started = false;
        while !state.window_closed() {
            if asked - report.bytes <= portion.bytes() {
                let messages = portion.next();
                self.ask(messages, false)?;
                asked += self.config.sizes.next_bytes(messages).ok_or_else(too_many)?;
                report.messages += messages;
            }
            // After the next request, so that the sender has work.
            if report.bytes > 0 && !std::mem::replace(&mut started, true) {
                state.start_together();
                portion.asked = Instant::now();
            }
            self.receive(asked - report.bytes, report, state)?;
        }
        self.ask(0, true)?;
        self.receive_until(asked, report, state)
    }

    fn receive_one_by_one(&mut self, n: u64, report: &mut ClientReport, state: &RunState) -> io::Result<()> {
        if n == 0 {
            return self.ask(0, true);
        }
        let mut bytes = 0;
        for i in 1..=n {
            bytes += self.config.sizes.next_bytes(1).unwrap_or_default();
            let asked = Instant::now();
            self.ask(1, i == n)?;
            self.receive_until(bytes, report, state)?;
            report.messages = i;
            report.latency.record(asked.elapsed());
        }
        Ok(())
    }

    /// Receives what the generator asks for. The latency of a message counts from the moment it was due.
    fn receive_when_due(
        &mut self,
        load: &OpenLoop,
        report: &mut ClientReport,
        state: &RunState,
    ) -> io::Result<()> {
        let (progress, client) = (&state.open_loop, self.index);
        let stall = self.config.socket.options().read_timeout()?.unwrap_or(Duration::MAX);
        let mut times = load.due_times(client);
        let mut next = times.next();
        let mut expected = match next {
            Some(_) => self.config.sizes.next_bytes(1).ok_or_else(too_many)?,
            None => 0,
        };
        progress.add_ready();
        while let Some(due) = next {
            match self.receive(u64::MAX, report, state) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    // The timeout counts from when the message was due, however long that is after the last one.
                    let waited = progress.start().map(|start| start.elapsed().saturating_sub(due));
                    if waited.is_some_and(|waited| waited >= stall) {
                        return Err(error);
                    }
                    continue;
                }
                result => result?,
            }
            let now = Instant::now();
            let start = progress.start().ok_or_else(unasked)?;
            while let Some(due) = next
                && report.bytes >= expected
            {
                report.messages += 1;
                if progress.is_closed_by(client, report.messages) {
                    next = None;
                    break;
                }
                report.latency.record(now.saturating_duration_since(start + due));
                report.due_span = Some((report.due_span.map_or(start + due, |span| span.0), now));
                next = times.next();
                if next.is_some() {
                    expected += self.config.sizes.next_bytes(1).ok_or_else(too_many)?;
                }
            }
            progress.set_received(client, report.messages);
        }
        if report.bytes == expected { Ok(()) } else { Err(unasked()) }
    }

    fn receive(&mut self, most: u64, report: &mut ClientReport, state: &RunState) -> io::Result<()> {
        let ClientConfig { receiver, verifier, .. } = &mut self.config;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let got = receiver
            .recv(most, &mut |bytes| {
                if let Some(verifier) = verifier {
                    verifier.see(bytes);
                }
            })
            .map_err(explain_timeout)?;
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection"));
        }
        report.bytes += got as u64;
        state.set_received(self.index, report.bytes);
        Ok(())
    }

    fn ask(&self, messages: u64, last: bool) -> io::Result<()> {
        let bytes = Ask { messages, last }.encode();
        let sent = self.config.socket.send(&bytes, SendFlags::NONE)?;
        // Sixteen bytes always fit, unless the server has left thousands of requests unread.
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "this many rounds would exceed 2^64 bytes: use fewer")
}

fn unasked() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent data that nobody asked for")
}

fn explain_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "the server sent nothing before the timeout")
        }
        _ => error,
    }
}
