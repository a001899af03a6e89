//! Crossovers of simulated paths: known sizes, noise, and ranges without an answer.

use super::*;
use proptest::prelude::*;

/// A path that wins from `at` on, and is undecided within the factor `blind` around it. Records the measured sizes.
fn simulated(at: usize, blind: f64, looks: &mut Vec<usize>) -> impl FnMut(usize) -> Option<Standings> + '_ {
    move |size| {
        looks.push(size);
        let standing = match size as f64 / at as f64 {
            ratio if ratio >= blind => Standing::Wins,
            ratio if ratio < blind.recip() => Standing::DoesNotWin,
            _ => Standing::Unknown,
        };
        Some([standing; 3])
    }
}

fn between(at: usize, blind: f64) -> (CrossoverInterval, Vec<usize>) {
    let mut looks = Vec::new();
    let found = find(MOST, &mut simulated(at, blind, &mut looks)).unwrap();
    assert_eq!(found.iter().map(|(metric, _)| *metric).collect::<Vec<_>>(), Metric::ALL);
    assert!(found.iter().all(|(_, between)| *between == found[0].1));
    (found[0].1, looks)
}

#[test]
fn a_sharp_crossover_is_found_to_the_resolution() {
    let (CrossoverInterval { low, high }, looks) = between(48 << 10, 1.0);
    let (low, high) = (low.unwrap(), high.unwrap());
    assert!(low < 48 << 10 && 48 << 10 <= high, "{low} {high}");
    assert!(high as f64 / low as f64 <= RESOLUTION);
    assert!(looks.len() <= super::looks(MOST), "{looks:?}");
    assert!(looks.iter().all(|size| size % 8 == 0));
}

#[test]
fn undecided_sizes_lie_inside() {
    let (CrossoverInterval { low, high }, _) = between(64 << 10, 1.8);
    let (low, high) = (low.unwrap() as f64, high.unwrap() as f64);
    assert!(low < 65_536.0 / 1.8 && low * RESOLUTION >= 65_536.0 / 1.8, "{low}");
    assert!(high >= 65_536.0 * 1.8 && high / RESOLUTION <= 65_536.0 * 1.8, "{high}");
}

#[test]
fn never_always_and_nothing_known() {
    assert_eq!(between(usize::MAX / 2, 1.0).0, CrossoverInterval { low: Some(MOST), high: None });
    assert_eq!(between(1, 1.0).0, CrossoverInterval { low: None, high: Some(SMALLEST) });
    assert_eq!(between(32 << 10, 1e9).0, CrossoverInterval { low: None, high: None });
}

#[test]
fn one_win_in_between_is_no_crossover() {
    let mut look = |size: usize| {
        let wins = size == 4096 || size >= 256 << 10;
        Some([if wins { Standing::Wins } else { Standing::DoesNotWin }; 3])
    };
    let (_, CrossoverInterval { low, high }) = find(MOST, &mut look).unwrap()[0];
    assert!(low.unwrap() > 64 << 10 && high.unwrap() <= 256 << 10);
}

#[test]
fn metrics_have_their_own_crossovers_and_share_looks() {
    let mut looks = 0;
    let mut look = |size: usize| {
        looks += 1;
        let wins = |at: usize| if size >= at { Standing::Wins } else { Standing::DoesNotWin };
        Some([wins(100_000), wins(20_000), wins(20_000)])
    };
    let found = find(4 << 20, &mut look).unwrap();
    assert!(found[0].1.high.unwrap() >= 100_000 && found[1].1.high.unwrap() < 25_000);
    assert_eq!(found[1].1, found[2].1);
    assert!(looks <= super::looks(4 << 20) + 4, "{looks}");
}

#[test]
fn a_search_that_is_called_off_has_no_answer() {
    let mut left = 7;
    let mut look = |_: usize| {
        left -= 1;
        (left > 0).then_some([Standing::Unknown, Standing::Wins, Standing::DoesNotWin])
    };
    assert!(find(MOST, &mut look).is_some());
    let mut off = |_: usize| None;
    assert!(find(MOST, &mut off).is_none());
}

proptest! {
    #[test]
    fn any_crossover_lies_within_its_interval(at in 1usize..4 << 20, blind in 1.0..4.0f64, most in 1024usize..4 << 20) {
        let mut looks = Vec::new();
        let found = find(most, &mut simulated(at, blind, &mut looks)).unwrap();
        let CrossoverInterval { low, high } = found[0].1;
        prop_assert!(low.is_none_or(|low| low < at));
        prop_assert!(high.is_none_or(|high| high >= at));
        prop_assert!(looks.len() < 20, "{:?}", looks);
    }
}
