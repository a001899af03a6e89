//! A fleet in this process and the news of its server: one run from its beginning to the last word of an end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use crossbeam::select;

use super::barrier::WindowBarrier;
use super::collector::RunCollector;
use super::error::{RigError, Side};
use super::sample::Sample;
use super::site::{DRAIN_TIMEOUT, RelayMeter, ServerGuard};
use crate::cgroup::throttle::ThrottleCounters;
use crate::clients::{ClientOutcome, Clients, RunState, Work};
use crate::cost::cpu;
use crate::server::WorkerUpdate;

/// The ends of a rig whose clients are in this process.
#[derive(Debug)]
pub(super) struct LocalRig {
    // Dropped in this order: clients first, so that the server sees them go.
    pub(super) fleet: Clients,
    pub(super) _server: Box<dyn ServerGuard>,
    pub(super) news: Receiver<WorkerUpdate>,
    pub(super) outcomes: Receiver<ClientOutcome>,
    pub(super) clients: usize,
    /// A peer that takes or gives nothing for so long is given up.
    pub(super) stall: Duration,
    /// The senders may take so long to make their messages.
    pub(super) preparation: Duration,
    /// What lies between the ends and costs something.
    pub(super) relay: Option<Arc<dyn RelayMeter>>,
    /// How often the control groups of this process stop it.
    pub(super) throttling: ThrottleCounters,
}

/// How often something is looked at that nobody reports.
const TICK: Duration = Duration::from_micros(500);

impl LocalRig {
    /// Does `work` on all clients, its window in step with `gate`.
    pub(super) fn run(&self, work: Work, gate: &mut dyn WindowBarrier) -> Result<Sample, RigError> {
        let turn = Arc::new(RunState::new(self.clients));
        let mut gathered = RunCollector::new(self.clients);
        let relay = self.relay.as_ref().map(|relay| relay.start());
        let before = self.throttling.read();
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        self.fleet.begin(&turn, work);
        let mut sample =
            self.watch(work, &turn, &mut gathered, gate).inspect_err(|_| turn.abandon_start())?;
        sample.wall = began.elapsed();
        sample.process = process.and_then(|earlier| cpu::process_since(earlier).ok());
        // The other end may be in groups of its own, and says so itself.
        sample.throttled = sample.throttled.worse(self.throttling.read() - before);
        sample.relayed = relay.map(|cost_since| cost_since());
        Ok(sample)
    }

    fn watch(
        &self,
        work: Work,
        turn: &RunState,
        gathered: &mut RunCollector,
        gate: &mut dyn WindowBarrier,
    ) -> Result<Sample, RigError> {
        let window = match work {
            Work::Window(length) => Some(self.window(length, turn, gathered, gate)?),
            Work::Rounds(_) | Work::Single(_) => None,
        };
        self.gather(turn, gathered)?;
        let mut sample = gathered.sample();
        (sample.bytes, sample.elapsed) = window.unwrap_or_else(|| {
            let began = gathered.receipts.iter().map(|receipt| receipt.asked).min();
            let (ended, bytes) = turn.first_finish().unwrap_or((Instant::now(), 0));
            (bytes, began.map_or(Duration::ZERO, |began| ended.saturating_duration_since(began)))
        });
        Ok(sample)
    }

    /// Bytes received between two instants while everyone sends.
    fn window(
        &self,
        length: Duration,
        turn: &RunState,
        gathered: &mut RunCollector,
        gate: &mut dyn WindowBarrier,
    ) -> Result<(u64, Duration), RigError> {
        let patience = Instant::now() + self.patience();
        while let Some(client) = turn.first_without_data() {
            if Instant::now() > patience {
                return Err(self.hung(format!("client {client} has not received a byte yet")));
            }
            self.listen_for(TICK, gathered)?;
        }
        let opens = loop {
            match gate.opens()? {
                Some(at) => break at,
                None => self.listen_for(TICK, gathered)?,
            };
        };
        self.listen_until(opens, gathered)?;
        let (began, before) = instant_and_bytes(turn);
        self.listen_until(began + length, gathered)?;
        let (ended, after) = instant_and_bytes(turn);
        while !gate.is_over()? {
            self.listen_for(TICK, gathered)?;
        }
        turn.close_window();
        Ok((after - before, ended - began))
    }

    /// Takes what either end says until `instant`.
    fn listen_until(&self, instant: Instant, gathered: &mut RunCollector) -> Result<(), RigError> {
        while Instant::now() < instant {
            self.listen_for(instant.saturating_duration_since(Instant::now()), gathered)?;
        }
        Ok(())
    }

    /// Waits until every end has said how the run was.
    fn gather(&self, turn: &RunState, gathered: &mut RunCollector) -> Result<(), RigError> {
        let mut last = (Instant::now(), turn.bytes());
        while !gathered.complete() {
            let heard = self.listen_for(Duration::from_secs(1), gathered)?;
            if heard || turn.bytes() != last.1 {
                last = (Instant::now(), turn.bytes());
            } else if last.0.elapsed() > self.patience() {
                return Err(self.hung(format!("no result of the run from {}", gathered.silent())));
            }
        }
        Ok(())
    }

    /// Longer than any end waits by itself, so that the end with the error speaks first.
    fn patience(&self) -> Duration {
        self.stall + 2 * DRAIN_TIMEOUT
    }

    /// Takes the next message from either end; false when there was none for so long.
    fn listen_for(&self, wait: Duration, gathered: &mut RunCollector) -> Result<bool, RigError> {
        select! {
            recv(self.news) -> news => match news {
                Ok(news) => gathered.take_news(news).map(|()| true),
                Err(_) => Err(RigError::Broken),
            },
            recv(self.outcomes) -> outcome => match outcome {
                Ok(outcome) => self.take_outcome(outcome, gathered).map(|()| true),
                Err(_) => Err(RigError::Broken),
            },
            default(wait) => Ok(false),
        }
    }

    /// A client's error is often only the echo of its sender's: give the sender a moment to say it first.
    fn take_outcome(&self, outcome: ClientOutcome, gathered: &mut RunCollector) -> Result<(), RigError> {
        let client = outcome.client;
        match outcome.result {
            Ok(receipt) => gathered.take_receipt(client, receipt),
            Err(error) => {
                let told_wrong = error.kind() == io::ErrorKind::InvalidData;
                let until = Instant::now() + Duration::from_millis(if told_wrong { 0 } else { 200 });
                while let Ok(news) = self.news.recv_deadline(until) {
                    gathered.take_news(news)?;
                }
                let ledger = Box::new(gathered.sample().ledger);
                return Err(RigError::End { side: Side::Client, client, error, ledger });
            }
        }
        Ok(())
    }

    /// Waits until every thread of either end is in its seat.
    pub(super) fn await_ready(&self) -> Result<RunCollector, RigError> {
        let mut gathered = RunCollector::new(self.clients);
        let patience = self.patience() + self.preparation;
        let until = Instant::now() + patience;
        while !gathered.complete() {
            if self.listen_for(Duration::from_secs(1), &mut gathered)? {
                continue;
            }
            // A server that could not make a thread for a connection can only end it.
            if let Some(client) = self.fleet.ended() {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection");
                return Err(RigError::End { side: Side::Client, client, error, ledger: Box::default() });
            }
            if Instant::now() > until {
                let silent = format!("not ready: {}", gathered.silent());
                return Err(RigError::Hung { patience, silent });
            }
        }
        Ok(gathered)
    }

    fn hung(&self, silent: String) -> RigError {
        RigError::Hung { patience: self.patience(), silent }
    }
}

/// An instant and what had been received at it: again if the thread was put aside between the two readings.
fn instant_and_bytes(turn: &RunState) -> (Instant, u64) {
    const TRIES: usize = 5;
    const APART: Duration = Duration::from_micros(50);
    let read = || {
        let before = Instant::now();
        let bytes = turn.bytes();
        (before, bytes, before.elapsed())
    };
    let mut best = read();
    for _ in 1..TRIES {
        if best.2 < APART {
            break;
        }
        best = read();
    }
    (best.0, best.1)
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::unbounded;

    use super::super::{Loopback, ServerSite as _, members};
    use super::*;
    use crate::message::Spec;
    use crate::placement::{self, ThreadPlacement};
    use crate::protocol::Ticket;
    use crate::scenario::Scenario;
    use crate::send;

    #[test]
    fn a_connection_that_the_server_ends_before_the_first_run_is_told_at_once() {
        let scenario = Scenario::new(&send::ALL[0], Spec::new(64).unwrap(), 2);
        let (news_to, news) = unbounded();
        let reached = Loopback.reach(&scenario, &placement::cpus().unwrap(), news_to).unwrap();
        // A ticket that is not the service's: the server shows them the door, and says nothing.
        let (seats, ticket) = (vec![ThreadPlacement::default(); 2], Ticket::new().unwrap());
        let members = members(&scenario, seats, reached.address, ticket).unwrap();
        let (outcomes_to, outcomes) = unbounded();
        let own = LocalRig {
            fleet: Clients::start(members, &outcomes_to).unwrap(),
            _server: reached.end,
            news,
            outcomes,
            clients: 2,
            stall: scenario.options.stall_timeout,
            preparation: scenario.preparation(),
            relay: None,
            throttling: ThrottleCounters::open(),
        };
        let began = Instant::now();
        let error = own.await_ready().map(drop).unwrap_err();
        assert!(matches!(error, RigError::End { side: Side::Client, client: 0, .. }), "{error}");
        assert!(error.to_string().contains("the server ended the connection"), "{error}");
        assert!(began.elapsed() < own.patience());
    }
}
