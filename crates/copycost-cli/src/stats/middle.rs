//! Median and spread of plain values.
//!
//! They describe values that are shown rather than tested, such as a cell's typical value and its noise. One disturbed
//! turn moves a mean and a standard deviation, but hardly these two.

use super::Unusable;

/// The median of values and their median absolute deviation from it, both in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middle {
    /// The middle value, or the mean of the two middle values.
    pub median: f64,
    /// The median distance from the median: half of the values lie within it. For normal values the standard deviation
    /// is 1.4826 times as large (Rousseeuw & Croux, "Alternatives to the median absolute deviation", JASA 88, 1993).
    pub deviation: f64,
}

impl Middle {
    /// The median and deviation of at least one value, in any order. Values may be zero or negative.
    ///
    /// # Errors
    /// [`Unusable::NoSetup`] without values, [`Unusable::NotFinite`] for NaN or an infinite value.
    pub fn of(values: &[f64]) -> Result<Self, Unusable> {
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Unusable::NotFinite { index, value });
        }
        let around = median(values.to_vec()).ok_or(Unusable::NoSetup)?;
        let distances = values.iter().map(|value| (value - around).abs().min(f64::MAX)).collect();
        let deviation = median(distances).ok_or(Unusable::NoSetup)?;
        Ok(Self { median: around, deviation })
    }

    /// The deviation as a share of the median: 0.05 means that half of the values lie within 5 %. `None` if the median
    /// is 0.
    pub fn relative(&self) -> Option<f64> {
        let share = (self.deviation / self.median).abs();
        share.is_finite().then_some(share)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[values.len() / 2 - 1], upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        // Distances from 4: 3 2 0 1 96, in order 0 1 2 3 96.
        assert_eq!(Middle::of(&[1.0, 2.0, 4.0, 5.0, 100.0]), Ok(Middle { median: 4.0, deviation: 2.0 }));
        // Half-way between 2 and 4 lies 3; distances 2 1 1 7.
        assert_eq!(Middle::of(&[10.0, 1.0, 4.0, 2.0]), Ok(Middle { median: 3.0, deviation: 1.5 }));
        assert_eq!(Middle::of(&[7.0]), Ok(Middle { median: 7.0, deviation: 0.0 }));
        assert_eq!(Middle { median: 4.0, deviation: 2.0 }.relative(), Some(0.5));
        assert_eq!(Middle { median: 0.0, deviation: 0.0 }.relative(), None);
    }

    #[test]
    fn values_without_a_median_are_an_error() {
        assert_eq!(Middle::of(&[]), Err(Unusable::NoSetup));
        assert!(matches!(Middle::of(&[1.0, f64::NAN]), Err(Unusable::NotFinite { index: 1, .. })));
        assert!(matches!(Middle::of(&[f64::INFINITY]), Err(Unusable::NotFinite { index: 0, .. })));
    }

    proptest! {
        #[test]
        fn half_of_the_values_lie_within_the_deviation(values in prop::collection::vec(-1e300..1e300f64, 1..40)) {
            let middle = Middle::of(&values).unwrap();
            let within = values.iter().filter(|v| (*v - middle.median).abs() <= middle.deviation).count();
            prop_assert!(2 * within >= values.len());
        }

        #[test]
        fn any_floats_give_a_number_or_an_error(values in prop::collection::vec(any::<f64>(), 0..10)) {
            if let Ok(middle) = Middle::of(&values) {
                prop_assert!(middle.median.is_finite() && middle.deviation.is_finite());
                prop_assert!(middle.relative().is_none_or(f64::is_finite));
            }
        }
    }
}
