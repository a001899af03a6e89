//! Why there is no sample: which end failed and, if known, what to do.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::cgroup::memory::Available;
use crate::send::{Ledger, Unsupported};
use crate::units::{ByteSize, ClientCount};

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The server's thread, which sends.
    Server,
    /// The client, which receives.
    Client,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the sender of client",
            Self::Client => "client",
        })
    }
}

/// The memory that messages would need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryDemand {
    /// Send paths that are set up at the same time.
    pub paths: usize,
    /// Clients of each path.
    pub clients: usize,
    /// Bytes of all messages.
    pub bytes: usize,
    /// What the user can do.
    pub advice: String,
}

impl fmt::Display for MemoryDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = ClientCount(self.clients);
        match self.paths {
            1 => clients.fmt(f),
            paths => write!(f, "{paths} paths with {clients} each"),
        }
    }
}

/// Why a site could not be reached or made ready.
pub trait SiteError: std::error::Error + Send + Sync {
    /// Whether a retry may work: the other end has no room for another set-up yet.
    fn is_refusal(&self) -> bool {
        false
    }
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RigError {
    /// This machine does not support the path.
    #[error("{path}: {reason}")]
    Unsupported {
        /// The path's name.
        path: &'static str,
        /// Why it does not.
        reason: Unsupported,
    },
    /// The clients need more open files than the limit allows.
    #[error(
        "{clients} clients need about {needed} open files, but the hard limit is {hard}: use fewer clients, \
         or raise the limit (`ulimit -Hn`, LimitNOFILE=)"
    )]
    OpenFiles {
        /// The clients asked for.
        clients: usize,
        /// The files needed.
        needed: u64,
        /// The limit.
        hard: u64,
    },
    /// The loopback interface is down.
    #[error(
        "the loopback interface lo is down in this network namespace, so nothing reaches 127.0.0.1: run \
         `ip link set lo up`"
    )]
    LoopbackDown,
    /// The messages need too much memory.
    #[error(
        "the messages of {demand} take {}, and {available}, of which each path may have half: {}",
        in_mib(demand.bytes),
        demand.advice
    )]
    Memory {
        /// The needed memory.
        demand: Box<MemoryDemand>,
        /// The available memory and what limits it.
        available: Available,
    },
    /// The site could not be reached or made ready.
    #[error("{0}")]
    Site(Box<dyn SiteError>),
    /// One of several hosts failed.
    #[error("{host}: {error}")]
    Host {
        /// The host.
        host: String,
        /// Its error message.
        error: String,
    },
    /// The connection to one of several hosts is lost, so nothing more can be measured with it.
    #[error("{0}")]
    Lost(String),
    /// Another host failed, so this host's part is discarded.
    #[error("it was cancelled because another host failed")]
    Cancelled,
    /// Something could not be set up.
    #[error("{what}: {source}")]
    Setup {
        /// The step that failed.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
    /// An end failed in a run.
    #[error("{side} {client} failed: {error}")]
    EndFailed {
        /// The end that failed.
        side: Side,
        /// The client's number.
        client: usize,
        /// The error.
        error: io::Error,
        /// The ledger of the senders that could still report.
        ledger: Box<Ledger>,
    },
    /// No data arrived any more.
    #[error("no data arrived for {} seconds, and neither end reported an error: {silent}", .patience.as_secs())]
    Stalled {
        /// How long nothing arrived.
        patience: Duration,
        /// The ends that had not reported or not received anything.
        silent: String,
    },
    /// There is no CPU for the generator of an open loop.
    #[error(
        "an open loop needs a CPU for its generator beside one for the ends: this process may use {cpus}"
    )]
    OpenLoopCpus {
        /// The CPUs that this process may use, or those of them that both ends share.
        cpus: usize,
    },
    /// The rig cannot do an open loop.
    #[error("{0}")]
    OpenLoop(&'static str),
    /// An earlier run failed.
    #[error("this rig has failed before and cannot run again")]
    Broken,
}

impl RigError {
    /// Whether the other host refused, because it may have no room for another set-up yet.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Site(error) if error.is_refusal())
    }
}

/// Rounds up to whole MiB for a message.
fn in_mib(bytes: usize) -> ByteSize {
    const MIB: usize = 1 << 20;
    ByteSize(bytes.div_ceil(MIB).saturating_mul(MIB))
}

/// Makes a [`RigError::Setup`] for the step `what`.
pub fn setup(what: &'static str) -> impl FnOnce(io::Error) -> RigError {
    move |source| RigError::Setup { what, source }
}
