//! A cost model of a send path on this machine, for messages that were not measured.
//!
//! CPU time of a message = a·calls + f·fields + p·pages + c(footprint)·KiB + s·segments + n·notifications.
//!
//! Which terms a path has is not written down anywhere: pages count where the kernel keeps references to them, and calls,
//! segments and notifications are counted in each measured cell. A term that in all cells goes with others cannot be
//! told from them and is left out, with a note; its cost is then in theirs.
//!
//! - [`linear`]: weighted least squares for a handful of terms, which refuses what it cannot tell apart
//! - [`features`]: what is known of a message before it is sent
//! - [`fit`]: from measured cells to coefficients with intervals, and predictions
//! - [`noise`]: what set-ups are off by, and what cells are
//! - [`design`]: which cells are measured, and which are held out to check by
//! - [`choice`]: which path for a message
//! - [`surface`]: from which size on one path costs less than another

pub mod choice;
pub mod design;
pub mod features;
pub mod fit;
pub mod linear;
pub mod noise;
pub mod surface;
