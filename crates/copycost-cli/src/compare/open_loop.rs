//! Paths under loads that do not wait: messages are due at times that no answer changes.
//!
//! A set-up builds a rig for each path. At each load, from the lowest on, the paths then take turns in a balanced order.
//! All paths of a set-up have the same arrivals.

use std::time::Duration;

use super::cell::{ContestantFailure, SetUpEnd};
use super::contestant::Contestant;
use super::measured::{ContestantResult, RigFacts};
use super::metric::Metric;
use super::schedule::Schedule;
use copycost::cost::Measured as Figure;
use copycost::latency::Latencies;
use copycost::rig::{Arrivals, OpenLoop, OpenLoopSample, Rig, RigError, Sample, Work};

/// A load that is offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfferedLoad {
    /// Messages a second for each client.
    pub per_client: f64,
    /// The share of the rate at which the reference saturates; `None` if the user asked for a rate.
    pub share: Option<f64>,
}

impl OfferedLoad {
    fn interval(&self) -> Duration {
        Duration::from_secs_f64((1.0 / self.per_client).clamp(1e-9, 1e6))
    }
}

/// The longest run, so that a signal is heard between two of them.
const LONGEST_RUN: Duration = Duration::from_secs(1);

/// How long a rig runs before its first load, so that its connections and caches are warm.
const WARM_UP: Duration = Duration::from_millis(100);

/// A path that receives less than this share of what was due cannot carry the load.
pub const CARRIED_FROM: f64 = 0.97;

/// What one path came to at one load.
#[derive(Debug)]
pub struct LoadedResult {
    /// The sum of each set-up's runs.
    pub setups: Vec<Sample>,
    /// The sum of all set-ups, with what is known of the rigs.
    pub whole: ContestantResult,
}

/// A path with its result at each load, or why it failed.
pub type PathAtLoads = (Contestant, Result<Vec<LoadedResult>, ContestantFailure>);

impl LoadedResult {
    /// The latencies of each set-up.
    pub fn latencies(&self) -> Vec<Latencies> {
        self.setups.iter().map(|sample| sample.latency.clone()).collect()
    }

    /// What was due and what was received, over all set-ups.
    pub fn open_loop(&self) -> OpenLoopSample {
        self.whole.sample.open_loop.clone().unwrap_or_default()
    }
}

/// Messages received a second, of all clients together.
pub fn achieved(open_loop: &OpenLoopSample) -> f64 {
    open_loop.received as f64 / open_loop.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Whether a load was not carried that offered `offered` messages a second of all clients together.
pub fn is_saturated(open_loop: &OpenLoopSample, offered: f64) -> bool {
    falls_short(open_loop, offered, CARRIED_FROM)
}

fn falls_short(open_loop: &OpenLoopSample, offered: f64, share: f64) -> bool {
    open_loop.overloaded || achieved(open_loop) < share * offered
}

/// The sender's CPU time for each message, in ns.
///
/// # Errors
/// As [`Metric::of`].
pub fn sender_ns_per_message(sample: &Sample) -> Figure<f64> {
    let kib_per_message = sample.sent as f64 / 1024.0 / sample.messages.max(1) as f64;
    Ok(Metric::SenderDemand.of(sample)? * kib_per_message)
}

/// A path of a cell, and its samples so far.
#[derive(Debug)]
struct LoadedPath {
    contestant: Contestant,
    facts: Option<RigFacts>,
    /// For each load, the sum of each set-up's runs.
    setups: Vec<Vec<Sample>>,
    /// Why it takes no more turns.
    failed: Option<ContestantFailure>,
}

impl LoadedPath {
    /// Whether a load was too much in an earlier set-up. It is not offered again: it would be in the way of the others.
    fn has_given_up(&self, load: usize) -> bool {
        let overloaded = |sample: &Sample| sample.open_loop.as_ref().is_some_and(|run| run.overloaded);
        self.setups[load].iter().any(overloaded)
    }

    fn fail(&mut self, setup: usize, error: RigError) {
        self.failed = Some(ContestantFailure { setup, error });
    }
}

/// Several paths under several loads.
#[derive(Debug)]
pub struct OpenLoopCell {
    paths: Vec<LoadedPath>,
    loads: Vec<OfferedLoad>,
    arrivals: Arrivals,
    schedule: Schedule,
    setups: usize,
}

impl OpenLoopCell {
    /// A cell without set-ups. `seed` decides the order of turns.
    pub fn new(contestants: Vec<Contestant>, loads: Vec<OfferedLoad>, arrivals: Arrivals, seed: u64) -> Self {
        let schedule = Schedule::new(contestants.len(), seed);
        let path = |contestant| LoadedPath {
            contestant,
            facts: None,
            setups: vec![Vec::new(); loads.len()],
            failed: None,
        };
        Self { paths: contestants.into_iter().map(path).collect(), schedule, loads, arrivals, setups: 0 }
    }

    /// The number of complete set-ups.
    pub fn setups(&self) -> usize {
        self.setups
    }

    /// Builds a rig for each path and offers it each load for `length`. After each run it calls `go_on`; if that returns
    /// false, the set-up is discarded.
    pub fn set_up(&mut self, length: Duration, go_on: &mut dyn FnMut() -> bool) -> SetUpEnd {
        let number = self.setups + 1;
        let mut rigs = self.build(number);
        let mut samples = vec![vec![None; self.loads.len()]; self.paths.len()];
        for (place, load) in self.loads.iter().enumerate() {
            for index in self.schedule.next().unwrap_or_default() {
                let path = &mut self.paths[index];
                let Some(rig) = rigs[index].as_mut().filter(|_| !path.has_given_up(place)) else { continue };
                let turn = Turn { load, arrivals: self.arrivals, length, warms_up: place == 0 };
                // The seed of the offsets is that of the set-up, so all paths have the same arrivals.
                let seed = rig.scenario().offsets.seed.wrapping_add(place as u64);
                match turn.take(rig, seed, go_on) {
                    Ok(Some(sample)) => samples[index][place] = Some(sample),
                    Ok(None) => return SetUpEnd::CalledOff,
                    Err(error) => {
                        path.fail(number, error);
                        rigs[index] = None;
                    }
                }
            }
        }
        for ((path, rig), samples) in self.paths.iter_mut().zip(&rigs).zip(samples) {
            let Some(rig) = rig else { continue };
            match &mut path.facts {
                None => path.facts = Some(RigFacts::of(rig)),
                Some(facts) => facts.add(rig),
            }
            path.setups.iter_mut().zip(samples).for_each(|(setups, sample)| setups.extend(sample));
        }
        self.setups = number;
        if rigs.iter().all(Option::is_none) { SetUpEnd::NobodyLeft } else { SetUpEnd::Complete }
    }

    /// The rigs of the paths that have not failed. The order rotates, because the first rig gets different pages.
    fn build(&mut self, number: usize) -> Vec<Option<Rig>> {
        let count = self.paths.len();
        let mut rigs: Vec<Option<Rig>> = (0..count).map(|_| None).collect();
        for place in 0..count {
            let index = (place + number) % count;
            let path = &mut self.paths[index];
            if path.failed.is_some() {
                continue;
            }
            match path.contestant.build(number) {
                Ok(rig) => rigs[index] = Some(rig),
                Err(error) => path.fail(number, error),
            }
        }
        rigs
    }

    /// The loads, and what each path came to at each of them.
    pub fn finish(self) -> (Vec<OfferedLoad>, Vec<PathAtLoads>) {
        let setups = self.setups;
        let finish = |path: LoadedPath| {
            let LoadedPath { contestant, facts, setups: loads, failed } = path;
            let result = match (failed, facts) {
                (Some(failure), _) => Err(failure),
                (None, None) => Err(ContestantFailure { setup: setups + 1, error: RigError::Broken }),
                (None, Some(facts)) => {
                    Ok(loads.into_iter().map(|load| loaded(load, &facts, &contestant)).collect())
                }
            };
            (contestant, result)
        };
        (self.loads, self.paths.into_iter().map(finish).collect())
    }
}

fn loaded(setups: Vec<Sample>, facts: &RigFacts, contestant: &Contestant) -> LoadedResult {
    let mut sum = setups.first().cloned().unwrap_or_else(Sample::empty);
    setups.iter().skip(1).for_each(|sample| sum.merge_sequential(sample));
    LoadedResult { whole: facts.clone().result(sum, &*contestant.site), setups }
}

/// A turn of one path at one load.
struct Turn<'a> {
    load: &'a OfferedLoad,
    arrivals: Arrivals,
    length: Duration,
    warms_up: bool,
}

impl Turn<'_> {
    /// Offers the load in runs that are short enough to be called off. `None` if it was.
    fn take(
        &self,
        rig: &mut Rig,
        seed: u64,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sample>, RigError> {
        let run = |rig: &mut Rig, length: Duration, number: u32| {
            let seed = seed.wrapping_add(u64::from(number) << 32);
            let interval = self.load.interval();
            rig.run(Work::OpenLoop(OpenLoop { interval, length, arrivals: self.arrivals, seed }))
        };
        if self.warms_up {
            run(rig, WARM_UP.min(self.length), u32::MAX)?;
        }
        let runs = self.length.as_nanos().div_ceil(LONGEST_RUN.as_nanos()).max(1) as u32;
        let mut sum: Option<Sample> = None;
        for number in 0..runs {
            let sample = run(rig, self.length / runs, number)?;
            let overloaded = sample.open_loop.as_ref().is_some_and(|run| run.overloaded);
            match &mut sum {
                Some(sum) => sum.merge_sequential(&sample),
                None => sum = Some(sample),
            }
            if !go_on() {
                return Ok(None);
            }
            if overloaded {
                break;
            }
        }
        Ok(sum)
    }
}

/// How long each load of the search is offered, unless it is rare: the shortest and the longest.
const PROBE: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];

/// So many messages are offered even if they are rare, for at most [`LONGEST_RUN`].
const PROBE_MESSAGES: u32 = 50;

/// A load that is carried may look saturated, where something else takes the CPU for some milliseconds. So each has
/// several tries.
const TRIES: usize = 3;

/// In the search a path carries only a load of which it receives this share: the rest would queue up in a longer run.
const FOUND_FROM: f64 = 0.985;

/// The search ends when the rate is known to this factor.
const RESOLUTION: f64 = 1.03;

/// More messages a second for each client than any path sends one at a time.
const BEYOND: f64 = 1e6;

/// The most messages a second for each client that a path carries when each is asked for alone; `None` if it was called
/// off.
///
/// An overload shows about what is possible. What a path carries can be less, because in an overload messages are asked
/// for in groups; so the largest load without a queue that grows is found by bisection. Each load is offered for `length`,
/// as far as that is sensible: a short run has a short search.
///
/// # Errors
/// The error of the rig.
pub fn saturation(
    contestant: &Contestant,
    arrivals: Arrivals,
    length: Duration,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<f64>, RigError> {
    let mut rig = contestant.build(1)?;
    let probe = length.clamp(PROBE[0], PROBE[1]);
    let seed = rig.scenario().offsets.seed;
    let hosts = contestant.site.client_hosts().max(1);
    let clients = (contestant.scenario.clients * hosts) as f64;
    let mut number = 0;
    let mut offer = |per_client: f64| -> Result<Option<(bool, f64)>, RigError> {
        number += 1;
        let load = OfferedLoad { per_client, share: None };
        let length = probe.max(load.interval().saturating_mul(PROBE_MESSAGES)).min(LONGEST_RUN);
        let turn = Turn { load: &load, arrivals, length, warms_up: number == 1 };
        let Some(sample) = turn.take(&mut rig, seed.wrapping_add(number), go_on)? else { return Ok(None) };
        let run = sample.open_loop.unwrap_or_default();
        // Random arrivals are seldom exactly as many as the rate says.
        let offered = run.due as f64 / length.as_secs_f64();
        Ok(Some((!falls_short(&run, offered, FOUND_FROM), achieved(&run) / clients)))
    };
    let Some((_, most)) = offer(BEYOND)? else { return Ok(None) };
    // Twice what an overload brings is out of reach, and a twentieth of it is not.
    let (mut low, mut high) = (most / 20.0, most * 2.0);
    while high / low > RESOLUTION {
        let middle = (low * high).sqrt();
        let mut carried = false;
        for _ in 0..TRIES {
            let Some(found) = offer(middle)? else { return Ok(None) };
            carried |= found.0;
            if carried {
                break;
            }
        }
        if carried { low = middle } else { high = middle }
    }
    Ok(Some(low))
}
