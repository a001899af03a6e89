//! Why a path cannot be had here: one sentence, for send paths and receive paths alike.

/// Why a path cannot be measured here: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);
