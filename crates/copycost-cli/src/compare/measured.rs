//! The results of one contestant of a cell: the turns of a rig, the sum of a set-up, and the sum of all set-ups.

use std::time::{Duration, Instant};

use super::contestant::Contestant;
use copycost::cost::{Measured as Figure, Missing};
use copycost::internals::connection::AppliedOptions;
use copycost::internals::cost::limiter::{Evidence, Limiter};
use copycost::internals::cost::meter::Spent;
use copycost::internals::cost::pollution::Walk;
use copycost::internals::cost::system::{IdleBaseline, MIN_WINDOW, SystemMeter, SystemSpent};
use copycost::internals::placement::CpuUsage;
use copycost::latency::Latencies;
use copycost::rig::{BufferOffsets, HostShare, Rig, RigError, Sample, Site, Work};

/// The results of one contestant over all set-ups.
#[derive(Debug)]
pub struct ContestantResult {
    /// The sum of all turns.
    pub sample: Sample,
    /// The socket options that its connections had.
    pub applied: AppliedOptions,
    /// The name of the transport between the ends: `loopback`, `lab`, `remote` or `mpi`.
    pub transport: &'static str,
    /// The conditions of the other host; `None` if there is none.
    pub host: Option<crate::conditions::Conditions>,
    /// Why zero-copy sends were copied: see [`Rig::copied_because`].
    pub copied_because: Option<String>,
    /// What a probe in the lab saw of its path; `None` elsewhere.
    pub probed: Option<crate::lab::Probed>,
    /// The smallest [`Rig::huge_share`] of its set-ups.
    pub huge_share: Option<f64>,
    /// [`Rig::offsets`] of each set-up.
    pub offsets: Vec<BufferOffsets>,
    /// The sum of [`Rig::idle_walk`] over its set-ups.
    pub idle_walk: Walk,
    /// CPU time of the whole machine during its turns.
    pub system: Figure<SystemSpent>,
    /// What limited its throughput.
    pub limiter: Limiter,
    /// Times from the request for one message to its last byte; `None` if latency was not measured.
    pub latency: Option<Latencies>,
    /// The number of hosts that received.
    pub client_hosts: usize,
    /// The latencies of each host, if several received.
    pub host_latencies: Vec<HostShare>,
}

/// The set-ups of one contestant so far.
#[derive(Debug)]
pub(super) struct SetUpSum {
    sample: Sample,
    system: SystemMeter,
    facts: RigFacts,
}

impl SetUpSum {
    /// The sum of the first set-up; `None` if it took no turn.
    pub(super) fn first(warm: WarmRig) -> Option<Self> {
        let WarmRig { rig, sum, system, .. } = warm;
        Some(Self { sample: sum?, system: system.unwrap_or_default(), facts: RigFacts::of(&rig) })
    }

    /// Adds another set-up. Its system meter continued from the meter of this sum.
    pub(super) fn add(&mut self, warm: WarmRig) {
        let WarmRig { rig, sum, system, .. } = warm;
        self.system = system.unwrap_or_default();
        self.facts.add(&rig);
        if let Some(sample) = &sum {
            self.sample.merge_sequential(sample);
        }
    }

    /// CPU time of the whole machine so far.
    pub(super) fn system(&self) -> SystemMeter {
        self.system.clone()
    }

    pub(super) fn finish(self, site: &dyn Site, baseline: Option<IdleBaseline>) -> ContestantResult {
        let wall = self.sample.wall;
        let system = if wall < MIN_WINDOW {
            Err(Missing::TooShort { figure: "CPU time of the system", needs: MIN_WINDOW, had: wall })
        } else if baseline.is_none() {
            Err(Missing::NotMeasured)
        } else {
            self.system.spent(wall, baseline)
        };
        ContestantResult { system, ..self.facts.result(self.sample, site) }
    }
}

/// What is known of the rigs of a contestant besides their samples.
#[derive(Debug, Clone)]
pub(super) struct RigFacts {
    applied: AppliedOptions,
    placed: CpuUsage,
    copied_because: Option<String>,
    probed: Option<crate::lab::Probed>,
    huge_share: Option<f64>,
    offsets: Vec<BufferOffsets>,
    idle_walk: Walk,
    host: Option<crate::conditions::Conditions>,
}

impl RigFacts {
    /// The facts of the first set-up.
    pub(super) fn of(rig: &Rig) -> Self {
        Self {
            applied: rig.applied().clone(),
            placed: rig.placed(),
            copied_because: rig.copied_because().map(str::to_owned),
            probed: rig.site_report().cloned(),
            huge_share: rig.huge_share(),
            offsets: vec![rig.offsets()],
            idle_walk: rig.idle_walk(),
            host: rig.site_report().cloned(),
        }
    }

    /// Adds those of another set-up.
    pub(super) fn add(&mut self, rig: &Rig) {
        self.idle_walk += rig.idle_walk();
        self.offsets.push(rig.offsets());
        self.huge_share = self.huge_share.zip(rig.huge_share()).map(|(sum, added)| sum.min(added));
    }

    /// The result of a contestant with these facts, without figures of the system and without a latency phase.
    pub(super) fn result(self, sample: Sample, site: &dyn Site) -> ContestantResult {
        ContestantResult {
            limiter: Limiter::of(&evidence(&sample, self.placed)),
            applied: self.applied,
            transport: site.transport(),
            host: self.host,
            copied_because: self.copied_because,
            probed: self.probed,
            huge_share: self.huge_share,
            offsets: self.offsets,
            idle_walk: self.idle_walk,
            system: Err(Missing::NotMeasured),
            sample,
            latency: None,
            client_hosts: site.client_hosts(),
            host_latencies: Vec::new(),
        }
    }
}

/// The figures of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnResult {
    /// The middle of the turn, as time since the first turn of the cell began.
    pub at: Duration,
    /// Bytes received while the clock ran.
    pub bytes: u64,
    /// The time that the clock measured.
    pub elapsed: Duration,
    /// Messages of the whole turn, including its beginning and its end outside the clock.
    pub messages: u64,
    /// CPU time of both ends for the whole turn.
    pub cpu: Duration,
}

/// A rig and the results of its turns.
#[derive(Debug)]
pub(super) struct WarmRig {
    rig: Rig,
    sum: Option<Sample>,
    turns: Vec<TurnResult>,
    /// `None` where the figures of the system are not needed, because reading them takes a millisecond around each
    /// turn.
    system: Option<SystemMeter>,
}

impl WarmRig {
    /// Builds a rig for set-up `number`. `system` holds what the machine used in earlier set-ups.
    pub(super) fn build(
        contestant: &Contestant,
        number: usize,
        system: Option<SystemMeter>,
    ) -> Result<Self, RigError> {
        Ok(Self { rig: contestant.build(number)?, sum: None, turns: Vec::new(), system })
    }

    /// The sum of the turns so far; `None` before the first.
    pub(super) fn sample(&self) -> Option<&Sample> {
        self.sum.as_ref()
    }

    /// The turns so far.
    pub(super) fn turns(&self) -> &[TurnResult] {
        &self.turns
    }

    /// See [`rounds_in`].
    pub(super) fn rounds_in(&mut self, length: Duration) -> Result<u64, RigError> {
        rounds_in(&mut self.rig, length)
    }

    /// Takes a turn. `began` is when the first turn of the cell began.
    pub(super) fn take_turn(&mut self, work: Work, began: Instant) -> Result<(), RigError> {
        if let Some(system) = &mut self.system {
            system.start();
        }
        let from = began.elapsed();
        let sample = self.rig.run(work)?;
        let at = (from + began.elapsed()) / 2;
        let (bytes, elapsed, messages) = (sample.bytes, sample.elapsed, sample.messages);
        let cpu = sample.sender.cpu_time() + sample.receiver.cpu_time();
        self.turns.push(TurnResult { at, bytes, elapsed, messages, cpu });
        if let Some(system) = &mut self.system {
            system.stop();
        }
        match &mut self.sum {
            Some(sum) => sum.merge_sequential(&sample),
            None => self.sum = Some(sample),
        }
        Ok(())
    }
}

/// How many rounds of a rig take about `length`, at least one. What it runs to find out is not counted.
pub fn rounds_in(rig: &mut Rig, length: Duration) -> Result<u64, RigError> {
    let one = rig.run(Work::Rounds(1))?.elapsed.max(Duration::from_nanos(1));
    let mut rounds = (length.as_secs_f64() / one.as_secs_f64()) as u64;
    // A single short deck is mostly its beginning.
    if rounds > 4 {
        let few = rounds / 4;
        let each = rig.run(Work::Rounds(few))?.elapsed.as_secs_f64() / few as f64;
        rounds = (length.as_secs_f64() / each.max(f64::MIN_POSITIVE)) as u64;
    }
    Ok(rounds.max(1))
}

fn evidence(sample: &Sample, placed: CpuUsage) -> Evidence {
    // Uses the wall time of the receivers, because that of the senders includes the drain, in which nothing runs.
    let wall = sample.receiver.wall;
    let busy = |spent: &Spent| {
        let cpu = spent.cpu.ok_or(Missing::NotMeasured)?;
        Ok(cpu.time.as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE))
    };
    let both = || Ok(busy(&sample.sender)? + busy(&sample.receiver)?);
    Evidence {
        elapsed: sample.elapsed,
        separate_cpus: placed.separate_cpus,
        cpus_busy: both().map(|busy: f64| busy / placed.cpus.max(1) as f64),
        sender_busy: busy(&sample.sender).map(|busy| busy / placed.sender_cpus.max(1) as f64),
        tcp: sample.wire.as_ref().map_or(Err(Missing::NotMeasured), |wire| wire.shares(wall)),
    }
}

/// Requests messages one at a time for `time`, with no other rig present. Returns the latencies of all messages, and of
/// each host if there are several.
pub(super) fn time_messages(
    contestant: &Contestant,
    time: Duration,
) -> Result<(Latencies, Vec<HostShare>), RigError> {
    const PORTION: u64 = 50;
    let mut rig = contestant.site.build(&contestant.scenario.clone().of_set_up(0).for_latency())?;
    let began = Instant::now();
    let mut all = rig.run(Work::Single(PORTION))?;
    while began.elapsed() < time {
        all.merge_sequential(&rig.run(Work::Single(PORTION))?);
    }
    Ok((all.latency, all.hosts))
}
