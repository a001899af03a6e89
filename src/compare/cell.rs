//! Measures several scenarios side by side: all are set up at once and take short turns in a balanced order, so
//! that what drifts hits all alike.

use std::time::Duration;

use super::schedule::Schedule;
use crate::connection::Applied;
use crate::rig::{Rig, RigError, Sample, Work};
use crate::scenario::Scenario;

/// A turn should last about this long: well above the 10 ms in which a window opens and closes, well below the
/// seconds over which a machine drifts.
const TURN: Duration = Duration::from_millis(80);

/// A shorter turn would mostly be its own beginning.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// What one scenario came to.
#[derive(Debug)]
pub struct Measured {
    /// The sum of its turns.
    pub sample: Sample,
    /// What its connections had.
    pub applied: Applied,
    /// [`Rig::huge_share`]
    pub huge_share: Option<f64>,
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

/// Measures each scenario for `time`. `progress` is called with the measured time of each turn. A scenario that
/// fails takes no more turns, and the others go on.
pub fn measure(
    scenarios: &[Scenario],
    time: Duration,
    seed: u64,
    progress: &mut dyn FnMut(Duration),
) -> Vec<Result<Measured, RigError>> {
    let mut rigs: Vec<Result<(Rig, Option<Sample>), RigError>> =
        scenarios.iter().map(|scenario| Rig::build(scenario).map(|rig| (rig, None))).collect();
    let schedule = Schedule::new(scenarios.len(), seed);
    let turns = Turns::of(time, schedule.rows_per_block());
    for row in schedule.take(turns.rows) {
        for index in row {
            take_turn(&mut rigs[index], turns.length);
            progress(turns.length);
        }
    }
    let finish = |(rig, sample): (Rig, Option<Sample>)| {
        let (applied, huge_share) = (rig.applied().clone(), rig.huge_share());
        sample.map(|sample| Measured { sample, applied, huge_share }).ok_or(RigError::Broken)
    };
    rigs.into_iter().map(|rig| rig.and_then(finish)).collect()
}

fn take_turn(slot: &mut Result<(Rig, Option<Sample>), RigError>, length: Duration) {
    let Ok((rig, sum)) = slot else { return };
    match rig.run(Work::Window(length)) {
        Ok(sample) => match sum {
            Some(sum) => sum.add(&sample),
            None => *sum = Some(sample),
        },
        Err(error) => *slot = Err(error),
    }
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
