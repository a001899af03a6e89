//! Known coefficients are recovered, also with noise; columns that cannot be separated are refused.

use super::*;
use fastrand::Rng;
use proptest::prelude::*;

/// A standard normal value, by the method of Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let (a, b) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// Cells of 1 to 8 fields and 1 to 256 KiB, as calls, fields and KiB.
fn cells() -> Vec<Vec<f64>> {
    let mut cells = Vec::new();
    for fields in [1.0, 2.0, 8.0] {
        for kib in [1.0, 4.0, 16.0, 64.0, 256.0] {
            cells.push(vec![1.0, fields, kib]);
        }
    }
    cells
}

fn rows(truth: &[f64], mut noise: impl FnMut() -> f64) -> Vec<FitRow> {
    let row = |terms: Vec<f64>| FitRow { value: product(truth, &terms) * noise(), terms, weight: 1.0 };
    cells().into_iter().map(row).collect()
}

#[test]
fn a_line_through_three_points_by_hand() {
    // Without noise: 2 + 3x at 1, 2, 4 and 8.
    let rows: Vec<_> = [1.0, 2.0, 4.0, 8.0]
        .map(|x| FitRow { terms: vec![1.0, x], value: 2.0 + 3.0 * x, weight: 1.0 })
        .to_vec();
    let fit = fit(&rows).unwrap();
    assert!((fit.coefficients[0] - 2.0).abs() < 1e-9 && (fit.coefficients[1] - 3.0).abs() < 1e-9, "{fit:?}");
    assert!(fit.spread < 1e-12 && fit.freedom == 2);
    assert!((fit.value(&[1.0, 10.0]) - 32.0).abs() < 1e-9);
}

/// Each cell is the mean of four set-ups, and each set-up has 3 % of noise.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let truth = [800.0, 40.0, 95.0];
    let mut rng = Rng::with_seed(5);
    let (mut held, mut predicted) = ([0; 3], 0);
    const RUNS: usize = 400;
    for _ in 0..RUNS {
        let mut noise = || (0..4).map(|_| (0.03 * normal(&mut rng)).exp()).sum::<f64>() / 4.0;
        let fit = fit(&rows(&truth, &mut noise)).unwrap();
        for term in 0..3 {
            held[term] += usize::from((fit.coefficients[term] - truth[term]).abs() <= fit.reach(term, 0.05));
        }
        let unseen = [1.0, 4.0, 100.0];
        let measured = product(&truth, &unseen) * noise();
        let reach = two_sided_quantile(0.05, fit.freedom) * fit.relative_error(&unseen);
        predicted += usize::from((measured / fit.value(&unseen) - 1.0).abs() <= reach);
    }
    // Expected 380 of 400; 360 is more than four standard deviations below.
    assert!(held.iter().chain([&predicted]).all(|count| *count >= 360), "{held:?} {predicted}");
}

#[test]
fn a_cell_of_twice_the_weight_counts_as_two() {
    let row = |x: f64, value: f64, weight: f64| FitRow { terms: vec![1.0, x], value, weight };
    let apart = [
        row(1.0, 5.0, 1.0),
        row(2.0, 8.5, 1.0),
        row(2.0, 8.5, 1.0),
        row(4.0, 13.0, 1.0),
        row(8.0, 27.0, 1.0),
    ];
    let joined = [row(1.0, 5.0, 1.0), row(2.0, 8.5, 2.0), row(4.0, 13.0, 1.0), row(8.0, 27.0, 1.0)];
    let [apart, joined] = [fit(&apart).unwrap(), fit(&joined).unwrap()];
    for (one, other) in apart.coefficients.iter().zip(&joined.coefficients) {
        assert!((one / other - 1.0).abs() < 1e-9, "{apart:?} {joined:?}");
    }
}

#[test]
fn columns_that_cannot_be_separated_are_refused() {
    let row =
        |terms: &[f64]| FitRow { terms: terms.to_vec(), value: 1.0 + terms.iter().sum::<f64>(), weight: 1.0 };
    let few: Vec<_> = [[1.0, 2.0], [1.0, 3.0], [1.0, 5.0]].iter().map(|terms| row(terms)).collect();
    let error = fit(&few).unwrap_err();
    assert_eq!(error, NoFit::TooFew { rows: 3, columns: 2 });
    assert!(error.to_string().contains("at least 4"), "{error}");
    let together: Vec<_> = (1..9).map(|n| row(&[1.0, f64::from(n), 3.0 * f64::from(n) + 2.0])).collect();
    assert_eq!(fit(&together), Err(NoFit::Collinear { column: 2 }));
    let never: Vec<_> = (1..9).map(|n| row(&[f64::from(n), 0.0])).collect();
    assert_eq!(fit(&never), Err(NoFit::Collinear { column: 1 }));
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut rows = rows(&[1.0, 1.0, 1.0], || 1.0);
        rows[4].value = value;
        assert_eq!(fit(&rows), Err(NoFit::NotPositive { row: 4 }));
    }
    assert!(matches!(fit(&[]), Err(NoFit::TooFew { .. })));
}

proptest! {
    #[test]
    fn exact_values_give_back_their_coefficients(a in 1.0..5000.0f64, f in 0.1..500.0f64, c in 0.1..500.0f64) {
        let truth = [a, f, c];
        let fit = fit(&rows(&truth, || 1.0)).unwrap();
        for (found, truth) in fit.coefficients.iter().zip(truth) {
            prop_assert!((found / truth - 1.0).abs() < 1e-6, "{:?}", fit);
        }
    }

    #[test]
    fn any_rows_give_numbers_or_a_refusal(values in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 0..12)) {
        let rows: Vec<_> = values.iter().map(|(a, b, value)| FitRow { terms: vec![*a, *b], value: *value, weight: a.abs() }).collect();
        let _ = fit(&rows);
    }
}
