//! The clients in this process and the reports of their server, during one run.

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

/// A rig whose clients are in this process.
#[derive(Debug)]
pub(super) struct LocalRig {
    // Dropped in this order: clients first, so that the server sees their connections close.
    pub(super) clients: Clients,
    pub(super) _server: Box<dyn ServerGuard>,
    pub(super) updates: Receiver<WorkerUpdate>,
    pub(super) outcomes: Receiver<ClientOutcome>,
    pub(super) client_count: usize,
    /// A connection ends if the peer neither sends nor receives for this long.
    pub(super) stall: Duration,
    /// The longest time that the senders may take to make their messages.
    pub(super) preparation: Duration,
    /// Measures the relay between the ends, if there is one.
    pub(super) relay: Option<Arc<dyn RelayMeter>>,
    /// Counts how often control groups stop this process.
    pub(super) throttling: ThrottleCounters,
}

/// How often to poll for what no end reports.
const TICK: Duration = Duration::from_micros(500);

impl LocalRig {
    /// Does `work` on all clients. `barrier` decides when a window opens and ends.
    pub(super) fn run(&self, work: Work, barrier: &mut dyn WindowBarrier) -> Result<Sample, RigError> {
        let state = Arc::new(RunState::new(self.client_count));
        let mut collector = RunCollector::new(self.client_count);
        let relay = self.relay.as_ref().map(|relay| relay.start());
        let before = self.throttling.read();
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        self.clients.begin(&state, work);
        let mut sample =
            self.watch(work, &state, &mut collector, barrier).inspect_err(|_| state.abandon())?;
        sample.wall = began.elapsed();
        sample.process = process.and_then(|earlier| cpu::process_since(earlier).ok());
        // The other end may be in other groups and reports them itself.
        sample.throttled = sample.throttled.worse(self.throttling.read() - before);
        sample.relayed = relay.map(|cost_since| cost_since());
        Ok(sample)
    }

    fn watch(
        &self,
        work: Work,
        state: &RunState,
        collector: &mut RunCollector,
        barrier: &mut dyn WindowBarrier,
    ) -> Result<Sample, RigError> {
        let window = match work {
            Work::Window(length) => Some(self.window(length, state, collector, barrier)?),
            Work::Rounds(_) | Work::Single(_) | Work::OpenLoop(_) => None,
        };
        // The messages of an open loop may be as far apart as the run is long.
        let silence = if let Work::OpenLoop(load) = work { load.length } else { Duration::ZERO };
        self.collect(state, collector, self.patience().saturating_add(silence))?;
        let mut sample = collector.sample();
        if matches!(work, Work::OpenLoop(_)) {
            let report = self.clients.generated(self.patience());
            let report = report.ok_or_else(|| self.hung("no result of the generator".to_owned()))?;
            let sum = collector.open_loop_sample(report);
            (sample.bytes, sample.elapsed) = (sample.sent, sum.elapsed);
            sample.open_loop = Some(sum);
            return Ok(sample);
        }
        (sample.bytes, sample.elapsed) = window.unwrap_or_else(|| {
            let began = collector.client_reports.iter().map(|report| report.asked).min();
            let (ended, bytes) = state.first_finish().unwrap_or((Instant::now(), 0));
            (bytes, began.map_or(Duration::ZERO, |began| ended.saturating_duration_since(began)))
        });
        Ok(sample)
    }

    /// The bytes received between two instants while every sender sends.
    fn window(
        &self,
        length: Duration,
        state: &RunState,
        collector: &mut RunCollector,
        barrier: &mut dyn WindowBarrier,
    ) -> Result<(u64, Duration), RigError> {
        let patience = Instant::now() + self.patience();
        while let Some(client) = state.first_without_data() {
            if Instant::now() > patience {
                return Err(self.hung(format!("client {client} has not received a byte yet")));
            }
            self.listen_for(TICK, collector)?;
        }
        let opens = loop {
            match barrier.opens()? {
                Some(at) => break at,
                None => self.listen_for(TICK, collector)?,
            };
        };
        self.listen_until(opens, collector)?;
        let (began, before) = instant_and_bytes(state);
        self.listen_until(began + length, collector)?;
        let (ended, after) = instant_and_bytes(state);
        while !barrier.is_over()? {
            self.listen_for(TICK, collector)?;
        }
        state.close_window();
        Ok((after - before, ended - began))
    }

    /// Takes the reports of both ends until `instant`.
    fn listen_until(&self, instant: Instant, collector: &mut RunCollector) -> Result<(), RigError> {
        while Instant::now() < instant {
            self.listen_for(instant.saturating_duration_since(Instant::now()), collector)?;
        }
        Ok(())
    }

    /// Waits until every end has reported its result, for `patience` after anything has arrived.
    fn collect(
        &self,
        state: &RunState,
        collector: &mut RunCollector,
        patience: Duration,
    ) -> Result<(), RigError> {
        let mut last = (Instant::now(), state.bytes());
        while !collector.complete() {
            let heard = self.listen_for(Duration::from_secs(1), collector)?;
            if heard || state.bytes() != last.1 {
                last = (Instant::now(), state.bytes());
            } else if last.0.elapsed() > patience {
                let silent = format!("no result of the run from {}", collector.silent());
                return Err(RigError::Stalled { patience, silent });
            }
        }
        Ok(())
    }

    /// Longer than the timeouts of the ends, so that an end with an error reports it first.
    fn patience(&self) -> Duration {
        self.stall + 2 * DRAIN_TIMEOUT
    }

    /// Takes the next report of either end. False if there was none within `wait`.
    fn listen_for(&self, wait: Duration, collector: &mut RunCollector) -> Result<bool, RigError> {
        select! {
            recv(self.updates) -> update => match update {
                Ok(update) => collector.take_update(update).map(|()| true),
                Err(_) => Err(RigError::Broken),
            },
            recv(self.outcomes) -> outcome => match outcome {
                Ok(outcome) => self.take_outcome(outcome, collector).map(|()| true),
                Err(_) => Err(RigError::Broken),
            },
            default(wait) => Ok(false),
        }
    }

    /// A client's error often follows from its sender's, so this waits 200 ms for the sender's error. Wrong
    /// data is an error of its own.
    fn take_outcome(&self, outcome: ClientOutcome, collector: &mut RunCollector) -> Result<(), RigError> {
        let client = outcome.client;
        match outcome.result {
            Ok(report) => collector.take_client_report(client, report),
            Err(error) => {
                let wrong_data = error.kind() == io::ErrorKind::InvalidData;
                let until = Instant::now() + Duration::from_millis(if wrong_data { 0 } else { 200 });
                while let Ok(update) = self.updates.recv_deadline(until) {
                    collector.take_update(update)?;
                }
                let ledger = Box::new(collector.sample().ledger);
                return Err(RigError::EndFailed { side: Side::Client, client, error, ledger });
            }
        }
        Ok(())
    }

    /// Waits until every thread of both ends is ready.
    pub(super) fn await_ready(&self) -> Result<RunCollector, RigError> {
        let mut collector = RunCollector::new(self.client_count);
        let patience = self.patience() + self.preparation;
        let until = Instant::now() + patience;
        while !collector.complete() {
            if self.listen_for(Duration::from_secs(1), &mut collector)? {
                continue;
            }
            // A server that could not start a thread for a connection can only close it.
            if let Some(client) = self.clients.ended() {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection");
                return Err(RigError::EndFailed {
                    side: Side::Client,
                    client,
                    error,
                    ledger: Box::default(),
                });
            }
            if Instant::now() > until {
                let silent = format!("not ready: {}", collector.silent());
                return Err(RigError::Stalled { patience, silent });
            }
        }
        Ok(collector)
    }

    fn hung(&self, silent: String) -> RigError {
        RigError::Stalled { patience: self.patience(), silent }
    }
}

/// An instant and the bytes received by then. It reads again if the thread was interrupted between the two
/// readings.
fn instant_and_bytes(state: &RunState) -> (Instant, u64) {
    const TRIES: usize = 5;
    const APART: Duration = Duration::from_micros(50);
    let read = || {
        let before = Instant::now();
        let bytes = state.bytes();
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

    use super::super::{Loopback, ServerSite as _, client_configs};
    use super::*;
    use crate::message::Spec;
    use crate::placement::{self, ThreadPlacement};
    use crate::protocol::Ticket;
    use crate::scenario::Scenario;
    use crate::send;

    #[test]
    fn a_connection_closed_before_the_first_run_is_reported_at_once() {
        let scenario = Scenario::new(&send::ALL[0], Spec::new(64).unwrap(), 2);
        let (update_sender, updates) = unbounded();
        let reached = Loopback.start_server(&scenario, &placement::cpus().unwrap(), update_sender).unwrap();
        // The ticket is not the service's, so the server closes the connections without a message.
        let (placements, ticket) = (vec![ThreadPlacement::default(); 2], Ticket::new().unwrap());
        let configs = client_configs(&scenario, placements, reached.address, ticket).unwrap();
        let (outcomes_to, outcomes) = unbounded();
        let rig = LocalRig {
            clients: Clients::start(configs, None, &outcomes_to).unwrap(),
            _server: reached.guard,
            updates,
            outcomes,
            client_count: 2,
            stall: scenario.options.stall_timeout,
            preparation: scenario.preparation(),
            relay: None,
            throttling: ThrottleCounters::open(),
        };
        let began = Instant::now();
        let error = rig.await_ready().map(drop).unwrap_err();
        assert!(matches!(error, RigError::EndFailed { side: Side::Client, client: 0, .. }), "{error}");
        assert!(error.to_string().contains("the server ended the connection"), "{error}");
        assert!(began.elapsed() < rig.patience());
    }
}
