//! Finds the message size from which one path costs less than another, by their models.

use crate::stats::Interval;

/// The smallest size to evaluate, in bytes.
const LEAST: usize = 1024;

/// Doublings from [`LEAST`]: up to 1 MiB, somewhat beyond the sizes to which models are fitted.
const DOUBLINGS: usize = 10;

/// Sizes for each doubling, in steps of 9 %.
const STEPS: usize = 8;

/// At which sizes one path costs less than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStanding {
    /// The path costs less at every size.
    Always,
    /// The path costs less at no size.
    Never,
    /// The path costs less from this size in bytes.
    From(usize),
    /// The path costs less below this size in bytes.
    UpTo(usize),
}

/// At which sizes one path costs less, and at which sizes this is undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelCrossover {
    /// The standing by the ratio, without its interval.
    pub standing: PathStanding,
    /// The smallest and the largest size at which the interval of the ratio contains 1; `None` if there is none.
    pub undecided: Option<(usize, usize)>,
}

/// The sizes to evaluate, ascending, in bytes.
pub fn sizes() -> impl Iterator<Item = usize> {
    (0..=DOUBLINGS * STEPS).map(|step| (LEAST as f64 * 2f64.powf(step as f64 / STEPS as f64)) as usize)
}

/// The crossover of a path whose cost is `ratio` times the cost of the other; `None` if no size has a ratio. Models are
/// linear in bytes, so two of them cross at most once.
pub fn crossover(ratio: impl Fn(usize) -> Option<Interval>) -> Option<ModelCrossover> {
    let all: Vec<_> = sizes().filter_map(|size| Some((size, ratio(size)?))).collect();
    let cheaper = |(_, ratio): &(usize, Interval)| ratio.ratio < 1.0;
    let (first, last) = (cheaper(all.first()?), cheaper(all.last()?));
    let change = all.iter().find(|one| cheaper(one) != first).map_or(0, |one| one.0);
    let standing = match (first, last) {
        (true, true) => PathStanding::Always,
        (false, false) => PathStanding::Never,
        (false, true) => PathStanding::From(change),
        (true, false) => PathStanding::UpTo(change),
    };
    let mut open = all.iter().filter(|(_, ratio)| ratio.low <= 1.0 && ratio.high >= 1.0).map(|one| one.0);
    let undecided = open.next().map(|least| (least, open.next_back().unwrap_or(least)));
    Some(ModelCrossover { standing, undecided })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The crossover of a path that costs `a` µs and `b` µs for each KiB with one that costs 1 µs and 1 µs for each
    /// KiB. The ratio is known to 10 %.
    fn crossover(a: f64, b: f64) -> ModelCrossover {
        let ratio = |size: usize| {
            let kib = size as f64 / 1024.0;
            let ratio = (a + b * kib) / (1.0 + kib);
            Some(Interval { ratio, low: ratio / 1.1, high: ratio * 1.1, alpha: 0.05 })
        };
        super::crossover(ratio).unwrap()
    }

    #[test]
    fn lines_cross_where_they_cross() {
        // 9 + x / 2 = 1 + x at 16 KiB; the ratio is within 10 % of 1 from about 11 to 22 KiB.
        let found = crossover(9.0, 0.5);
        let PathStanding::From(size) = found.standing else { panic!("{found:?}") };
        assert!((16 << 10..18 << 10).contains(&size), "{size}");
        let (least, most) = found.undecided.unwrap();
        assert!((10 << 10..14 << 10).contains(&least) && (19 << 10..26 << 10).contains(&most), "{found:?}");
        assert!(matches!(crossover(0.1, 1.01).standing, PathStanding::UpTo(_)));
        assert_eq!(crossover(3.0, 2.0), ModelCrossover { standing: PathStanding::Never, undecided: None });
        assert_eq!(crossover(0.3, 0.2), ModelCrossover { standing: PathStanding::Always, undecided: None });
        assert_eq!(super::crossover(|_| None), None);
    }

    #[test]
    fn sizes_go_up_to_a_mebibyte() {
        let all: Vec<_> = sizes().collect();
        assert_eq!((all[0], *all.last().unwrap()), (1024, 1 << 20));
        assert!(all.is_sorted());
    }
}
