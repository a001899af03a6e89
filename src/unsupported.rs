//! Why this machine does not support a path, for send paths and receive paths alike.

/// Why a path cannot be measured on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);
