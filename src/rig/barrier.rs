//! Synchronises the windows of several rigs, so that their clocks run only while all of them receive.

use std::time::Instant;

use super::error::RigError;

/// Decides when a window opens and when the clients may stop. Both methods are polled; neither waits.
pub trait WindowBarrier {
    /// All clients here receive data. Returns when the window opens, or `None` if that is not known yet.
    ///
    /// If the window will never open.
    fn opens(&mut self) -> Result<Option<Instant>, RigError>;

    /// The window here is closed. Returns whether the clients may stop receiving.
    ///
    /// If they must stop and the measurement is invalid.
    fn is_over(&mut self) -> Result<bool, RigError>;
}

/// The barrier of a rig that synchronises with no other.
#[derive(Debug)]
pub(super) struct NoBarrier;

impl WindowBarrier for NoBarrier {
    fn opens(&mut self) -> Result<Option<Instant>, RigError> {
        Ok(Some(Instant::now()))
    }

    fn is_over(&mut self) -> Result<bool, RigError> {
        Ok(true)
    }
}
