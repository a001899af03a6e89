//! A fleet in this process and the news of its server: one run from its beginning to the last word of an end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use crossbeam::select;

use super::error::{RigError, Side};
use super::gate::Gate;
use super::gathered::Gathered;
use super::sample::Sample;
use super::site::{DRAIN, ServerEnd};
use crate::cost::cpu;
use crate::fleet::{Fleet, Outcome, Turn, Work};
#[cfg(feature = "cli")]
use crate::lab::Lab;
use crate::server::News;

/// The ends of a rig whose clients are in this process.
#[derive(Debug)]
pub(super) struct Own {
    // Dropped in this order: clients first, so that the server sees them go.
    pub(super) fleet: Fleet,
    pub(super) _server: ServerEnd,
    pub(super) news: Receiver<News>,
    pub(super) outcomes: Receiver<Outcome>,
    pub(super) clients: usize,
    /// A peer that takes or gives nothing for so long is given up.
    pub(super) stall: Duration,
    #[cfg(feature = "cli")]
    pub(super) lab: Option<Arc<Lab>>,
}

/// How often something is looked at that nobody reports.
const TICK: Duration = Duration::from_micros(500);

impl Own {
    /// Does `work` on all clients, its window in step with `gate`.
    pub(super) fn run(&self, work: Work, gate: &mut dyn Gate) -> Result<Sample, RigError> {
        let turn = Arc::new(Turn::new(self.clients));
        let mut gathered = Gathered::new(self.clients);
        #[cfg(feature = "cli")]
        let books = self.lab.as_ref().map(|lab| lab.books());
        let (process, began) = (cpu::process_now().ok(), Instant::now());
        self.fleet.begin(&turn, work);
        let mut sample = self.watch(work, &turn, &mut gathered, gate)?;
        sample.wall = began.elapsed();
        sample.process = process.and_then(|earlier| cpu::process_since(earlier).ok());
        #[cfg(feature = "cli")]
        {
            sample.relayed = self.lab.as_ref().zip(books).map(|(lab, books)| lab.since(&books));
        }
        Ok(sample)
    }

    fn watch(
        &self,
        work: Work,
        turn: &Turn,
        gathered: &mut Gathered,
        gate: &mut dyn Gate,
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
        turn: &Turn,
        gathered: &mut Gathered,
        gate: &mut dyn Gate,
    ) -> Result<(u64, Duration), RigError> {
        let patience = Instant::now() + self.patience();
        while !turn.all_receive() {
            if Instant::now() > patience {
                return Err(RigError::Hung(self.patience()));
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
        turn.enough();
        Ok((after - before, ended - began))
    }

    /// Takes what either end says until `instant`.
    fn listen_until(&self, instant: Instant, gathered: &mut Gathered) -> Result<(), RigError> {
        while Instant::now() < instant {
            self.listen_for(instant.saturating_duration_since(Instant::now()), gathered)?;
        }
        Ok(())
    }

    /// Waits until every end has said how the run was.
    fn gather(&self, turn: &Turn, gathered: &mut Gathered) -> Result<(), RigError> {
        let mut last = (Instant::now(), turn.bytes());
        while !gathered.complete() {
            let heard = self.listen_for(Duration::from_secs(1), gathered)?;
            if heard || turn.bytes() != last.1 {
                last = (Instant::now(), turn.bytes());
            } else if last.0.elapsed() > self.patience() {
                return Err(RigError::Hung(self.patience()));
            }
        }
        Ok(())
    }

    /// Longer than any end waits by itself, so that the end with the error speaks first.
    fn patience(&self) -> Duration {
        self.stall + 2 * DRAIN
    }

    /// Takes the next message from either end; false when there was none for so long.
    fn listen_for(&self, wait: Duration, gathered: &mut Gathered) -> Result<bool, RigError> {
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
    fn take_outcome(&self, outcome: Outcome, gathered: &mut Gathered) -> Result<(), RigError> {
        let client = outcome.client;
        match outcome.result {
            Ok(receipt) => gathered.receipts.push(receipt),
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
    pub(super) fn await_ready(&self) -> Result<Gathered, RigError> {
        let mut gathered = Gathered::new(self.clients);
        let until = Instant::now() + self.patience();
        while gathered.ready < gathered.clients || gathered.receipts.len() < gathered.clients {
            self.listen_for(Duration::from_secs(1), &mut gathered)?;
            if Instant::now() > until {
                return Err(RigError::Hung(self.patience()));
            }
        }
        Ok(gathered)
    }
}

/// An instant and what had been received at it: again if the thread was put aside between the two readings.
fn instant_and_bytes(turn: &Turn) -> (Instant, u64) {
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
