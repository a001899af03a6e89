//! From the set-ups of a whole run to its comparisons: judged together, because each of many intervals may err.

use super::MessageSize;
use super::{Comparison, Named};
use crate::compare::metric::Metric;
use crate::stats::{self, Pair, PairedCell};
use copycost::units::significant;

/// The probability of calling any two equal paths different in a whole run.
pub const ALPHA: f64 = 0.05;

/// What set-ups measured for one path and its reference, in one cell and by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// The message's size in bytes.
    pub size: MessageSize,
    pub clients: usize,
    /// How many hosts received.
    pub client_hosts: usize,
    pub path: String,
    /// What it is compared with.
    pub reference: String,
    /// By what.
    pub metric: Metric,
    /// A pair for each set-up, or the sentence why there are none.
    pub pairs: Result<Vec<Pair>, String>,
    /// The precision that was asked for, and why no more set-ups were made.
    pub goal: Option<(f64, &'static str)>,
}

impl Paired {
    fn cell(&self) -> PairedCell<'_> {
        PairedCell { pairs: self.pairs.as_deref().unwrap_or_default(), better: self.metric.better() }
    }
}

impl Comparison {
    /// The comparisons of a run. `kept` is how many comparisons of an earlier, resumed run stand beside them: they count
    /// among the many.
    pub fn judged(paired: &[Paired], kept: usize) -> Vec<Self> {
        let none = PairedCell { pairs: &[], better: stats::Better::Higher };
        let cells: Vec<_> = paired.iter().map(Paired::cell).chain((0..kept).map(|_| none)).collect();
        let judged = stats::judge(&cells, ALPHA);
        paired.iter().zip(judged).map(|(paired, judged)| Self::of(paired, &judged)).collect()
    }

    fn of(paired: &Paired, judged: &stats::JudgedCell) -> Self {
        let interval = judged.interval.ok();
        let missing = paired.pairs.as_ref().err().cloned();
        let note = [missing.or_else(|| judged.why_undecided()), missed(paired, judged)];
        let note: Vec<_> = note.into_iter().flatten().collect();
        Self {
            size: paired.size,
            clients: paired.clients,
            client_hosts: paired.client_hosts,
            path: paired.path.clone(),
            reference: paired.reference.clone(),
            metric: Named::Known(paired.metric),
            ratio: interval.map(|interval| interval.ratio),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            word: Named::Known(judged.judgement),
            setups: judged.setups,
            note: (!note.is_empty()).then(|| note.join("; ")),
        }
    }
}

/// That the precision asked for was not reached, and why.
fn missed(paired: &Paired, judged: &stats::JudgedCell) -> Option<String> {
    let (goal, why) = paired.goal?;
    let reached = judged.interval.ok()?.precision();
    (reached > goal).then(|| {
        let (reached, goal) = (significant(100.0 * reached), significant(100.0 * goal));
        format!("known to {reached} %, but the goal is {goal} %: {why} after {} set-ups", judged.setups)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Judgement;

    fn paired(metric: Metric, ratios: &[f64]) -> Paired {
        let pairs = ratios.iter().map(|&path| Pair { path, reference: 1.0 }).collect();
        Paired {
            size: 1024.into(),
            clients: 1,
            client_hosts: 1,
            path: "twocopy".into(),
            reference: "onecopy".into(),
            metric,
            pairs: Ok(pairs),
            goal: None,
        }
    }

    #[test]
    fn words_and_intervals_come_from_the_pairs() {
        let of = |metric| Comparison::judged(&[paired(metric, &[0.5, 0.51, 0.5, 0.49])], 0).remove(0);
        let throughput = of(Metric::Throughput);
        assert!(throughput.word.is(Judgement::Slower) && throughput.setups == 4);
        assert!(throughput.low < throughput.ratio && throughput.ratio < throughput.high);
        assert!(throughput.metric.is(Metric::Throughput) && throughput.note.is_none());
        assert!(of(Metric::Demand).word.is(Judgement::Faster));
    }

    #[test]
    fn what_is_missing_or_degenerate_says_why() {
        let failed = Paired { pairs: Err("twocopy failed".into()), ..paired(Metric::Demand, &[]) };
        let of = |paired| Comparison::judged(&[paired], 0).remove(0);
        let comparison = of(failed);
        assert!(comparison.ratio.is_none() && comparison.word.is(Judgement::Undecided));
        assert_eq!(comparison.note.as_deref(), Some("twocopy failed"));
        for ratios in [&[][..], &[1.0], &[0.0, 1.0], &[f64::NAN, 1.0], &[1.0, 1.0]] {
            let comparison = of(paired(Metric::Throughput, ratios));
            assert!(comparison.ratio.is_none() && comparison.word.is(Judgement::Undecided), "{ratios:?}");
            assert!(comparison.note.is_some());
        }
    }

    #[test]
    fn a_precision_that_was_not_reached_is_told() {
        let goal = Some((0.001, "the budget ended"));
        let missed = Paired { goal, ..paired(Metric::Throughput, &[0.5, 0.51, 0.5, 0.49]) };
        let comparison = Comparison::judged(&[missed], 0).remove(0);
        let note = comparison.note.unwrap();
        assert!(note.contains("the goal is 0.10 %: the budget ended after 4 set-ups"), "{note}");
    }

    #[test]
    fn comparisons_kept_from_before_make_the_others_careful() {
        let width = |kept| {
            let comparison =
                Comparison::judged(&[paired(Metric::Throughput, &[0.98, 1.05, 1.0])], kept).remove(0);
            comparison.high.unwrap() / comparison.low.unwrap()
        };
        assert!(width(20) > width(0));
    }
}
