//! Student's t distribution, two-sided, for whole degrees of freedom.
//!
//! This replaces the crate `statrs`: its current version needs a newer compiler than this crate, and the quantile of
//! older versions is wrong in the tails that Holm's correction needs (1 degree of freedom below 1e-7). Here the
//! quantile inverts the function that gives p, so a p-value and an interval always agree.

/// The limit of degrees of freedom; more count as this many. The quantiles then differ from those of the normal
/// distribution by a few millionths, and [`fraction`] would need more steps than it has.
const MOST_DEGREES: usize = 1 << 20;

/// The probability that |T| exceeds |`t`| with `df` degrees of freedom (at least 1): the regularised incomplete beta
/// function I(df/2, 1/2) at df/(df + t²), Abramowitz & Stegun 26.7.1 and 26.5.27.
pub(super) fn two_sided_p(t: f64, df: usize) -> f64 {
    let df = df.min(MOST_DEGREES);
    let n = df as f64;
    let ratio = t * t / n;
    if ratio == 0.0 {
        return 1.0;
    }
    // x = 1/(1 + t²/n) and 1 - x, each without cancellation; t² may be infinite.
    let (ln_x, ln_rest) = (-ratio.ln_1p(), -ratio.recip().ln_1p());
    let front = (n / 2.0 * ln_x + 0.5 * ln_rest - ln_beta_half(df)).exp();
    let (x, rest) = (ln_x.exp(), ln_rest.exp());
    // The fraction converges fast below the mean of the distribution. Above it, use I(a, b)(x) = 1 - I(b, a)(1 - x).
    let p = if x < (n / 2.0 + 1.0) / (n / 2.0 + 2.5) {
        front / (n / 2.0) * fraction(n / 2.0, 0.5, x)
    } else {
        1.0 - front / 0.5 * fraction(0.5, n / 2.0, rest)
    };
    p.clamp(0.0, 1.0)
}

/// The t that |T| exceeds with probability `alpha`: 2.365 for 0.05 and 7 degrees of freedom. It is 0 for `alpha` of 1
/// or more, and finite for `alpha` of 0.
pub fn two_sided_quantile(alpha: f64, df: usize) -> f64 {
    if alpha >= 1.0 {
        return 0.0;
    }
    let mut high = 1.0;
    while two_sided_p(high, df) > alpha && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    let mut low = if high > 1.0 { high / 2.0 } else { 0.0 };
    // Each step halves the gap, so 60 steps reach the last bit of `high`.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if two_sided_p(middle, df) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// ln B(df/2, 1/2), from B(1/2, 1/2) = π and B(1, 1/2) = 2 by B(a + 1, b) = B(a, b) a/(a + b). A file may contain any
/// number of degrees. For many it uses the expansion of Γ(a)/Γ(a + 1/2) (Abramowitz & Stegun 6.1.47), whose next term,
/// 1/(192 a³), is below the last bit.
fn ln_beta_half(df: usize) -> f64 {
    const MANY: usize = 20_000;
    if df > MANY {
        let a = df as f64 / 2.0;
        return 0.5 * (std::f64::consts::PI / a).ln() + 0.125 / a;
    }
    let (start, mut a) = if df % 2 == 1 { (std::f64::consts::PI, 0.5) } else { (2.0, 1.0) };
    let mut product: f64 = start;
    while a < df as f64 / 2.0 {
        product *= a / (a + 0.5);
        a += 1.0;
    }
    product.ln()
}

/// The continued fraction of the incomplete beta function, by Lentz's method in Thompson and Barnett's form
/// (Abramowitz & Stegun 26.5.8; DLMF 8.17.22).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = away_from_zero(1.0 - (a + b) * x / (a + 1.0)).recip();
    let mut value = d;
    // It needs about sqrt(max(a, b)) steps; 1,000 are enough for up to a million degrees of freedom.
    for m in 1..1_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = away_from_zero(1.0 + term * d).recip();
            c = away_from_zero(1.0 + term / c);
            value *= c * d;
        }
        if (value / before - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_PI_2, PI};

    fn close(a: f64, b: f64, relative: f64) -> bool {
        (a - b).abs() <= relative * b.abs()
    }

    /// Quantiles as printed in tables of the distribution (two-sided 5 %, 1 % and 0.1 %).
    #[test]
    fn quantiles_are_the_tabled_ones() {
        let table = [
            (1, [12.706, 63.657, 636.619]),
            (2, [4.303, 9.925, 31.599]),
            (3, [3.182, 5.841, 12.924]),
            (5, [2.571, 4.032, 6.869]),
            (7, [2.365, 3.499, 5.408]),
            (10, [2.228, 3.169, 4.587]),
            (15, [2.131, 2.947, 4.073]),
            (30, [2.042, 2.750, 3.646]),
            (120, [1.980, 2.617, 3.373]),
            (1_000_000, [1.960, 2.576, 3.291]),
        ];
        for (df, row) in table {
            for (alpha, expected) in [0.05, 0.01, 0.001].into_iter().zip(row) {
                let got = two_sided_quantile(alpha, df);
                assert!((got - expected).abs() < 0.0006, "df {df}, alpha {alpha}: {got}, tabled {expected}");
            }
        }
    }

    #[test]
    fn the_expansion_joins_the_product_and_any_number_of_degrees_ends() {
        let step = ln_beta_half(20_001) - ln_beta_half(20_000);
        assert!((step - (ln_beta_half(20_000) - ln_beta_half(19_999))).abs() < 1e-8, "{step}");
        for df in [0, 20_000, 20_001, 1 << 53, usize::MAX] {
            let quantile = two_sided_quantile(0.05, df);
            assert!(df == 0 || (quantile - 1.96).abs() < 0.001, "{df}: {quantile}");
        }
    }

    /// One and two degrees of freedom have closed forms, exact far into the tail.
    #[test]
    fn closed_forms_of_one_and_two_degrees_hold() {
        for exponent in -40..=40 {
            let t = 10f64.powf(f64::from(exponent) / 4.0);
            let cauchy = t.recip().atan() / FRAC_PI_2;
            assert!(close(two_sided_p(t, 1), cauchy, 1e-12), "df 1, t {t}");
            let root = (2.0 + t * t).sqrt();
            let two = 2.0 / (root * (root + t)); // 1 - t/root without its cancellation
            assert!(close(two_sided_p(t, 2), two, 1e-12), "df 2, t {t}");
        }
    }

    /// Finite sums (Abramowitz & Stegun 26.7.3 and 26.7.4) give the same number without sharing code.
    #[test]
    fn finite_sums_agree() {
        for df in 1..200_usize {
            for t in [0.01, 0.3, 1.0, 1.9, 2.5, 4.0, 7.0] {
                let n = df as f64;
                let angle = (t / n.sqrt()).atan();
                let (sine, cosine) = angle.sin_cos();
                let inside = if df == 1 {
                    2.0 * angle / PI
                } else {
                    let odd = df % 2 == 1;
                    let (mut term, mut sum, mut k) =
                        if odd { (cosine, cosine, 2.0) } else { (1.0, 1.0, 1.0) };
                    while k < n - 2.0 {
                        term *= cosine * cosine * k / (k + 1.0);
                        sum += term;
                        k += 2.0;
                    }
                    if odd { 2.0 / PI * (angle + sine * sum) } else { sine * sum }
                };
                let p = two_sided_p(t, df);
                assert!((p - (1.0 - inside)).abs() < 1e-13, "df {df}, t {t}: {p} and {}", 1.0 - inside);
            }
        }
    }

    #[test]
    fn quantile_inverts_p_far_into_the_tail() {
        for df in [1, 2, 3, 7, 8, 30, 99, 1_000, 100_000] {
            for exponent in 1..60 {
                let alpha = 10f64.powf(-f64::from(exponent) / 4.0);
                let back = two_sided_p(two_sided_quantile(alpha, df), df);
                assert!(close(back, alpha, 1e-9), "df {df}, alpha {alpha}: {back}");
            }
        }
    }

    #[test]
    fn extremes_stay_numbers() {
        for df in [1, 2, 7, 100_000] {
            for t in [0.0, f64::MIN_POSITIVE, 1e-200, 1e200, f64::MAX, f64::INFINITY] {
                assert!((0.0..=1.0).contains(&two_sided_p(t, df)), "t {t}, df {df}");
                assert_eq!(two_sided_p(t, df), two_sided_p(-t, df));
            }
            for alpha in [0.0, f64::MIN_POSITIVE, 1e-300, 1.0 - 1e-16, 1.0, 2.0] {
                let t = two_sided_quantile(alpha, df);
                assert!(t >= 0.0 && t.is_finite(), "alpha {alpha}, df {df}: {t}");
            }
        }
    }
}
