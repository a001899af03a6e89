//! Two hosts: a host that serves and a guest that measures, with the same server, fleet and rig as in one process.
//!
//! A guest opens a *control connection* for each rig: hello, proof of the shared secret, the scenario. The host
//! answers with a ticket for the data connections, which carry nothing but messages, and from then on sends the
//! news of its threads, until either end closes. So a rig differs from one in process only in where its news come
//! from.
//!
//! Nothing here trusts the other end: every length has a bound, every wait an end.

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

pub use client::{CallError, ClientShares, ControlConnection, RemoteSite, news};
pub use location::ProcessLocation;
pub use network::IpNetwork;
pub use server::{HostLimits as HostTerms, RemoteServer};
pub use token::{BadToken, Token};

/// The longest that one scenario may be served: nobody watches a measurement for longer.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The memory that the messages of one client may take, in bytes, where there are several of them.
pub const CLIENT_MEMORY: usize = 1 << 30;

/// How long either end may take for its part of the handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
