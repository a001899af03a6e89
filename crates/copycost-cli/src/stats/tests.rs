//! Worked examples, degenerate input, and properties that hold for any input.

mod simulated;

use super::*;
use proptest::prelude::*;

/// One pair for each log ratio.
fn pairs_of(logs: &[f64]) -> Vec<Pair> {
    logs.iter().map(|log| Pair { path: 5.0 * log.exp(), reference: 5.0 }).collect()
}

fn cell(pairs: &[Pair]) -> PairedCell<'_> {
    PairedCell { pairs, better: Better::Higher }
}

fn judge_one(pairs: &[Pair]) -> JudgedCell {
    judge(&[cell(pairs)], 0.05)[0]
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-5 * b.abs()
}

/// By hand: mean 0.2, standard deviation 0.1, standard error 0.1/sqrt(3) = 0.057735; t(0.975; 2) = 4.302653, so the
/// reach is 0.248414. t = 0.2/0.057735 = 3.464102 = sqrt(12), and for two degrees p = 1 - sqrt(12)/sqrt(14) = 0.074180.
#[test]
fn three_setups_by_hand() {
    let estimate = Estimate::new(&pairs_of(&[0.1, 0.2, 0.3])).unwrap();
    let interval = estimate.interval(0.05);
    assert!(close(estimate.p_value(), 0.074180), "{}", estimate.p_value());
    assert!(close(interval.ratio, 0.2f64.exp()), "{interval:?}");
    assert!(close(interval.low, (-0.048414f64).exp()), "{interval:?}");
    assert!(close(interval.high, 0.448414f64.exp()), "{interval:?}");
    assert!(close(interval.precision(), 0.248414f64.exp_m1()), "{interval:?}");
}

#[test]
fn each_judgement_has_its_interval() {
    let around = |log: f64, spread: f64| pairs_of(&[log - spread, log, log + spread, log]);
    let judgement = |pairs: &[Pair]| judge_one(pairs).judgement;
    assert_eq!(judgement(&around(0.10, 0.01)), Judgement::Faster);
    assert_eq!(judgement(&around(-0.10, 0.01)), Judgement::Slower);
    assert_eq!(judgement(&around(0.0, 0.005)), Judgement::Equivalent);
    assert_eq!(
        judgement(&around(0.01, 0.001)),
        Judgement::Equivalent,
        "a difference that is there, but too small to matter"
    );
    assert_eq!(judgement(&around(0.01, 0.1)), Judgement::Undecided);
    let slow = around(0.10, 0.01);
    assert_eq!(
        judge(&[PairedCell { pairs: &slow, better: Better::Lower }], 0.05)[0].judgement,
        Judgement::Slower
    );
}

/// The usual example, p = 0.01, 0.04, 0.03, 0.005 at level 0.05: 0.005 passes at 0.05/4, 0.01 passes at 0.05/3, and
/// 0.03 fails at 0.05/2, which also ends the test for 0.04.
#[test]
fn holm_by_hand() {
    let families: Vec<_> = [0.01f64, 0.04, 0.03, 0.005]
        .into_iter()
        .map(|p| {
            // For two degrees of freedom p gives t in closed form; logs m - s, m, m + s have t = m sqrt(3)/s.
            let t = 2.0f64.sqrt() * (1.0 - p) / (p * (2.0 - p)).sqrt();
            let (s, m) = (0.1, t * 0.1 / 3.0f64.sqrt());
            pairs_of(&[m - s, m, m + s])
        })
        .collect();
    let cells: Vec<_> = families.iter().map(|pairs| cell(pairs)).collect();
    let found = judge(&cells, 0.05);
    let levels: Vec<_> = found.iter().map(|comparison| comparison.interval.unwrap().alpha).collect();
    assert_eq!(levels, [0.05 / 3.0, 0.05 / 2.0, 0.05 / 2.0, 0.05 / 4.0]);
    let judgements: Vec<_> = found.iter().map(|comparison| comparison.judgement).collect();
    assert_eq!(
        judgements,
        [Judgement::Faster, Judgement::Undecided, Judgement::Undecided, Judgement::Faster]
    );
    assert!(found[1].why_undecided().unwrap().contains("both sides of 1"));
    assert_eq!(found[0].why_undecided(), None);
}

#[test]
fn degenerate_input_is_undecided_with_a_reason() {
    let pair = |path, reference| Pair { path, reference };
    let good = pair(2.0, 1.0);
    for (pairs, reason) in [
        (vec![], "no set-up"),
        (vec![good], "a single set-up"),
        (vec![good; 8], "agree to the last digit"),
        (vec![pair(0.3, 0.1), pair(3.0, 1.0)], "agree to the last digit"),
        (vec![good, pair(f64::NAN, 1.0)], "set-up 1 measured NaN"),
        (vec![pair(1.0, f64::INFINITY), good], "set-up 0 measured inf"),
        (vec![good, good, pair(0.0, 1.0)], "set-up 2 measured 0"),
        (vec![good, pair(1.0, -4.0)], "set-up 1 measured -4"),
        (vec![pair(f64::NAN, 1.0)], "set-up 0 measured NaN"),
    ] {
        let comparison = judge_one(&pairs);
        assert_eq!(comparison.judgement, Judgement::Undecided);
        assert_eq!(comparison.setups, pairs.len());
        let why = comparison.why_undecided().unwrap();
        assert!(why.contains(reason), "{why}");
    }
    assert_eq!(judge(&[], 0.05), []);
}

/// A cell that could not be measured still counts for the correction of the others.
#[test]
fn an_unusable_cell_still_counts() {
    let noisy = pairs_of(&[-0.1, 0.0, 0.12]);
    let alone = judge(&[cell(&noisy), cell(&[])], 0.05);
    assert_eq!(alone[0].interval.unwrap().alpha, 0.025);
}

fn some_logs() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-2.0..2.0f64, 2..12)
}

fn opposite(judgement: Judgement) -> Judgement {
    match judgement {
        Judgement::Faster => Judgement::Slower,
        Judgement::Slower => Judgement::Faster,
        other => other,
    }
}

proptest! {
    #[test]
    fn any_floats_give_numbers_or_a_reason(
        values in prop::collection::vec(prop::collection::vec((any::<f64>(), any::<f64>()), 0..6), 0..5),
        alpha in any::<f64>(),
    ) {
        let pairs = |v: &Vec<(f64, f64)>| v.iter().map(|&(path, reference)| Pair { path, reference }).collect::<Vec<_>>();
        let measured: Vec<_> = values.iter().map(pairs).collect();
        let cells: Vec<_> = measured.iter().map(|pairs| cell(pairs)).collect();
        for comparison in judge(&cells, alpha) {
            if let Ok(interval) = comparison.interval {
                prop_assert!(interval.low > 0.0 && interval.low <= interval.ratio);
                prop_assert!(interval.ratio <= interval.high && interval.high.is_finite());
                prop_assert!(interval.precision() >= 0.0 && interval.precision().is_finite());
            }
            prop_assert_eq!(comparison.why_undecided().is_some(), comparison.judgement == Judgement::Undecided);
        }
    }

    #[test]
    fn swapping_path_and_reference_mirrors_the_outcome(logs in some_logs()) {
        let pairs = pairs_of(&logs);
        let swapped: Vec<_> = pairs.iter().map(|p| Pair { path: p.reference, reference: p.path }).collect();
        let (one, other) = (judge_one(&pairs), judge_one(&swapped));
        prop_assert_eq!(one.judgement, opposite(other.judgement));
        if let (Ok(a), Ok(b)) = (one.interval, other.interval) {
            prop_assert!(close(a.low, b.high.recip()) && close(a.high, b.low.recip()));
        }
    }

    #[test]
    fn lower_is_better_mirrors_the_judgement_alone(logs in some_logs()) {
        let pairs = pairs_of(&logs);
        let lower = judge(&[PairedCell { pairs: &pairs, better: Better::Lower }], 0.05)[0];
        prop_assert_eq!(lower.judgement, opposite(judge_one(&pairs).judgement));
        prop_assert_eq!(lower.interval, judge_one(&pairs).interval);
    }

    #[test]
    fn an_effect_on_both_values_of_a_setup_cancels(logs in some_logs(), factor in 0.01..100.0f64) {
        let pairs = pairs_of(&logs);
        let scaled: Vec<_> =
            pairs.iter().map(|p| Pair { path: p.path * factor, reference: p.reference * factor }).collect();
        if let (Ok(a), Ok(b)) = (judge_one(&pairs).interval, judge_one(&scaled).interval) {
            prop_assert!(close(a.low, b.low) && close(a.ratio, b.ratio) && close(a.high, b.high));
        }
    }

    #[test]
    fn more_cells_never_narrow_an_interval(logs in some_logs(), more in prop::collection::vec(some_logs(), 1..5)) {
        let pairs = pairs_of(&logs);
        let others: Vec<_> = more.iter().map(|logs| pairs_of(logs)).collect();
        let cells: Vec<_> = std::iter::once(&pairs).chain(&others).map(|pairs| cell(pairs)).collect();
        if let (Ok(alone), Ok(among)) = (judge_one(&pairs).interval, judge(&cells, 0.05)[0].interval) {
            prop_assert!(among.low <= alone.low && among.high >= alone.high);
        }
    }

    #[test]
    fn found_different_means_holm_rejects(all in prop::collection::vec(some_logs(), 1..6)) {
        let measured: Vec<_> = all.iter().map(|logs| pairs_of(logs)).collect();
        let cells: Vec<_> = measured.iter().map(|pairs| cell(pairs)).collect();
        for (pairs, comparison) in measured.iter().zip(judge(&cells, 0.05)) {
            let (Ok(estimate), Ok(interval)) = (Estimate::new(pairs), comparison.interval) else { continue };
            let (p, excludes_one) = (estimate.p_value(), interval.low > 1.0 || interval.high < 1.0);
            prop_assume!((p / interval.alpha - 1.0).abs() > 1e-9);
            prop_assert_eq!(excludes_one, p <= interval.alpha);
        }
    }
}
