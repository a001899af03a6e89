//! Simulated machines with random set-ups, noisy turns and drift: equal paths must be judged equal, and a slower path
//! must be found.

use super::*;
use crate::compare::schedule::Schedule;
use fastrand::Rng;

fn judgement(pairs: &[Pair]) -> Judgement {
    judge(&[PairedCell { pairs, better: Better::Higher }], 0.05)[0].judgement
}

/// A machine with drift, with random speeds of set-ups and with noisy turns.
struct SimulatedMachine {
    rng: Rng,
    /// Standard deviations as shares: of the effect of a set-up on all paths, of its effect on one path, and of a turn.
    setup: f64,
    setup_of_path: f64,
    turn: f64,
    /// The share by which the machine is faster at the end of a set-up than at its start.
    drift: f64,
}

impl SimulatedMachine {
    fn new(seed: u64, drift: f64) -> Self {
        Self { rng: Rng::with_seed(seed), setup: 0.2, setup_of_path: 0.02, turn: 0.03, drift }
    }

    /// A standard normal value, by the method of Box and Muller.
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.rng.f64(), self.rng.f64());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Eight set-ups of two paths in `blocks` blocks each. Path 0 is `factor` times as fast as path 1.
    fn measure(&mut self, factor: f64, blocks: usize) -> Vec<Pair> {
        (0..8).map(|_| self.set_up(factor, blocks)).collect()
    }

    fn set_up(&mut self, factor: f64, blocks: usize) -> Pair {
        let common = (self.setup * self.normal()).exp();
        let speeds = [factor, 1.0].map(|speed| common * speed * (self.setup_of_path * self.normal()).exp());
        let mut schedule = Schedule::new(2, self.rng.u64(..));
        let rows = blocks * schedule.rows_per_block();
        let turns: Vec<usize> = schedule.by_ref().take(rows).flatten().collect();
        let mut moved = [0.0; 2];
        for (position, &path) in turns.iter().enumerate() {
            let drift = 1.0 + self.drift * position as f64 / (turns.len() - 1) as f64;
            moved[path] += speeds[path] * drift * (self.turn * self.normal()).exp();
        }
        Pair { path: moved[0], reference: moved[1] }
    }
}

/// With drift alone, both paths move the same number of bytes to the last digits, because the balanced order cancels
/// it.
#[test]
fn linear_drift_cancels() {
    let mut quiet =
        SimulatedMachine { setup: 0.2, setup_of_path: 0.0, turn: 0.0, ..SimulatedMachine::new(1, 0.3) };
    for pair in quiet.measure(1.0, 3) {
        assert!((pair.path / pair.reference - 1.0).abs() < 1e-12, "{pair:?}");
    }
}

/// With each cell judged alone, equal paths are called different about as often as the level says, with and without
/// drift.
#[test]
fn false_alarms_keep_to_the_level() {
    for drift in [0.0, 0.3] {
        let mut machine = SimulatedMachine::new(11, drift);
        let alarms = (0..1_000)
            .filter(|_| {
                let interval = Estimate::new(&machine.measure(1.0, 2)).unwrap().interval(0.05);
                interval.low > 1.0 || interval.high < 1.0
            })
            .count();
        // Expected 50; 15 to 85 is five standard deviations either way.
        assert!((15..=85).contains(&alarms), "{alarms} alarms of 1,000 with drift {drift}");
    }
}

/// In families of twelve cells, Holm's correction keeps the share of families with any alarm at the level.
#[test]
fn families_keep_to_the_level() {
    let mut machine = SimulatedMachine::new(12, 0.3);
    let families = (0..300)
        .filter(|_| {
            let measured: Vec<_> = (0..12).map(|_| machine.measure(1.0, 1)).collect();
            let cells: Vec<_> =
                measured.iter().map(|pairs| PairedCell { pairs, better: Better::Higher }).collect();
            judge(&cells, 0.05).iter().any(|c| c.interval.is_ok_and(|i| i.low > 1.0 || i.high < 1.0))
        })
        .count();
    // Expected at most 15; 35 is five standard deviations more.
    assert!(families <= 35, "{families} families of 300");
}

/// A path slowed by 5 % is found, by cells of eight set-ups that differ by 1 %, under drift.
#[test]
fn five_per_cent_are_found() {
    let mut machine = SimulatedMachine { setup_of_path: 0.01, ..SimulatedMachine::new(13, 0.3) };
    let found = (0..200).filter(|_| judgement(&machine.measure(0.95, 4)) == Judgement::Slower).count();
    assert!(found >= 180, "{found} of 200");
}
