//! The noise of measured cells: the variation of set-ups, and the deviation of cells from the form of the model.
//!
//! The set-ups of a cell are not independent, because they share a message, and with it the error of the model for that
//! message. With a variance s² of set-ups and m² of cells, the mean of n set-ups has the variance m² + s²/n.
//! Generalised least squares gives the same answer for this mean as for the single set-ups. The errors of coefficients
//! follow from the deviation of cells, not of set-ups. With 56 set-ups of 14 cells treated as independent, intervals
//! would be up to half as wide, and wrong (`fit/tests.rs` shows it).

use serde::{Deserialize, Serialize};

use super::cells::MeasuredCell;

/// Standard deviations, relative to a cell's value: 0.05 is 5 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// The standard deviation of a set-up around the mean of its cell.
    pub setups: f64,
    /// The standard deviation of a cell around the model, without the part of its set-ups.
    pub cells: f64,
}

impl Noise {
    /// The noise of `cells`. `spread` is their standard deviation around a model, including the part of their set-ups.
    pub fn of(cells: &[MeasuredCell], spread: f64) -> Self {
        let (mut squares, mut freedom) = (0.0, 0);
        for cell in cells {
            let mean = cell.mean();
            squares += cell.ns.iter().map(|ns| (ns / mean - 1.0).powi(2)).sum::<f64>();
            freedom += cell.ns.len().saturating_sub(1);
        }
        let of_setups = if freedom > 0 { squares / freedom as f64 } else { 0.0 };
        let of_means = of_setups * inverse_setups(cells);
        Self { setups: of_setups.sqrt(), cells: (spread * spread - of_means).max(0.0).sqrt() }
    }

    /// The weight of each cell. Cells with fewer set-ups than usual weigh less.
    pub fn weights(&self, cells: &[MeasuredCell]) -> Vec<f64> {
        let variance = |inverse: f64| self.cells.powi(2) + self.setups.powi(2) * inverse;
        let usual = variance(inverse_setups(cells));
        let weight = |cell: &MeasuredCell| {
            let weight = usual / variance(1.0 / cell.ns.len() as f64);
            // Without noise all cells weigh the same.
            if weight.is_finite() && weight > 0.0 { weight } else { 1.0 }
        };
        cells.iter().map(weight).collect()
    }
}

/// The mean over cells of 1/n, where n is the number of set-ups.
fn inverse_setups(cells: &[MeasuredCell]) -> f64 {
    let inverses = cells.iter().map(|cell| 1.0 / cell.ns.len().max(1) as f64);
    inverses.sum::<f64>() / cells.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::features::Features;
    use super::*;
    use crate::model::cells::MessageCounts;
    use copycost::message::Spec;
    use copycost::send::Release;

    fn cell(ns: &[f64]) -> MeasuredCell {
        let features = Features::of(&Spec::new(8).unwrap(), Release::OnReturn);
        MeasuredCell { features, counts: MessageCounts::default(), ns: ns.to_vec() }
    }

    #[test]
    fn the_noise_of_set_ups_is_separated_from_that_of_cells() {
        // Both cells spread by ±10 % around their means: a variance of 0.02 for a set-up, and 0.01 for a mean of two.
        let cells = [cell(&[90.0, 110.0]), cell(&[1800.0, 2200.0])];
        let noise = Noise::of(&cells, 0.02f64.sqrt());
        assert!((noise.setups - 0.02f64.sqrt()).abs() < 1e-12, "{noise:?}");
        assert!((noise.cells - 0.1).abs() < 1e-12, "{noise:?}");
        assert_eq!(noise.weights(&cells), [1.0, 1.0]);
        assert_eq!(Noise::of(&cells, 0.01).cells, 0.0, "set-ups alone explain that much");
        // Four set-ups against one: variances 0.01 + 0.005 and 0.01 + 0.02, usual 0.01 + 0.0125.
        let weights = noise.weights(&[cell(&[1.0; 4]), cell(&[1.0])]);
        assert!((weights[0] - 1.5).abs() < 1e-9 && (weights[1] - 0.75).abs() < 1e-9, "{weights:?}");
        assert_eq!(Noise::default().weights(&cells), [1.0, 1.0]);
        assert_eq!(Noise::of(&[cell(&[5.0])], 0.1).setups, 0.0);
    }
}
