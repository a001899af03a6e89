//! How many set-ups a measurement gets: until its ratios are known well enough, or its time is over.
//!
//! Between this loop and the rigs stands [`Measurer`], so that the rule is tested without a clock.

use std::time::Duration;

use super::cell::SetUpEnd;
use super::stats::{Estimate, Unusable};

/// The fewest set-ups of a measurement that has the time: the unit of the statistics is the set-up, and with eight
/// Student's factor (2.4 for 95 %) is no longer far above that of many (2.0).
pub const SETUPS: usize = 8;

/// The fewest that have an interval at all. A budget that is over ends a measurement only after these.
const FEWEST: usize = 2;

/// Whoever asks for a precision and names no budget is given up on after so many set-ups, eight times the usual: the
/// interval is a third as wide by then, and what is left of it is no matter of patience.
pub const MOST_SETUPS: usize = 8 * SETUPS;

/// Something that can be set up and measured again and again.
pub trait Measurer {
    /// Measures one more set-up.
    fn set_up(&mut self) -> SetUpEnd;
    /// What the complete set-ups say so far, of every ratio that can be had here at all.
    fn estimates(&self) -> Vec<Result<Estimate, Unusable>>;
    /// The time that has passed since the measurement began.
    fn elapsed(&self) -> Duration;
}

/// How much is to be measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Set-ups at least, where the time allows.
    pub at_least: usize,
    /// Set-ups at most.
    pub at_most: usize,
    /// Between the two: until every ratio is known so well, as half of its interval's width (0.02: to 2 %).
    pub precision: Option<f64>,
    /// Until so much time has passed; a set-up that would not end in time is not begun.
    pub time: Option<Duration>,
    /// At which level intervals are looked at.
    pub alpha: f64,
}

/// Why no further set-up was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialEnd {
    /// Every ratio is known as well as was asked for.
    Precise,
    /// All set-ups were made.
    Full,
    /// The time was over.
    OutOfTime,
    /// It was called off from outside.
    CalledOff,
    /// Nobody is left to be measured.
    NobodyLeft,
}

/// Lets `measurer` make set-ups as `effort` says.
///
/// Looking after each set-up whether the interval is narrow enough makes it a little too narrow: set-ups that agree by
/// chance end the measurement. With eight at least this is below what Holm's correction adds.
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
    use super::super::stats::Pair;
    use super::*;

    /// Set-ups of one second each whose ratios lie `spread` around 1, alternately above and below.
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
    fn what_ends_from_outside_ends_at_once() {
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
