//! What threads share, as loom replaces it to try every order of events (`RUSTFLAGS='--cfg loom'`).

#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex};
pub(crate) use std::sync::PoisonError;
