//! When to record: short bursts at random times, so rare that they cost the watched process little.

use std::time::Duration;

use fastrand::Rng;

/// The mean time from one burst to the next: a hundred bursts in ten seconds and more.
const MEAN_PAUSE: Duration = Duration::from_millis(60);

/// The length of the first bursts, and the bounds of all.
const FIRST: Duration = Duration::from_millis(2);
const SHORTEST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(20);

/// A recorded send with its call chain takes the process about so long (docs/watch.md).
const COST: Duration = Duration::from_nanos(3500);

/// The share of one CPU that recording may take.
const MOST_COST: f64 = 0.01;

/// How long one piece of a recording without pauses lasts.
const PIECE: Duration = Duration::from_millis(50);

/// Decides when to record.
#[derive(Debug)]
pub struct Bursts {
    random: Rng,
    /// Sends a second, over all bursts so far.
    rate: Option<f64>,
    seen: (u64, Duration),
    full: bool,
}

impl Bursts {
    /// Bursts at times that `seed` decides; with `full` there is no pause.
    pub fn new(seed: u64, full: bool) -> Self {
        Self { random: Rng::with_seed(seed), rate: None, seen: (0, Duration::ZERO), full }
    }

    /// Whether it records all the time.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The pause before the next burst, and its length.
    pub fn draw(&mut self) -> (Duration, Duration) {
        if self.full {
            return (Duration::ZERO, PIECE);
        }
        // Exponential gaps have no memory: a pause that is broken off and drawn anew is as long as one that is not.
        (MEAN_PAUSE.mul_f64(-(1.0 - self.random.f64()).ln()), self.length())
    }

    /// A burst of this length saw so many sends.
    pub fn saw(&mut self, sends: usize, length: Duration) {
        self.seen.0 += sends as u64;
        self.seen.1 += length;
        self.rate = Some(self.seen.0 as f64 / self.seen.1.as_secs_f64().max(f64::MIN_POSITIVE));
    }

    fn length(&self) -> Duration {
        let Some(rate) = self.rate else { return FIRST };
        // The share of the time that may be recorded at this rate.
        let share = MOST_COST / (rate * COST.as_secs_f64()).max(MOST_COST);
        let length = MEAN_PAUSE.mul_f64(share / (1.0 - share).max(0.01));
        length.clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_processes_have_shorter_bursts() {
        let mut bursts = Bursts::new(1, false);
        assert_eq!(bursts.draw().1, FIRST);
        bursts.saw(0, FIRST);
        assert_eq!(bursts.draw().1, LONGEST, "recording nothing costs nothing");
        let mut busy = Bursts::new(1, false);
        busy.saw(50_000, Duration::from_secs(1));
        let length = busy.draw().1;
        // 50,000 sends a second may be recorded for 5.7 % of the time.
        let share = length.as_secs_f64() / (length + MEAN_PAUSE).as_secs_f64();
        assert!((0.05..0.06).contains(&share), "{share}");
    }

    #[test]
    fn pauses_are_random_and_a_full_recording_has_none() {
        let mut bursts = Bursts::new(7, false);
        let pauses: Vec<_> = (0..4000).map(|_| bursts.draw().0.as_secs_f64()).collect();
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        assert!((mean / MEAN_PAUSE.as_secs_f64() - 1.0).abs() < 0.06, "{mean}");
        let deviation =
            (pauses.iter().map(|pause| (pause - mean).powi(2)).sum::<f64>() / pauses.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.1, "exponential: {deviation} of {mean}");
        assert_eq!(Bursts::new(7, true).draw(), (Duration::ZERO, PIECE));
    }
}
