//! Tests of the claims on the cells of a set, and their summary.

use super::{ClaimFinding, ClaimVerdict, ONE, TWO, ZERO};
use crate::compare::metric::Metric;
use crate::record::MessageSize;
use crate::record::Named;
use crate::report::metric::RecordMetric;
use crate::report::set::{RecordSet, SetRow};
use crate::report::winner::compared;
use crate::stats::EQUIVALENT_WITHIN;
use crate::stats::Judgement;
use copycost::send::ORIGINAL;
use copycost::units::significant;

/// The test of a claim in one cell.
pub(super) struct CellTest {
    /// Above 1 if the claim holds; larger means more clearly.
    pub margin: f64,
    /// Whether the claim holds; `None` if a comparison is undecided.
    pub holds: Option<bool>,
    evidence: String,
}

/// Summarises the tests. The evidence is the test with the strongest contradiction, or else with the weakest support.
fn summarised(mut tests: Vec<CellTest>, missing: &str) -> ClaimFinding {
    let count = |holds| tests.iter().filter(|test| test.holds == holds).count();
    let (yes, no, open) = (count(Some(true)), count(Some(false)), count(None));
    let verdict = match (yes, no) {
        (_, 1..) => ClaimVerdict::NotHeld,
        (1.., 0) => ClaimVerdict::Held,
        (0, 0) => ClaimVerdict::NotTestable,
    };
    let shows = |test: &CellTest| match verdict {
        ClaimVerdict::NotHeld => test.holds == Some(false),
        ClaimVerdict::Held => test.holds == Some(true),
        ClaimVerdict::NotTestable => true,
    };
    tests.retain(shows);
    let Some(weakest) = tests.into_iter().min_by(|one, other| one.margin.total_cmp(&other.margin)) else {
        return ClaimFinding { verdict, evidence: missing.to_owned() };
    };
    let mut evidence = weakest.evidence;
    if yes + no + open > 1 {
        evidence += &format!(" (held in {yes} of {}", yes + no + open);
        evidence += &if open > 0 { format!(", undecided in {open})") } else { ")".to_owned() };
    } else if open > 0 {
        evidence += " (undecided)";
    }
    ClaimFinding { verdict, evidence }
}

/// The reason for missing throughputs.
pub(super) const PATHS: &str = "A path of the three was not measured.";

pub(super) fn everywhere(
    set: &RecordSet,
    missing: &str,
    test: impl Fn(MessageSize, usize) -> Option<CellTest>,
) -> ClaimFinding {
    summarised(set.cells().into_iter().filter_map(|(size, clients)| test(size, clients)).collect(), missing)
}

pub(super) fn over<T: Copy>(values: &[T], what: &str, test: impl Fn(T) -> Option<CellTest>) -> ClaimFinding {
    summarised(
        values.iter().filter_map(|value| test(*value)).collect(),
        &format!("Needs all three paths and several {what}."),
    )
}

fn at(size: MessageSize, clients: usize) -> String {
    format!("{size} × {clients}")
}

fn figure(row: Option<&SetRow>, metric: RecordMetric) -> Option<f64> {
    row?.figure(metric).map(|figure| figure.value).filter(|value| *value > 0.0)
}

/// Whether `one` has a higher throughput than `other`: by the outcome of their comparison if there is one, else by more
/// than the margin of equivalence.
pub(super) fn faster(
    set: &RecordSet,
    one: &str,
    other: &str,
    size: MessageSize,
    clients: usize,
) -> Option<CellTest> {
    let of = |path| figure(set.row(path, size, clients), RecordMetric::Throughput);
    let (a, b) = (of(one)?, of(other)?);
    let outcome = |path: &str, reference: &str| {
        let found = compared(set, path, size, clients, Metric::Throughput).find(|c| c.reference == reference);
        found.map(|comparison| comparison.word.clone())
    };
    let decided =
        |outcome: Named<Judgement>, yes| (!outcome.is(Judgement::Undecided)).then(|| outcome.is(yes));
    let holds = match (outcome(one, other), outcome(other, one)) {
        (Some(outcome), _) => decided(outcome, Judgement::Faster),
        (None, Some(outcome)) => decided(outcome, Judgement::Slower),
        (None, None) => Some(a / b > 1.0 + EQUIVALENT_WITHIN),
    };
    let evidence =
        format!("{}: {one} {} GB/s, {other} {}", at(size, clients), significant(a), significant(b));
    Some(CellTest { margin: a / b, holds, evidence })
}

pub(super) fn fewest_cycles(set: &RecordSet, size: MessageSize, clients: usize) -> Option<CellTest> {
    let of = |path| figure(set.row(path, size, clients), RecordMetric::CyclesPerByte);
    let (zero, one, two) = (of(ZERO)?, of(ONE)?, of(TWO)?);
    let margin = one.min(two) / zero;
    let evidence = format!(
        "{}: {ZERO} {} cycles per byte, {ONE} {}, {TWO} {}",
        at(size, clients),
        significant(zero),
        significant(one),
        significant(two)
    );
    Some(CellTest { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), evidence })
}

pub(super) fn shrink(set: &RecordSet, clients: usize) -> Option<CellTest> {
    let ratio = |size: MessageSize| {
        let of = |path| figure(set.row(path, size, clients), RecordMetric::Throughput);
        Some((size, of(ZERO)? / of(ONE)?))
    };
    let ratios: Vec<_> = set.sizes().into_iter().filter_map(ratio).collect();
    let (small, large) = (ratios.first()?, ratios.last().filter(|_| ratios.len() > 1)?);
    let margin = large.1 / small.1;
    let evidence = format!(
        "{ZERO} reaches {} times {ONE} at {} and {} times at {}, clients {clients}",
        significant(small.1),
        small.0,
        significant(large.1),
        large.0
    );
    Some(CellTest { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), evidence })
}

/// The fewest and the most clients with which a path has the figure at a size, and the two figures.
fn growth(
    set: &RecordSet,
    path: &str,
    size: MessageSize,
    metric: RecordMetric,
) -> Option<(usize, usize, f64, f64)> {
    let of = |clients: usize| Some((clients, set.row(path, size, clients)?.figure(metric)?.value));
    let known: Vec<_> = set.clients().into_iter().filter_map(of).collect();
    let (fewest, most) = (known.first()?, known.last().filter(|_| known.len() > 1)?);
    Some((fewest.0, most.0, fewest.1, most.1))
}

pub(super) fn scales_best(set: &RecordSet, size: MessageSize) -> Option<CellTest> {
    let speedup = |path| {
        let (fewest, most, from, to) = growth(set, path, size, RecordMetric::Throughput)?;
        (from > 0.0 && to > 0.0).then_some((fewest, most, to / from))
    };
    let (zero, one, two) = (speedup(ZERO)?, speedup(ONE)?, speedup(TWO)?);
    let margin = zero.2 / one.2.max(two.2);
    let evidence = format!(
        "{}, clients {} to {}: {ZERO} {} times, {ONE} {}, {TWO} {}",
        size,
        zero.0,
        zero.1,
        significant(zero.2),
        significant(one.2),
        significant(two.2)
    );
    Some(CellTest { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), evidence })
}

pub(super) fn first_level_falls_most(set: &RecordSet, size: MessageSize, clients: usize) -> Option<CellTest> {
    let left = |metric| {
        let of = |path| figure(set.row(path, size, clients), metric);
        Some(of(ZERO)? / of(TWO)?)
    };
    let (first, last) = (left(RecordMetric::FirstLevelMisses)?, left(RecordMetric::LastLevelMisses)?);
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let evidence = format!(
        "{}: {} of the L1 misses are left, {} of the last level's",
        at(size, clients),
        percent(first),
        percent(last)
    );
    Some(CellTest { margin: last / first, holds: Some(first < 1.0 && first < last), evidence })
}

/// The test on the path whose context switches rise least, of the three.
pub(super) fn contention(set: &RecordSet, size: MessageSize) -> Option<CellTest> {
    let test = |path: &str| {
        let (fewest, most, from, to) = growth(set, path, size, RecordMetric::Switches)?;
        let evidence = format!(
            "{path}, {}: {} switches a message at clients {fewest}, {} at {most}",
            size,
            significant(from),
            significant(to)
        );
        let margin = to / from.max(f64::MIN_POSITIVE);
        Some(CellTest { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), evidence })
    };
    ORIGINAL.iter().filter_map(|path| test(path)).min_by(|one, other| one.margin.total_cmp(&other.margin))
}
