//! Compares the ratios of a run with those of an earlier run.
//!
//! It does not compare absolute figures of different runs, because the machine drifts by a fifth within minutes. It
//! compares ratios of a path to the reference path of the same run. A change that affects both paths alike stays
//! hidden; `--with`, which interleaves both builds, shows it.

pub use crate::record::BASELINE;
use crate::record::{Comparison, Named, Record, Results, UNRECORDED};
use crate::stats::{Interval, Judgement};

/// The ratios of `now` divided by those of `before`, for each path and cell that has a ratio in both.
///
/// The intervals are added in quadrature, as for independent errors. If the two runs used different levels, the result
/// holds at the less strict one.
pub fn changes(now: &Results, before: &Results) -> Vec<Comparison> {
    let counterpart = |here: &Comparison| before.comparisons.iter().find(|there| alike(here, there));
    let of_paths = now.comparisons.iter().filter(|comparison| !comparison.is_of_builds());
    let mut changes: Vec<Comparison> = Vec::new();
    for change in of_paths.filter_map(|here| change(here, counterpart(here)?)) {
        // With several offsets a contestant has two comparisons: with the reference, and with its own first offset. One
        // change is enough.
        if !changes.iter().any(|known| alike(known, &change)) {
            changes.push(change);
        }
    }
    changes
}

fn alike(here: &Comparison, there: &Comparison) -> bool {
    let key = |c: &Comparison| {
        (c.size, c.clients, c.client_hosts, c.path.clone(), c.reference.clone(), c.metric.clone())
    };
    key(here) == key(there)
}

fn change(here: &Comparison, there: &Comparison) -> Option<Comparison> {
    let metric = *here.metric.known()?;
    let (here_log, here_reach) = logs(here)?;
    let (there_log, there_reach) = logs(there)?;
    let (log, reach) = (here_log - there_log, here_reach.hypot(there_reach));
    let interval = Interval {
        ratio: log.exp(),
        low: (log - reach).exp(),
        high: (log + reach).exp(),
        alpha: crate::record::ALPHA,
    };
    let judgement = Judgement::of(&interval, metric.better());
    Some(Comparison {
        reference: format!("{}@{BASELINE}", here.path),
        ratio: Some(interval.ratio),
        low: Some(interval.low),
        high: Some(interval.high),
        word: Named::Known(judgement),
        setups: here.setups.min(there.setups),
        note: Some(format!("its ratio to {} compared with that of the earlier run", here.reference)),
        ..here.clone()
    })
}

/// The logarithm of a ratio, and half of its interval. `None` if the values are missing or impossible, as a damaged
/// file may hold them.
fn logs(comparison: &Comparison) -> Option<(f64, f64)> {
    let (ratio, low, high) = (comparison.ratio?, comparison.low?, comparison.high?);
    let sane = low > 0.0 && low <= ratio && ratio <= high && high.is_finite();
    sane.then(|| (ratio.ln(), (high.ln() - low.ln()) / 2.0))
}

/// A setting of a record: its name, and how to read it.
type RecordSetting = (&'static str, fn(&Record) -> &str);

/// The conditions in which two runs differ, each as `what: there, here`.
pub fn differences(now: &Results, before: &Results) -> Vec<String> {
    let mut differences = now.conditions.differences(&before.conditions);
    if let (Some(there), Some(here)) = (before.records.first(), now.records.first()) {
        let records: [RecordSetting; 7] = [
            ("transport", |r| &r.transport),
            ("placement", |r| &r.placement),
            ("layout", |r| &r.layout),
            ("fields", |r| &r.fields),
            ("buffers", |r| &r.buffers),
            ("footprint", |r| &r.footprint),
            ("receive path", |r| &r.receive),
        ];
        for (what, of) in records {
            if of(there) != of(here) {
                differences.push(format!("{what}: {} there, {} here", of(there), of(here)));
            }
        }
    }
    differences.extend(offsets(now, before));
    differences
}

/// The buffer offsets in which two runs differ, each as `what: there, here`. An offset that one run did not record is
/// skipped.
pub fn offsets(now: &Results, before: &Results) -> Vec<String> {
    let (Some(there), Some(here)) = (before.records.first(), now.records.first()) else { return Vec::new() };
    let pairs = there.offsets_of_run().into_iter().zip(here.offsets_of_run());
    let differs = |(what, (there, here)): (&str, (&str, &str))| {
        let recorded = there != UNRECORDED && here != UNRECORDED;
        (recorded && there != here).then(|| format!("{what}: {there} there, {here} here"))
    };
    ["send offset", "receive offset"].into_iter().zip(pairs).filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Conditions;

    fn comparison(metric: &str, ratio: f64, reach: f64) -> Comparison {
        Comparison {
            ratio: Some(ratio),
            low: Some(ratio / (1.0 + reach)),
            high: Some(ratio * (1.0 + reach)),
            ..Comparison::example("zerocopy", "onecopy", metric)
        }
    }

    fn results(comparisons: Vec<Comparison>) -> Results {
        Results { comparisons, ..Results::new(Conditions::default()) }
    }

    fn change_of(metric: &str, now: f64, before: f64) -> Comparison {
        let results = |ratio| results(vec![comparison(metric, ratio, 0.01)]);
        changes(&results(now), &results(before)).remove(0)
    }

    #[test]
    fn ratios_are_compared_rather_than_figures() {
        let slower = change_of("throughput", 0.5, 0.6);
        assert!(slower.word.is(Judgement::Slower));
        assert_eq!(slower.reference, "zerocopy@BASELINE");
        assert!((slower.ratio.unwrap() - 0.5 / 0.6).abs() < 1e-12);
        // 1 % and 1 % make 1.4 %.
        assert!((slower.high.unwrap() / slower.ratio.unwrap() - 1.0142).abs() < 1e-4);
        assert!(change_of("demand", 1.0, 1.2).word.is(Judgement::Faster));
        assert!(change_of("throughput", 0.5, 0.5).word.is(Judgement::Equivalent));
        assert!(change_of("throughput", 0.505, 0.5).word.is(Judgement::Undecided));
    }

    #[test]
    fn a_comparison_without_a_counterpart_or_a_ratio_is_skipped() {
        let now = results(vec![comparison("throughput", 1.0, 0.01)]);
        assert_eq!(changes(&now, &results(Vec::new())), []);
        let elsewhere = Comparison { size: 8.into(), ..comparison("throughput", 1.0, 0.01) };
        let none = Comparison { ratio: None, ..comparison("throughput", 1.0, 0.01) };
        let absurd = Comparison { low: Some(-1.0), ..comparison("throughput", 1.0, 0.01) };
        for other in [elsewhere, none, absurd] {
            assert_eq!(changes(&now, &results(vec![other])), []);
        }
        assert_eq!(changes(&results(vec![comparison("colour", 1.0, 0.01)]), &now), []);
    }

    #[test]
    fn conditions_that_differ_are_named() {
        let of = |kernel: &str| {
            let conditions = Conditions { kernel: kernel.into(), cpus: 2, ..Conditions::default() };
            Results::new(conditions)
        };
        assert_eq!(differences(&of("6.1"), &of("6.1")), Vec::<String>::new());
        assert_eq!(differences(&of("6.18"), &of("6.1")), ["kernel: 6.1 there, 6.18 here"]);
    }
}
