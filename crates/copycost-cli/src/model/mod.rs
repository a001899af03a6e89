//! A cost model of a send path on this machine, for messages that were not measured.
//!
//! CPU time of a message = a·calls + f·fields + p·pages + c(footprint)·KiB + s·segments + n·notifications.
//!
//! The terms of a path are not fixed: pages count if the kernel keeps references to them, and calls, segments and
//! notifications are counted in each measured cell. A term that varies with others in all cells cannot be separated
//! from them. It is left out with a note, and their coefficients include its cost.
//!
//! - [`linear`]: weighted least squares for a few terms, which refuses terms that cannot be separated
//! - [`features`]: the features of a message that are known before it is sent
//! - [`cells`]: the measured cells
//! - [`fit`]: fits coefficients with intervals, and predicts
//! - [`noise`]: the noise of set-ups and of cells
//! - [`design`]: the cells to measure, and the cells that check the model
//! - [`choice`]: chooses the cheapest path for a message
//! - [`surface`]: from which size one path costs less than another

pub mod cells;
pub mod choice;
pub mod design;
pub mod features;
pub mod fit;
pub mod linear;
pub mod noise;
pub mod surface;
