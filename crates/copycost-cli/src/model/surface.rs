//! From which message size on one path costs less than another, by their models.

use crate::compare::stats::Interval;

/// The smallest size that is looked at, in bytes.
const LEAST: usize = 1024;

/// Doublings from there: up to 1 MiB, a little beyond what models are fitted to.
const DOUBLINGS: usize = 10;

/// Sizes for each doubling: steps of 9 %.
const STEPS: usize = 8;

/// Where one path stands beside another over all sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStanding {
    /// It costs less at every size.
    Always,
    /// It costs less at none.
    Never,
    /// It costs less from this size on, in bytes.
    From(usize),
    /// It costs less up to this size, in bytes.
    UpTo(usize),
}

/// Where one path stands, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelCrossover {
    /// By the ratio alone.
    pub standing: PathStanding,
    /// The smallest and the largest size at which the ratio's interval holds 1, if there are any.
    pub undecided: Option<(usize, usize)>,
}

/// The sizes that are looked at, ascending, in bytes.
pub fn sizes() -> impl Iterator<Item = usize> {
    (0..=DOUBLINGS * STEPS).map(|step| (LEAST as f64 * 2f64.powf(step as f64 / STEPS as f64)) as usize)
}

/// Where a path stands whose cost is `ratio` times the other's; `None` where no size has a ratio. A model is a straight
/// line in bytes, so two of them cross once at most.
pub fn crossing(ratio: impl Fn(usize) -> Option<Interval>) -> Option<ModelCrossover> {
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

    /// A path that costs `a` µs and `b` µs for each KiB, beside one of 1 µs and 1 µs for each KiB, known to 10 %.
    fn beside(a: f64, b: f64) -> ModelCrossover {
        let ratio = |size: usize| {
            let kib = size as f64 / 1024.0;
            let ratio = (a + b * kib) / (1.0 + kib);
            Some(Interval { ratio, low: ratio / 1.1, high: ratio * 1.1, alpha: 0.05 })
        };
        crossing(ratio).unwrap()
    }

    #[test]
    fn lines_cross_where_they_cross() {
        // 9 + x / 2 = 1 + x at 16 KiB; within 10 % from 11 to 22 KiB or so.
        let crossing = beside(9.0, 0.5);
        let PathStanding::From(size) = crossing.standing else { panic!("{crossing:?}") };
        assert!((16 << 10..18 << 10).contains(&size), "{size}");
        let (least, most) = crossing.undecided.unwrap();
        assert!(
            (10 << 10..14 << 10).contains(&least) && (19 << 10..26 << 10).contains(&most),
            "{crossing:?}"
        );
        assert!(matches!(beside(0.1, 1.01).standing, PathStanding::UpTo(_)));
        assert_eq!(beside(3.0, 2.0), ModelCrossover { standing: PathStanding::Never, undecided: None });
        assert_eq!(beside(0.3, 0.2), ModelCrossover { standing: PathStanding::Always, undecided: None });
        assert_eq!(super::crossing(|_| None), None);
    }

    #[test]
    fn sizes_go_up_to_a_mebibyte() {
        let all: Vec<_> = sizes().collect();
        assert_eq!((all[0], *all.last().unwrap()), (1024, 1 << 20));
        assert!(all.is_sorted());
    }
}
