//! Senders on real connections.

#[path = "../common/mod.rs"]
mod common;

mod assumptions;
mod delivery;
mod drops;
mod limits;
mod model;
mod receipts;
