//! Measurements between two hosts: the server runs on one and the clients on the other, with the same server, clients
//! and rig as in one process.
//!
//! The client host opens a *control connection* for each rig and sends a hello, a proof of the shared secret, and the
//! scenario. The server answers with a ticket for the data connections, which carry only messages. From then on it
//! sends the updates of its threads until either end closes. So a remote rig differs from a local one only in the
//! source of these updates.
//!
//! Neither end trusts the other: every length has a bound, and every wait has a limit.

mod client;
pub mod frame;
pub mod handshake;
mod location;
mod network;
pub mod order;
pub mod raw;
mod server;
mod token;

use std::time::Duration;

pub use client::{ClientShares, ConnectError, ControlConnection, RemoteSite, parse_update};
pub use location::ProcessLocation;
pub use network::IpNetwork;
pub use server::{HostLimits, RemoteServer};
pub use token::{BadToken, Token};

/// The longest time for which a server serves one scenario. No useful measurement takes longer.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The most bytes of messages per client, unless a single message is larger.
pub const CLIENT_MEMORY: usize = 1 << 30;

/// The time limit of the handshake, for either end.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
