//! Measures several scenarios side by side: all are set up at once and take short turns in a balanced order, so
//! that what drifts hits all alike.

use std::time::Duration;

use super::schedule::Schedule;
use crate::connection::Applied;
use crate::cost::limiter::{Evidence, Limiter};
use crate::cost::meter::Spent;
use crate::cost::pollution::Walk;
use crate::cost::system::{IdleBaseline, MIN_WINDOW, SystemMeter, SystemSpent};
use crate::cost::{Measured as Figure, Missing};
use crate::latency::Latencies;
use crate::rig::{Rig, RigError, Sample, Site, Work};
use crate::scenario::Scenario;
use crate::seat::Placed;

/// A turn should last about this long: well above the 10 ms in which a window opens and closes, well below the
/// seconds over which a machine drifts.
const TURN: Duration = Duration::from_millis(80);

/// A shorter turn would mostly be its own beginning.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// How a cell is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The measured time of each scenario.
    pub time: Duration,
    /// Decides the order of the turns.
    pub seed: u64,
    /// How busy the idle machine is; without it nothing is said of the system.
    pub baseline: Option<IdleBaseline>,
    /// A phase of its own after the turns, this long for each scenario: message latency.
    pub latency: Option<Duration>,
}

/// What one scenario came to.
#[derive(Debug)]
pub struct Measured {
    /// The sum of its turns.
    pub sample: Sample,
    /// What its connections had.
    pub applied: Applied,
    /// What lay between the ends.
    pub transport: &'static str,
    /// The conditions of the other host, where there is one.
    #[cfg(feature = "cli")]
    pub host: Option<crate::conditions::Conditions>,
    /// [`Rig::copied_because`]
    pub copied_because: Option<String>,
    /// [`Rig::huge_share`]
    pub huge_share: Option<f64>,
    /// [`Rig::idle_walk`]
    pub idle_walk: Walk,
    /// CPU time of the whole machine in its turns.
    pub system: Figure<SystemSpent>,
    /// What limited it.
    pub limiter: Limiter,
    /// From the ask for one message to its last byte.
    pub latency: Option<Latencies>,
}

/// How the time of one scenario is divided into turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// Rows of the schedule: turns of each scenario.
    pub rows: usize,
    /// The length of each.
    pub length: Duration,
}

impl Turns {
    /// Whole blocks of turns of about 80 ms that make up `time`; where there is not the time for a block of turns
    /// of 10 ms, fewer rows.
    pub fn of(time: Duration, rows_per_block: usize) -> Self {
        let block = rows_per_block.max(1);
        let blocks = (time.as_secs_f64() / TURN.as_secs_f64() / block as f64).round() as usize;
        let most = (time.as_secs_f64() / SHORTEST_TURN.as_secs_f64()) as usize;
        let rows = (blocks.max(1) * block).min(most).max(1);
        Self { rows, length: time / u32::try_from(rows).unwrap_or(u32::MAX) }
    }
}

/// Measures each scenario. `progress` is called with the measured time of each turn. A scenario that fails takes no
/// more turns, and the others go on.
pub fn measure(
    scenarios: &[Scenario],
    site: &Site,
    plan: &Plan,
    progress: &mut dyn FnMut(Duration),
) -> Vec<Result<Measured, RigError>> {
    let mut rigs: Vec<_> = scenarios.iter().map(|scenario| Rig::at(site, scenario).map(Warm::new)).collect();
    let schedule = Schedule::new(scenarios.len(), plan.seed);
    let turns = Turns::of(plan.time, schedule.rows_per_block());
    for row in schedule.take(turns.rows) {
        for index in row {
            let slot = &mut rigs[index];
            if let Ok(warm) = slot
                && let Err(error) = warm.take_turn(turns.length, plan)
            {
                *slot = Err(error);
            }
            progress(turns.length);
        }
    }
    let measured: Vec<_> = rigs.into_iter().map(|rig| rig.and_then(|warm| warm.finish(site, plan))).collect();
    // The rigs are gone by now: a latency in their company would be that of a busier machine.
    let with_latency = |(scenario, measured): (&Scenario, Result<Measured, RigError>)| {
        let measured = measured?;
        let latency = plan.latency.map(|time| latency(scenario, site, time)).transpose()?;
        progress(plan.latency.unwrap_or_default());
        Ok(Measured { latency, ..measured })
    };
    scenarios.iter().zip(measured).map(with_latency).collect()
}

/// A rig and what its turns have come to.
struct Warm {
    rig: Rig,
    sum: Option<Sample>,
    system: SystemMeter,
}

impl Warm {
    fn new(rig: Rig) -> Self {
        Self { rig, sum: None, system: SystemMeter::default() }
    }

    fn take_turn(&mut self, length: Duration, plan: &Plan) -> Result<(), RigError> {
        // Reading the system's files takes a millisecond: only where the sum will be long enough to mean something.
        let whole_system = plan.baseline.is_some() && plan.time >= MIN_WINDOW;
        if whole_system {
            self.system.start();
        }
        let sample = self.rig.run(Work::Window(length))?;
        if whole_system {
            self.system.stop();
        }
        match &mut self.sum {
            Some(sum) => sum.add(&sample),
            None => self.sum = Some(sample),
        }
        Ok(())
    }

    fn finish(self, site: &Site, plan: &Plan) -> Result<Measured, RigError> {
        let sample = self.sum.ok_or(RigError::Broken)?;
        let system = if plan.time < MIN_WINDOW {
            let (figure, needs, had) = ("CPU time of the system", MIN_WINDOW, plan.time);
            Err(Missing::TooShort { figure, needs, had })
        } else if plan.baseline.is_none() {
            Err(Missing::NotMeasured)
        } else {
            self.system.spent(sample.wall, plan.baseline)
        };
        Ok(Measured {
            limiter: Limiter::of(&evidence(&sample, self.rig.placed())),
            applied: self.rig.applied().clone(),
            transport: site.transport(),
            #[cfg(feature = "cli")]
            host: self.rig.host().cloned(),
            copied_because: self.rig.copied_because().map(str::to_owned),
            huge_share: self.rig.huge_share(),
            idle_walk: self.rig.idle_walk(),
            system,
            sample,
            latency: None,
        })
    }
}

fn evidence(sample: &Sample, placed: Placed) -> Evidence {
    // The clients' time: the senders' holds the drain too, in which nothing runs.
    let wall = sample.receiver.wall;
    let busy = |spent: &Spent| {
        let cpu = spent.cpu.ok_or(Missing::NotMeasured)?;
        Ok(cpu.time.as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE))
    };
    let both = || Ok(busy(&sample.sender)? + busy(&sample.receiver)?);
    Evidence {
        elapsed: sample.elapsed,
        apart: placed.apart,
        cpus_busy: both().map(|busy: f64| busy / placed.cpus.max(1) as f64),
        sender_busy: busy(&sample.sender).map(|busy| busy / placed.sender_cpus.max(1) as f64),
        tcp: sample.wire.as_ref().map_or(Err(Missing::NotMeasured), |wire| wire.shares(wall)),
    }
}

/// Messages asked for one at a time, for `time`.
fn latency(scenario: &Scenario, site: &Site, time: Duration) -> Result<Latencies, RigError> {
    const PORTION: u64 = 50;
    let mut rig = Rig::at(site, &scenario.clone().for_latency())?;
    let mut all = Latencies::default();
    let began = std::time::Instant::now();
    while all.is_empty() || began.elapsed() < time {
        all.add(&rig.run(Work::Single(PORTION))?.latency);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_fill_the_time_in_whole_blocks() {
        let ms = Duration::from_millis;
        assert_eq!(Turns::of(ms(960), 6), Turns { rows: 12, length: ms(80) });
        assert_eq!(Turns::of(ms(60), 6), Turns { rows: 6, length: ms(10) });
        assert_eq!(Turns::of(ms(30), 6), Turns { rows: 3, length: ms(10) });
        assert_eq!(Turns::of(ms(1), 6), Turns { rows: 1, length: ms(1) });
        assert_eq!(Turns::of(ms(1000), 0).rows, 13);
    }
}
