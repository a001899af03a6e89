//! Axes: ticks at measured values or at round numbers; logarithmic if the values span orders of magnitude.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use copycost::units::ByteSize;

/// One axis of a plot.
#[derive(Debug, Clone)]
pub struct Axis {
    /// The quantity on the axis, with its unit.
    pub title: String,
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

/// The most ticks; the labels of more would overlap in a plot of the usual width.
const MOST_TICKS: usize = 7;

/// The largest ratio of the largest to the smallest value for a linear axis. Beyond it small values would be
/// indistinguishable.
const LINEAR_UP_TO: f64 = 8.0;

impl Axis {
    /// An axis of message sizes in bytes.
    pub fn sizes(values: &[usize]) -> Self {
        let label = |size: usize| ByteSize(size).to_string();
        Self::measured("message size", values, label)
    }

    /// An axis of numbers of clients.
    pub fn clients(values: &[usize]) -> Self {
        Self::measured("clients", values, |clients| clients.to_string())
    }

    /// An axis of numbers of client hosts.
    pub fn hosts(values: &[usize]) -> Self {
        Self::measured("client hosts", values, |hosts| hosts.to_string())
    }

    /// A logarithmic axis with a tick at each value, or at every second or third if there are many.
    fn measured(title: &str, values: &[usize], label: impl Fn(usize) -> String) -> Self {
        let step = values.len().div_ceil(MOST_TICKS).max(1);
        let ticks = values.iter().step_by(step).map(|value| (*value as f64, label(*value))).collect();
        let ends = values.first().zip(values.last()).map_or((1.0, 2.0), |(a, b)| (*a as f64, *b as f64));
        // A margin at the outermost points; half an octave around a single one.
        let margin = if ends.0 == ends.1 { 1.4 } else { (ends.1 / ends.0).powf(0.04) };
        Self {
            title: title.to_owned(),
            low: ends.0.max(0.5) / margin,
            high: ends.1.max(0.5) * margin,
            logarithmic: true,
            ticks,
        }
    }

    /// An axis of non-negative values: linear from 0, or logarithmic if they span more than `LINEAR_UP_TO`.
    pub fn values(title: &str, values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value >= 0.0).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().filter(|value| *value > 0.0).fold(most, f64::min);
        if most <= 0.0 {
            return Self::linear(title, 1.0);
        }
        if most / least <= LINEAR_UP_TO {
            return Self::linear(title, most);
        }
        Self::logarithmic(title, least / 1.15, most * 1.15)
    }

    /// A linear axis from 0 to a round number above `most`.
    pub fn linear(title: &str, most: f64) -> Self {
        let step = round_step(most / 4.0);
        let steps = (most / step * 1.02).ceil().max(1.0);
        let ticks = (0..=steps as usize).map(|n| n as f64 * step).map(|tick| (tick, number(tick))).collect();
        Self { title: title.to_owned(), low: 0.0, high: steps * step, logarithmic: false, ticks }
    }

    /// A logarithmic axis of ratios that includes 1.
    pub fn ratios(title: &str, values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value > 0.0).collect();
        let low = values.iter().copied().fold(0.9, f64::min) / 1.05;
        let high = values.iter().copied().fold(1.1, f64::max) * 1.05;
        let mut axis = Self::logarithmic(title, low, high);
        if high / low < 4.0 {
            let step = round_step((high - low) / 5.0);
            let first = (low / step).ceil() as i64;
            let ticks = (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= high);
            axis.ticks = ticks.map(|tick| (tick, number(tick))).collect();
        }
        axis.ticks.iter_mut().for_each(|(_, label)| label.push('×'));
        axis
    }

    fn logarithmic(title: &str, low: f64, high: f64) -> Self {
        let (low, high) = (low.max(f64::MIN_POSITIVE), high.clamp(f64::MIN_POSITIVE * 2.0, f64::MAX));
        let decades = (high / low).log10();
        let steps: &[f64] = if decades > 2.5 {
            &[1.0]
        } else if decades > 1.2 {
            &[1.0, 3.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let ticks = exponents.flat_map(|exponent| steps.iter().map(move |step| step * 10f64.powi(exponent)));
        let ticks: Vec<_> = ticks.filter(|tick| (low..=high).contains(tick)).collect();
        let step = ticks.len().div_ceil(MOST_TICKS).max(1);
        let ticks = ticks.into_iter().step_by(step).map(|tick| (tick, number(tick))).collect();
        Self { title: title.to_owned(), low, high, logarithmic: true, ticks }
    }

    /// Thins the ticks out until their labels fit into `room` CSS pixels. `width` is the width of a label.
    pub fn fitting(mut self, room: i32, width: impl Fn(&str) -> i32) -> Self {
        let widest = self.labels().map(width).max().unwrap_or(0).max(1);
        let most = (room / widest).max(1) as usize;
        let step = self.ticks.len().div_ceil(most).max(1);
        self.ticks = self.ticks.into_iter().step_by(step).collect();
        self
    }

    /// The labels of the ticks, in ascending order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.ticks.iter().map(|(_, label)| label.as_str())
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|n| n * power).find(|round| *round >= step).unwrap_or(step)
}

/// A tick's number without rounding errors: 0.3, not 0.30000000000000004.
fn number(value: f64) -> String {
    if value >= 1e6 || (value > 0.0 && value < 1e-3) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let on = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let share = (on(*value) - on(self.low)) / (on(self.high) - on(self.low));
        limit.0 + (f64::from(limit.1 - limit.0) * share.clamp(-0.5, 1.5)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // No light lines between the ticks.
        if !hint.weight().allow_light_points() {
            self.ticks.iter().map(|tick| tick.0).collect()
        } else {
            Vec::new()
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|tick| tick.0 == *value).map_or_else(String::new, |tick| tick.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.labels().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_at_round_or_measured_values() {
        assert_eq!(labels(&Axis::sizes(&[1024, 65_536])), "1 KiB 64 KiB");
        assert_eq!(labels(&Axis::clients(&[1])), "1");
        assert_eq!(labels(&Axis::values("", [1.0, 7.3].into_iter())), "0 2 4 6 8");
        assert_eq!(labels(&Axis::values("", [0.21, 8.4].into_iter())), "0.3 1 3");
        assert_eq!(labels(&Axis::ratios("", [0.5, 1.2].into_iter())), "0.6× 0.8× 1× 1.2×");
        let many: Vec<usize> = (0..20).map(|n| 1 << n).collect();
        assert!(Axis::sizes(&many).labels().count() <= MOST_TICKS);
    }

    #[test]
    fn axes_without_usable_values_do_not_divide_by_zero() {
        for axis in [
            Axis::sizes(&[]),
            Axis::values("", std::iter::empty()),
            Axis::values("", [0.0, f64::NAN, f64::INFINITY, -1.0].into_iter()),
            Axis::ratios("", [f64::NAN, 0.0].into_iter()),
            Axis::values("", [f64::MIN_POSITIVE, f64::MAX].into_iter()),
            Axis::linear("", 0.0),
        ] {
            for value in [0.0, 1.0, f64::NAN, f64::INFINITY, -3.0] {
                let at = axis.map(&value, (0, 100));
                assert!((-50..=150).contains(&at), "{axis:?} {value} {at}");
            }
        }
    }
}
