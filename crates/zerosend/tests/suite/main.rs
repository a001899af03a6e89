//! Senders on real connections.

#[path = "../common/mod.rs"]
mod common;

mod assumptions;
#[cfg(feature = "tokio")]
mod blob_server;
mod delivery;
mod drops;
mod examples;
mod limits;
mod model;
mod policy;
mod receipts;
#[cfg(feature = "tokio")]
mod tokio;
