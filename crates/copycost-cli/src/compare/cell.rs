//! One cell: measures its contestants side by side, in repeated set-ups.
//!
//! A set-up builds a new rig for each contestant. The rigs then take short turns in a balanced order, so that drift
//! affects all contestants alike. Set-ups repeat because a rig keeps its addresses and pages, and these affect its
//! speed.

use std::time::{Duration, Instant};

use super::contestant::Contestant;
use super::measured::{ContestantResult, SetUpSum, TurnResult, WarmRig, time_messages};
use super::metric::Metric;
use super::schedule::Schedule;
use crate::stats::Pair;
use copycost::cost::Measured as Figure;
use copycost::internals::cost::system::IdleBaseline;
use copycost::rig::{RigError, Work};

/// Why a contestant was not measured.
#[derive(Debug, thiserror::Error)]
#[error("{error} (in set-up {setup})")]
pub struct ContestantFailure {
    /// The set-up in which it failed, from 1.
    pub setup: usize,
    /// The error of its rig.
    pub error: RigError,
}

/// How a set-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetUpEnd {
    /// Every turn was taken.
    Complete,
    /// It was called off. Its turns are discarded.
    CalledOff,
    /// Every contestant has failed.
    NobodyLeft,
}

/// A cell during measurement.
#[derive(Debug)]
pub struct Cell {
    entries: Vec<CellEntry>,
    schedule: Schedule,
    baseline: Option<IdleBaseline>,
    setups: usize,
    /// When the first turn began.
    began: Option<Instant>,
}

#[derive(Debug)]
struct CellEntry {
    contestant: Contestant,
    state: Result<CellState, ContestantFailure>,
}

/// The results of one contestant's set-ups so far.
#[derive(Debug, Default)]
struct CellState {
    sum: Option<SetUpSum>,
    /// For each set-up, its figures in the order of [`Metric::ALL`].
    setups: Vec<Vec<Figure<f64>>>,
    /// For each set-up, its turns.
    turns: Vec<Vec<TurnResult>>,
}

impl Cell {
    /// A cell without set-ups. `seed` decides the order of the turns. `baseline` is how busy the idle machine is;
    /// without it there are no figures of the system.
    pub fn new(contestants: Vec<Contestant>, seed: u64, baseline: Option<IdleBaseline>) -> Self {
        let schedule = Schedule::new(contestants.len(), seed);
        let entry = |contestant| CellEntry { contestant, state: Ok(CellState::default()) };
        Self {
            entries: contestants.into_iter().map(entry).collect(),
            schedule,
            baseline,
            setups: 0,
            began: None,
        }
    }

    /// The rows of one balanced block: see [`Schedule::rows_per_block`].
    pub fn rows_per_block(&self) -> usize {
        self.schedule.rows_per_block()
    }

    /// Builds a rig for each contestant and lets each take `turns` turns of `work`. After each turn it calls `go_on`
    /// and stops if that returns false. A contestant that fails takes no more turns, in this set-up and in later ones.
    pub fn set_up(&mut self, turns: usize, work: Work, go_on: &mut dyn FnMut() -> bool) -> SetUpEnd {
        let number = self.setups + 1;
        let mut warm = self.build(number);
        let work = self.whole_decks(work, &mut warm, number);
        let began = *self.began.get_or_insert_with(Instant::now);
        for _ in 0..turns {
            for index in self.schedule.next().unwrap_or_default() {
                if let Some(warm_one) = &mut warm[index]
                    && let Err(error) = warm_one.take_turn(work, began)
                {
                    self.entries[index].state = Err(ContestantFailure { setup: number, error });
                    warm[index] = None;
                }
                if !go_on() {
                    return SetUpEnd::CalledOff;
                }
            }
        }
        if warm.iter().all(Option::is_none) {
            return SetUpEnd::NobodyLeft;
        }
        for (entry, warm) in self.entries.iter_mut().zip(warm) {
            if let (Ok(state), Some(warm)) = (&mut entry.state, warm) {
                state.add(warm);
            }
        }
        self.setups = number;
        SetUpEnd::Complete
    }

    /// With a workload, as many whole decks as fill the turn, so that all turns of a set-up have the same messages. The first
    /// contestant that can run shows how many those are.
    fn whole_decks(&mut self, work: Work, warm: &mut [Option<WarmRig>], number: usize) -> Work {
        let plays_decks = self.entries.iter().any(|entry| entry.contestant.scenario.workload.is_some());
        let Work::Window(length) = work else { return work };
        if !plays_decks {
            return work;
        }
        for (entry, slot) in self.entries.iter_mut().zip(warm) {
            let Some(rig) = slot else { continue };
            match rig.rounds_in(length) {
                Ok(rounds) => return Work::Rounds(rounds),
                Err(error) => {
                    entry.state = Err(ContestantFailure { setup: number, error });
                    *slot = None;
                }
            }
        }
        work
    }

    /// Builds the rigs of all contestants that have not failed. The order rotates from set-up to set-up, because the
    /// first rig gets different pages.
    fn build(&mut self, number: usize) -> Vec<Option<WarmRig>> {
        let count = self.entries.len();
        let mut warm: Vec<Option<WarmRig>> = (0..count).map(|_| None).collect();
        for place in 0..count {
            let index = (place + number) % count;
            let CellEntry { contestant, state } = &mut self.entries[index];
            let Ok(so_far) = state else { continue };
            let system = self.baseline.map(|_| so_far.sum.as_ref().map(SetUpSum::system).unwrap_or_default());
            match WarmRig::build(contestant, number, system) {
                Ok(built) => warm[index] = Some(built),
                Err(error) => *state = Err(ContestantFailure { setup: number, error }),
            }
        }
        warm
    }

    /// The name of a contestant in records.
    pub fn name(&self, index: usize) -> &str {
        &self.entries[index].contestant.name
    }

    /// The number of complete set-ups.
    pub fn setups(&self) -> usize {
        self.setups
    }

    /// The values of `path` and `reference` by `metric`, one pair for each set-up. The error is a sentence that says
    /// why there are none.
    pub fn pairs(&self, path: usize, reference: usize, metric: Metric) -> Result<Vec<Pair>, String> {
        let values = |index: usize| {
            let CellEntry { contestant, state } = &self.entries[index];
            let failed = |error: &ContestantFailure| format!("{} failed: {error}", contestant.name);
            let state = state.as_ref().map_err(failed)?;
            let value = |figures: &Vec<Figure<f64>>| {
                figures[metric as usize].clone().map_err(|missing| missing.to_string())
            };
            state.setups.iter().map(value).collect::<Result<Vec<_>, _>>()
        };
        let pair = |(path, reference)| Pair { path, reference };
        Ok(values(path)?.into_iter().zip(values(reference)?).map(pair).collect())
    }

    /// The turns of a contestant for each set-up; empty if it failed.
    pub fn turns(&self, index: usize) -> &[Vec<TurnResult>] {
        self.entries[index].state.as_ref().map_or(&[], |state| &state.turns)
    }

    /// Whether a contestant failed.
    pub fn has_failed(&self) -> bool {
        self.entries.iter().any(|entry| entry.state.is_err())
    }

    /// Takes the error of the first contestant that failed, and resets that contestant.
    pub fn take_failure(&mut self) -> Result<(), RigError> {
        for entry in &mut self.entries {
            if entry.state.is_err() {
                return std::mem::replace(&mut entry.state, Ok(CellState::default()))
                    .map(drop)
                    .map_err(|failed| failed.error);
            }
        }
        Ok(())
    }

    /// The results of all contestants. With `latency`, each gets a separate latency phase of that length, and
    /// `progress` is called after it.
    pub fn finish(
        self,
        latency: Option<Duration>,
        progress: &mut dyn FnMut(Duration),
    ) -> Vec<(Contestant, Result<ContestantResult, ContestantFailure>)> {
        let (baseline, setups) = (self.baseline, self.setups);
        let finish = |CellEntry { contestant, state }: CellEntry| {
            let never = || ContestantFailure { setup: setups + 1, error: RigError::Broken };
            let result = state.and_then(|state| state.sum.ok_or_else(never)).and_then(|sum| {
                let mut measured = sum.finish(&*contestant.site, baseline);
                if let Some(time) = latency {
                    let timed = time_messages(&contestant, time);
                    let (all, hosts) =
                        timed.map_err(|error| ContestantFailure { setup: setups + 1, error })?;
                    (measured.latency, measured.host_latencies) = (Some(all), hosts);
                    progress(time);
                }
                Ok(measured)
            });
            (contestant, result)
        };
        self.entries.into_iter().map(finish).collect()
    }
}

impl CellState {
    fn add(&mut self, warm: WarmRig) {
        self.turns.push(warm.turns().to_vec());
        if let Some(sample) = warm.sample() {
            self.setups.push(Metric::ALL.iter().map(|metric| metric.of(sample)).collect());
        }
        match &mut self.sum {
            None => self.sum = SetUpSum::first(warm),
            Some(sum) => sum.add(warm),
        }
    }
}

#[cfg(test)]
mod tests;
