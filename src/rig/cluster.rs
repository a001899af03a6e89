//! Client hosts that do together what a rig does with one fleet.

use std::fmt;
use std::net::SocketAddr;

use super::error::RigError;
use super::sample::Sample;
use super::site::SiteReport;
use crate::clients::Work;
use crate::connection::AppliedOptions;
use crate::cost::pollution::Walk;
use crate::placement::CpuUsage;

/// What several hosts have set up; dropped, they take it down.
pub trait ClientCluster: fmt::Debug + Send {
    /// Does `work` on all clients of all hosts.
    fn run(&mut self, work: Work) -> Result<Sample, RigError>;
}

/// Where in a page buffers of a rig begin, as read back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BufferOffsets {
    /// The first message.
    pub message: Option<u16>,
    /// The receive buffer; `None` for a path without one.
    pub receive: Option<u16>,
}

/// What there is to know of a rig.
#[derive(Debug)]
pub struct RigInfo {
    /// What its connections have, as read back.
    pub applied: AppliedOptions,
    /// Where its server listens; of several the first.
    pub address: SocketAddr,
    /// The CPUs its threads were placed on.
    pub placed: CpuUsage,
    /// Why the kernel copies zero-copy sends on this way, where that is known.
    pub copied_because: Option<String>,
    /// For the layout `huge`: the share of the messages' memory, 0 to 1, that the kernel gave huge pages for.
    pub huge_share: Option<f64>,
    /// Where in a page the first message of the first client begins, and its receive buffer, as read back.
    pub offsets: BufferOffsets,
    /// The pointer chase of all server threads before anything was sent, if one was asked for.
    pub idle_walk: Walk,
    /// What its site has found out.
    pub report: Option<SiteReport>,
}
