//! How far off measured cells are, and why: by the luck of their set-ups, and because the model's form misses them.
//!
//! A model is fitted to set-ups, but set-ups are no witnesses of their own: all of a cell share its message, and with it
//! whatever the model's form misses of that message. With a variance s² of set-ups and m² of cells, a cell of n set-ups
//! says as much as one with the variance m² + s²/n does (generalised least squares, whose answer does not change when the
//! set-ups of a cell are replaced by their mean with that variance). And how far off the coefficients are is told by how
//! cells, not set-ups, lie around the model: 56 set-ups of 14 cells taken for 56 witnesses would make intervals up to
//! half as wide, and wrong (`fit/tests.rs` shows it).

use serde::{Deserialize, Serialize};

use super::fit::MeasuredCell;

/// Standard deviations, relative to a cell's value: 0.05 is 5 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Of a set-up around the mean of its cell.
    pub setups: f64,
    /// Of a cell around the model, beyond what its set-ups bring.
    pub cells: f64,
}

impl Noise {
    /// Of `cells` that lie around a model by `spread`, their set-ups included.
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

    /// How much each cell counts: all alike where they have as many set-ups, less where it has fewer.
    pub fn weights(&self, cells: &[MeasuredCell]) -> Vec<f64> {
        let variance = |inverse: f64| self.cells.powi(2) + self.setups.powi(2) * inverse;
        let usual = variance(inverse_setups(cells));
        let weight = |cell: &MeasuredCell| {
            let weight = usual / variance(1.0 / cell.ns.len() as f64);
            // Without any noise all count alike.
            if weight.is_finite() && weight > 0.0 { weight } else { 1.0 }
        };
        cells.iter().map(weight).collect()
    }
}

/// One by the number of set-ups, on average over cells.
fn inverse_setups(cells: &[MeasuredCell]) -> f64 {
    let inverses = cells.iter().map(|cell| 1.0 / cell.ns.len().max(1) as f64);
    inverses.sum::<f64>() / cells.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::features::Features;
    use super::*;
    use crate::model::fit::MessageCounts;
    use copycost::message::Spec;
    use copycost::send::Release;

    fn cell(ns: &[f64]) -> MeasuredCell {
        let features = Features::of(&Spec::new(8).unwrap(), Release::OnReturn);
        MeasuredCell { features, counts: MessageCounts::default(), ns: ns.to_vec() }
    }

    #[test]
    fn what_set_ups_bring_is_told_from_what_cells_do() {
        // Both cells spread by ±10 % around their means: a variance of 0.02 a set-up, 0.01 of a mean of two.
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
