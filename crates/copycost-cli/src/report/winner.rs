//! The best path in a cell, and whether the intervals prove that it is best.

use super::metric::RecordMetric;
use super::set::{RecordSet, SetRow};
use crate::compare::metric::Metric as Compared;
use crate::record::MessageSize;
use crate::record::Named;
use crate::record::{CANNOT_TELL, Comparison, DELAYS, LIMITED_BY_RELAY};
use crate::stats::Judgement;

/// The best path of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Winner<'a> {
    /// The name of the path.
    pub path: &'a str,
    /// The ratio to the second-best path, above 1: of the throughputs, or of the CPU times. `None` if there is no
    /// other.
    pub lead: Option<f64>,
    /// Whether intervals prove the lead over every other path.
    pub decided: bool,
}

/// The best path of a cell by the set's lead metric. Paths that delay messages are excluded; `None` if none is left.
pub fn of_cell(set: &RecordSet, size: MessageSize, clients: usize) -> Option<Winner<'_>> {
    let lead_by = set.lead();
    let metric = RecordMetric::from(lead_by);
    let mut rows: Vec<(&SetRow, f64)> = set
        .rows
        .iter()
        .filter(|row| (row.size, row.clients) == (size, clients) && !has_flag(row, DELAYS))
        .filter_map(|row| Some((row, row.figure(metric)?.value)))
        .collect();
    rows.sort_by(|one, other| other.1.total_cmp(&one.1));
    if !metric.more_is_better() {
        rows.reverse();
    }
    let (first, others) = rows.split_first()?;
    let ratio = |second: f64| if metric.more_is_better() { first.1 / second } else { second / first.1 };
    let lead = others.first().map(|second| ratio(second.1)).filter(|lead| lead.is_finite());
    // If the sender was not the limiter, throughput does not rank paths. CPU time does so in any case.
    let inconclusive = metric == RecordMetric::Throughput
        && rows.iter().any(|(row, _)| has_flag(row, CANNOT_TELL) || has_flag(row, LIMITED_BY_RELAY));
    let shown = others.iter().all(|(other, _)| is_better(set, lead_by, first.0, other));
    Some(Winner { path: &first.0.path, lead, decided: !others.is_empty() && !inconclusive && shown })
}

fn has_flag(row: &SetRow, flag: &str) -> bool {
    row.record.as_ref().is_some_and(|record| record.flags.iter().any(|has| has == flag))
}

/// Whether intervals prove that `one` is better than `other`: by the outcome of their comparison if one of them is the
/// reference, else by intervals that do not overlap.
fn is_better(set: &RecordSet, compared_by: Compared, one: &SetRow, other: &SetRow) -> bool {
    let metric = RecordMetric::from(compared_by);
    match (outcome(set, compared_by, one, other), outcome(set, compared_by, other, one)) {
        (Some(outcome), _) => outcome.is(Judgement::Faster),
        (None, Some(outcome)) => outcome.is(Judgement::Slower),
        (None, None) => {
            let interval = |row: &SetRow| row.figure(metric)?.interval;
            let apart = |one: (f64, f64), other: (f64, f64)| match metric.more_is_better() {
                true => one.0 > other.1,
                false => one.1 < other.0,
            };
            interval(one).zip(interval(other)).is_some_and(|(one, other)| apart(one, other))
        }
    }
}

fn outcome<'a>(
    set: &'a RecordSet,
    by: Compared,
    path: &'a SetRow,
    reference: &SetRow,
) -> Option<&'a Named<Judgement>> {
    let found = set.comparisons.iter().find(|c| {
        (&c.path, c.size, c.clients, &c.reference) == (&path.path, path.size, path.clients, &reference.path)
            && c.metric.is(by)
    })?;
    Some(&found.word)
}

/// The comparisons of a path in a cell by a metric.
pub fn compared<'a>(
    set: &'a RecordSet,
    path: &'a str,
    size: MessageSize,
    clients: usize,
    metric: Compared,
) -> impl Iterator<Item = &'a Comparison> {
    set.comparisons
        .iter()
        .filter(move |c| (c.path.as_str(), c.size, c.clients) == (path, size, clients) && c.metric.is(metric))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::full;
    use crate::report::set::of_results;

    #[test]
    fn a_lead_is_decided_if_every_other_path_is_proven_slower() {
        let set = of_results("", &full()).remove(0);
        let of = |size: usize, clients| of_cell(&set, size.into(), clients).unwrap();
        assert_eq!(of(1024, 1), Winner { path: "onecopy", lead: Some(4.0), decided: true });
        // zerocopy is faster than the reference, and its interval lies above that of twocopy.
        assert_eq!((of(65_536, 1).path, of(65_536, 1).decided), ("zerocopy", true));
        assert_eq!((of(65_536, 8).path, of(65_536, 8).decided), ("zerocopy", false));
        assert_eq!(of_cell(&set, 4096.into(), 1), None);
    }

    #[test]
    fn figures_alone_decide_nothing() {
        let mut results = full();
        results.comparisons.clear();
        let set = of_results("", &results).remove(0);
        assert!(!of_cell(&set, 1024.into(), 1).unwrap().decided);
    }

    #[test]
    fn a_cell_not_limited_by_the_sender_decides_nothing() {
        let mut results = full();
        results.records[0].flags.push(CANNOT_TELL.to_owned());
        let set = of_results("", &results).remove(0);
        assert!(!of_cell(&set, 1024.into(), 1).unwrap().decided);
    }
}
