//! Chooses the cheapest path for a message from predictions.

use std::fmt;

use super::fit::{ALPHA, Prediction};
use crate::stats::{Better, Interval, Judgement, two_sided_quantile};
use copycost::units::significant;

/// The cheapest path for a message, and how much more the next one costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The name of the cheapest path.
    pub path: String,
    /// The prediction for the cheapest path.
    pub prediction: Prediction,
    /// The name of the next path, and how many times as much it costs; `None` if there is no other.
    pub next: Option<(String, Interval)>,
}

impl Choice {
    /// Chooses among paths with predictions; `None` if no prediction is positive.
    pub fn among(predictions: &[(String, Prediction)]) -> Option<Self> {
        let mut sorted: Vec<_> = predictions.iter().filter(|(_, prediction)| prediction.ns > 0.0).collect();
        sorted.sort_by(|one, other| one.1.ns.total_cmp(&other.1.ns));
        let (path, prediction) = (*sorted.first()?).clone();
        let next = sorted.get(1).map(|(name, next)| (name.clone(), ratio(next, &prediction)));
        Some(Self { path, prediction, next })
    }

    /// Whether the interval shows that the path is the cheapest. True if there is no other.
    pub fn decided(&self) -> bool {
        self.next.as_ref().is_none_or(|(_, ratio)| Judgement::of(ratio, Better::Lower) == Judgement::Slower)
    }
}

/// The ratio of two predictions. They come from separate fits, so their errors add up. Common effects of shared set-ups
/// do not cancel, which makes the interval slightly too wide.
pub fn ratio(one: &Prediction, other: &Prediction) -> Interval {
    let ratio = one.ns / other.ns;
    let freedom = one.freedom.min(other.freedom);
    let reach = two_sided_quantile(ALPHA, freedom) * one.relative_error.hypot(other.relative_error);
    Interval { ratio, low: ratio * (-reach).exp(), high: ratio * reach.exp(), alpha: ALPHA }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, prediction, next } = self;
        let [ns, low, high] = [prediction.ns, prediction.low, prediction.high].map(time);
        match next {
            None => write!(
                f,
                "{path} costs {ns} a message ({low} to {high}); there is no other to compare it with"
            ),
            Some((next, interval)) if self.decided() => write!(
                f,
                "{path} is the cheapest: {ns} a message ({low} to {high}); {next} costs {} times as much ({} to {})",
                significant(interval.ratio),
                significant(interval.low),
                significant(interval.high)
            ),
            Some((next, interval)) => write!(
                f,
                "undecided: {path} costs {ns} a message ({low} to {high}), and {next} {} times as much ({} \
                 to {}): measure the message with `copycost run`",
                significant(interval.ratio),
                significant(interval.low),
                significant(interval.high)
            ),
        }
    }
}

/// A time in ns as text with a fitting unit: `2.00 µs`.
pub fn time(ns: f64) -> String {
    if ns >= 1e6 {
        format!("{} ms", significant(ns / 1e6))
    } else if ns >= 1e3 {
        format!("{} µs", significant(ns / 1e3))
    } else {
        format!("{} ns", significant(ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(ns: f64, relative_error: f64) -> Prediction {
        Prediction { ns, low: 0.9 * ns, high: 1.1 * ns, relative_error, freedom: 8 }
    }

    #[test]
    fn the_cheapest_path_is_named_and_uncertainty_is_stated() {
        let named = |name: &str, ns, error| (name.to_owned(), prediction(ns, error));
        let clear = Choice::among(&[named("a", 5000.0, 0.03), named("b", 2000.0, 0.03)]).unwrap();
        assert!(clear.decided() && clear.path == "b");
        assert!(clear.to_string().starts_with("b is the cheapest: 2.00 µs a message"), "{clear}");
        assert!(clear.to_string().contains("a costs 2.50 times as much (2.2"), "{clear}");
        let close = Choice::among(&[named("a", 2100.0, 0.05), named("b", 2000.0, 0.05)]).unwrap();
        assert!(!close.decided() && close.to_string().starts_with("undecided: b"), "{close}");
        let alone = Choice::among(&[named("a", 900.0, 0.05)]).unwrap();
        assert!(alone.decided() && alone.to_string().contains("900 ns"), "{alone}");
        assert!(Choice::among(&[]).is_none());
    }
}
