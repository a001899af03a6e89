//! Measured cells, to which a model is fitted.

use super::features::Features;

/// The counts for each message of a cell, as means.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MessageCounts {
    /// System calls of the sender.
    pub calls: f64,
    /// TCP segments with payload; 0 if they were not counted.
    pub segments: f64,
    /// Calls whose completion the kernel reported.
    pub notifications: f64,
}

/// One measured cell of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredCell {
    /// The features of its message.
    pub features: Features,
    /// The counts for each message.
    pub counts: MessageCounts,
    /// CPU time of a message in ns, one value for each set-up; at least one.
    pub ns: Vec<f64>,
}

impl MeasuredCell {
    /// The mean CPU time of a message over set-ups, in ns.
    pub fn mean(&self) -> f64 {
        mean(&self.ns)
    }
}

/// The mean of values; NaN without values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
