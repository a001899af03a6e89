//! Decides how many set-ups a measurement gets: until its ratios are precise enough, or its time is over.
//!
//! The trait [`Measurer`] separates this loop from the rigs, so that tests need no clock.

use std::time::Duration;

use super::cell::SetUpEnd;
use crate::stats::{Estimate, Unusable};

/// The fewest set-ups of a measurement, if the time allows. With eight, Student's factor for 95 % (2.4) is no longer
/// far above that of many set-ups (2.0).
pub const SETUPS: usize = 8;

/// The fewest set-ups that give an interval. A budget ends a measurement only after these.
const FEWEST: usize = 2;

/// The most set-ups with a precision and without a budget. By then the interval is a third as wide as with [`SETUPS`],
/// and more set-ups narrow it too slowly.
pub const MOST_SETUPS: usize = 8 * SETUPS;

/// Something that can be set up and measured again and again.
pub trait Measurer {
    /// Measures one more set-up.
    fn set_up(&mut self) -> SetUpEnd;
    /// The estimates from the complete set-ups, one for each ratio that can be measured here.
    fn estimates(&self) -> Vec<Result<Estimate, Unusable>>;
    /// The time since the measurement began.
    fn elapsed(&self) -> Duration;
}

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The fewest set-ups, if the time allows.
    pub at_least: usize,
    /// The most set-ups.
    pub at_most: usize,
    /// Between the two, stop when the half-width of every interval is at most this (0.02 is 2 %). `None` means to
    /// measure `at_most` set-ups.
    pub precision: Option<f64>,
    /// Stop after this time. A set-up that would not end in time does not begin. `None` means no limit.
    pub time: Option<Duration>,
    /// The level of the intervals.
    pub alpha: f64,
}

/// Why no further set-up was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialEnd {
    /// Every ratio is precise enough.
    Precise,
    /// All set-ups were made.
    Full,
    /// The time limit was reached.
    OutOfTime,
    /// The measurement was called off.
    CalledOff,
    /// Every contestant failed.
    NobodyLeft,
}

/// Makes set-ups with `measurer` as `effort` says.
///
/// Checking the precision after each set-up makes intervals a little too narrow, because set-ups that agree by chance
/// end the measurement. With at least eight set-ups the effect is smaller than what Holm's correction adds.
pub fn run(measurer: &mut dyn Measurer, effort: &Effort) -> TrialEnd {
    let (mut setups, mut longest) = (0, Duration::ZERO);
    loop {
        if setups >= effort.at_most {
            return TrialEnd::Full;
        }
        let began = measurer.elapsed();
        if setups >= FEWEST && effort.time.is_some_and(|time| began + longest > time) {
            return TrialEnd::OutOfTime;
        }
        match measurer.set_up() {
            SetUpEnd::Complete => setups += 1,
            SetUpEnd::CalledOff => return TrialEnd::CalledOff,
            SetUpEnd::NobodyLeft => return TrialEnd::NobodyLeft,
        }
        longest = longest.max(measurer.elapsed().saturating_sub(began));
        if setups >= effort.at_least
            && effort.precision.is_some_and(|precision| is_precise(measurer, precision, effort.alpha))
        {
            return TrialEnd::Precise;
        }
    }
}

fn is_precise(measurer: &dyn Measurer, precision: f64, alpha: f64) -> bool {
    let narrow = |estimate: &Result<Estimate, Unusable>| {
        estimate.is_ok_and(|estimate| estimate.interval(alpha).precision() <= precision)
    };
    measurer.estimates().iter().all(narrow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Pair;

    /// Set-ups of one second each. Their ratios lie alternately `spread` above and below 1.
    struct Simulated {
        spread: f64,
        pairs: Vec<Pair>,
        ends: SetUpEnd,
        after: usize,
    }

    impl Measurer for Simulated {
        fn set_up(&mut self) -> SetUpEnd {
            if self.pairs.len() == self.after {
                return self.ends;
            }
            let up = self.pairs.len().is_multiple_of(2);
            let path = if up { 1.0 + self.spread } else { 1.0 - self.spread };
            self.pairs.push(Pair { path, reference: 1.0 });
            SetUpEnd::Complete
        }

        fn estimates(&self) -> Vec<Result<Estimate, Unusable>> {
            vec![Estimate::new(&self.pairs)]
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.pairs.len() as u64)
        }
    }

    fn simulated(spread: f64) -> Simulated {
        Simulated { spread, pairs: Vec::new(), ends: SetUpEnd::Complete, after: usize::MAX }
    }

    const EFFORT: Effort =
        Effort { at_least: SETUPS, at_most: MOST_SETUPS, precision: Some(0.02), time: None, alpha: 0.05 };

    #[test]
    fn set_ups_are_added_until_the_precision_is_reached() {
        let mut quiet = simulated(0.001);
        assert_eq!(run(&mut quiet, &EFFORT), TrialEnd::Precise);
        assert_eq!(quiet.pairs.len(), SETUPS);
        let mut restless = simulated(0.05);
        assert_eq!(run(&mut restless, &EFFORT), TrialEnd::Precise);
        assert!((SETUPS + 1..MOST_SETUPS).contains(&restless.pairs.len()), "{}", restless.pairs.len());
        let mut hopeless = simulated(0.5);
        assert_eq!(run(&mut hopeless, &EFFORT), TrialEnd::Full);
        assert_eq!(hopeless.pairs.len(), MOST_SETUPS);
    }

    #[test]
    fn the_time_ends_a_measurement_before_a_set_up_that_would_not_fit() {
        let mut measurer = simulated(0.5);
        let effort = Effort { time: Some(Duration::from_millis(20_500)), ..EFFORT };
        assert_eq!(run(&mut measurer, &effort), TrialEnd::OutOfTime);
        assert_eq!(measurer.pairs.len(), 20);
        let mut hurried = simulated(0.001);
        let none = Effort { time: Some(Duration::ZERO), ..EFFORT };
        assert_eq!(run(&mut hurried, &none), TrialEnd::OutOfTime);
        assert_eq!(hurried.pairs.len(), FEWEST, "an interval needs two");
    }

    #[test]
    fn without_a_precision_all_set_ups_are_made() {
        let mut measurer = simulated(0.001);
        let effort = Effort { at_most: 11, precision: None, ..EFFORT };
        assert_eq!(run(&mut measurer, &effort), TrialEnd::Full);
        assert_eq!(measurer.pairs.len(), 11);
    }

    #[test]
    fn the_trial_ends_at_once_if_a_set_up_cannot_go_on() {
        for (ends, end) in
            [(SetUpEnd::CalledOff, TrialEnd::CalledOff), (SetUpEnd::NobodyLeft, TrialEnd::NobodyLeft)]
        {
            let mut measurer = Simulated { ends, after: 3, ..simulated(0.001) };
            assert_eq!(run(&mut measurer, &EFFORT), end);
            assert_eq!(measurer.pairs.len(), 3);
        }
    }

    #[test]
    fn a_set_up_that_moved_nothing_never_becomes_precise() {
        let mut measurer = simulated(0.001);
        measurer.pairs.push(Pair { path: 0.0, reference: 1.0 });
        assert_eq!(run(&mut measurer, &Effort { at_most: 20, ..EFFORT }), TrialEnd::Full);
    }
}
