//! Client hosts that run one scenario together, as a rig does with its own clients.

use std::fmt;
use std::net::SocketAddr;

use super::error::RigError;
use super::sample::Sample;
use super::site::SiteReport;
use crate::clients::Work;
use crate::connection::AppliedOptions;
use crate::cost::pollution::Walk;
use crate::placement::CpuUsage;

/// A scenario that several hosts have set up. Dropping it takes the set-up down.
pub trait ClientCluster: fmt::Debug + Send {
    /// Does `work` on all clients of all hosts.
    fn run(&mut self, work: Work) -> Result<Sample, RigError>;
}

/// The offsets in a page at which the buffers of a rig start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BufferOffsets {
    /// The first message.
    pub message: Option<u16>,
    /// The receive buffer; `None` for a path without one.
    pub receive: Option<u16>,
}

/// Facts about a rig.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RigInfo {
    /// The options of its connections, as the kernel reports them.
    pub applied: AppliedOptions,
    /// The address of its server; of several, the first.
    pub address: SocketAddr,
    /// The CPUs its threads were placed on.
    pub placed: CpuUsage,
    /// Why the kernel copies zero-copy sends on this route, if known.
    pub copied_because: Option<String>,
    /// For the layout `huge`: the share of the messages' memory, 0 to 1, that is backed by huge pages.
    pub huge_share: Option<f64>,
    /// The offsets of the first client's first message and receive buffer.
    pub offsets: BufferOffsets,
    /// The pointer chase of all server threads before anything was sent, if requested.
    pub idle_walk: Walk,
    /// What its site found out during the set-up.
    #[serde(skip)]
    pub report: Option<SiteReport>,
}
