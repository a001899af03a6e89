//! Which path is ahead in a cell, and whether that is shown or only looks so.

use super::metric::RecordMetric;
use super::set::{RecordSet, SetRow};
use crate::compare::metric::Metric as Compared;
use crate::record::{CANNOT_TELL, Comparison, DELAYS, LIMITED_BY_RELAY};

/// The path that is ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct Winner<'a> {
    /// Its name.
    pub path: &'a str,
    /// How many times as good as the next one it is: its throughput for each of the next one's, or the next one's CPU time
    /// for each of its own; `None` where it is alone.
    pub lead: Option<f64>,
    /// Whether intervals show it.
    pub decided: bool,
}

/// The best path of a cell by the metric that leads, of those that hold no messages back; `None` where none was measured.
pub fn of_cell(set: &RecordSet, size: usize, clients: usize) -> Option<Winner<'_>> {
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
    // Of a sender that was not the limit throughput says nothing, and its CPU time what it always does.
    let blind = metric == RecordMetric::Throughput
        && rows.iter().any(|(row, _)| has_flag(row, CANNOT_TELL) || has_flag(row, LIMITED_BY_RELAY));
    let shown = others.iter().all(|(other, _)| is_better(set, lead_by, first.0, other));
    Some(Winner { path: &first.0.path, lead, decided: !others.is_empty() && !blind && shown })
}

fn has_flag(row: &SetRow, flag: &str) -> bool {
    row.record.as_ref().is_some_and(|record| record.flags.iter().any(|has| has == flag))
}

/// Whether an interval shows that `one` is better than `other`: the comparison's word where one of them is the
/// reference, intervals that do not touch otherwise.
fn is_better(set: &RecordSet, compared_by: Compared, one: &SetRow, other: &SetRow) -> bool {
    let metric = RecordMetric::from(compared_by);
    match (word(set, compared_by, one, other), word(set, compared_by, other, one)) {
        (Some(word), _) => word == "faster",
        (None, Some(word)) => word == "slower",
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

fn word<'a>(set: &'a RecordSet, by: Compared, path: &'a SetRow, reference: &SetRow) -> Option<&'a str> {
    let name = by.to_string();
    let found = set.comparisons.iter().find(|c| {
        (&c.path, c.size, c.clients, &c.metric, &c.reference)
            == (&path.path, path.size, path.clients, &name, &reference.path)
    })?;
    Some(found.word.as_str())
}

/// A path's comparisons in a cell.
pub fn compared<'a>(
    set: &'a RecordSet,
    path: &'a str,
    size: usize,
    clients: usize,
    metric: &'a str,
) -> impl Iterator<Item = &'a Comparison> {
    set.comparisons.iter().filter(move |c| {
        (c.path.as_str(), c.size, c.clients, c.metric.as_str()) == (path, size, clients, metric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::full;
    use crate::report::set::of_results;

    #[test]
    fn a_lead_is_decided_where_every_other_path_is_shown_to_be_slower() {
        let set = of_results("", &full()).remove(0);
        let of = |size, clients| of_cell(&set, size, clients).unwrap();
        assert_eq!(of(1024, 1), Winner { path: "onecopy", lead: Some(4.0), decided: true });
        // zerocopy is faster than the reference, and its interval lies above that of twocopy.
        assert_eq!((of(65_536, 1).path, of(65_536, 1).decided), ("zerocopy", true));
        assert_eq!((of(65_536, 8).path, of(65_536, 8).decided), ("zerocopy", false));
        assert_eq!(of_cell(&set, 4096, 1), None);
    }

    #[test]
    fn figures_alone_decide_nothing() {
        let mut results = full();
        results.comparisons.clear();
        let set = of_results("", &results).remove(0);
        assert!(!of_cell(&set, 1024, 1).unwrap().decided);
    }

    #[test]
    fn nor_does_a_cell_whose_limit_was_not_the_sender() {
        let mut results = full();
        results.records[0].flags.push(CANNOT_TELL.to_owned());
        let set = of_results("", &results).remove(0);
        assert!(!of_cell(&set, 1024, 1).unwrap().decided);
    }
}
