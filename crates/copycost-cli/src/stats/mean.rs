//! The mean of values over set-ups with Student's interval, for values that may be zero or negative: a difference, or a
//! share of time.

use super::{Unusable, student};

/// A mean over set-ups, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean, in the unit of the values.
    pub mean: f64,
    standard_error: f64,
    setups: usize,
}

impl Mean {
    /// The mean of one value for each set-up.
    ///
    /// # Errors
    /// [`Unusable`] for fewer than two values, or a value that is not finite.
    pub fn of(values: &[f64]) -> Result<Self, Unusable> {
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Unusable::NotFinite { index, value });
        }
        let setups = values.len();
        match setups {
            0 => return Err(Unusable::NoSetup),
            1 => return Err(Unusable::OneSetup),
            _ => {}
        }
        let n = setups as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Ok(Self { mean, standard_error: (squares / (n - 1.0) / n).sqrt(), setups })
    }

    /// The two-sided p-value of "the mean is 0"; 1 if the mean is 0.
    pub fn p_value(&self) -> f64 {
        match self.mean == 0.0 {
            true => 1.0,
            false => student::two_sided_p(self.mean / self.standard_error, self.setups - 1),
        }
    }

    /// The interval (low, high) that misses the true mean with probability `alpha`.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let reach = student::two_sided_quantile(alpha, self.setups - 1) * self.standard_error;
        (self.mean - reach, self.mean + reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Mean 2, standard deviation 1, standard error 1/sqrt(3); Student's factor for 2 degrees of freedom 4.303.
        let mean = Mean::of(&[1.0, 2.0, 3.0]).unwrap();
        let (low, high) = mean.interval(0.05);
        assert!((low - (2.0 - 4.3027 / 3f64.sqrt())).abs() < 1e-3 && (high + low - 4.0).abs() < 1e-12);
        // t = 2 sqrt(3), p = 1 - t/sqrt(2 + t*t) in the closed form for 2 degrees of freedom.
        let t = 2.0 * 3f64.sqrt();
        assert!((mean.p_value() - (1.0 - t / (2.0 + t * t).sqrt())).abs() < 1e-12);
        assert_eq!(Mean::of(&[0.0; 4]).unwrap().p_value(), 1.0);
        assert_eq!(Mean::of(&[1.0; 4]).unwrap().p_value(), 0.0);
        assert_eq!(Mean::of(&[1.0]), Err(Unusable::OneSetup));
        assert!(matches!(Mean::of(&[1.0, f64::NAN]), Err(Unusable::NotFinite { index: 1, .. })));
    }
}
