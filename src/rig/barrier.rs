//! What a window keeps step with, so that the clocks of several rigs run only while all of them receive.

use std::time::Instant;

use super::error::RigError;

/// When a window opens, and when what follows it ends. Both are asked again and again; neither waits.
pub trait WindowBarrier {
    /// Everyone here receives: when does the window open? `None`: not yet known.
    ///
    /// # Errors
    /// It never will.
    fn opens(&mut self) -> Result<Option<Instant>, RigError>;

    /// The window here is closed: may the clients stop receiving?
    ///
    /// # Errors
    /// They must, and what was measured counts for nothing.
    fn is_over(&mut self) -> Result<bool, RigError>;
}

/// For a rig that keeps step with no other.
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
