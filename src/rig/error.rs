//! Why there is no sample: the side and the client it failed at, and what to do where that is known.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::cgroup::memory::Available;
use crate::send::{Ledger, Unsupported};
use crate::units::{ByteSize, ClientCount};

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A server's thread, which sends.
    Server,
    /// A client, which receives.
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

/// Memory that messages would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryDemand {
    /// Send paths that are set up at once.
    pub paths: usize,
    /// Clients of each path.
    pub clients: usize,
    /// Bytes of all messages.
    pub bytes: usize,
    /// What fits instead.
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
    /// Whether it may work later: the other end has no room for another set-up yet.
    fn is_refusal(&self) -> bool {
        false
    }
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RigError {
    /// The path is not to be had here.
    #[error("{path}: {reason}")]
    Unsupported {
        /// The path's name.
        path: &'static str,
        /// Why.
        reason: Unsupported,
    },
    /// More clients than may have files open.
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
    /// The messages would take the memory of everything else.
    #[error(
        "the messages of {demand} take {}, and {available}, of which each path may have half: {}",
        in_mib(demand.bytes),
        demand.advice
    )]
    Memory {
        /// What was asked for.
        demand: Box<MemoryDemand>,
        /// What is left, and by whose word.
        available: Available,
    },
    /// The site could not be reached or made ready.
    #[error("{0}")]
    Site(Box<dyn SiteError>),
    /// One of several hosts failed.
    #[error("{host}: {error}")]
    Host {
        /// Which.
        host: String,
        /// Its sentence.
        error: String,
    },
    /// One of several hosts is gone, and nothing more can be measured with it.
    #[error("{0}")]
    Lost(String),
    /// Another host failed, and this one's part counts for nothing.
    #[error("it was cancelled because another host failed")]
    CalledOff,
    /// Something could not be set up.
    #[error("{what}: {source}")]
    Setup {
        /// What was to be done.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
    /// An end failed in a run.
    #[error("{side} {client} failed: {error}")]
    End {
        /// Which end.
        side: Side,
        /// The client's number.
        client: usize,
        /// The error.
        error: io::Error,
        /// What the kernel had told the senders that could still say.
        ledger: Box<Ledger>,
    },
    /// Nothing moved any more.
    #[error("no data arrived for {} seconds, and neither end reported an error: {silent}", .patience.as_secs())]
    Hung {
        /// How long.
        patience: Duration,
        /// Who had yet to say or to receive something.
        silent: String,
    },
    /// An earlier run failed.
    #[error("this rig has failed before and cannot run again")]
    Broken,
}

impl RigError {
    /// The other host refused: it may have no room for another set-up yet.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Site(error) if error.is_refusal())
    }
}

/// Rounded up, as a sentence has it.
fn in_mib(bytes: usize) -> ByteSize {
    const MIB: usize = 1 << 20;
    ByteSize(bytes.div_ceil(MIB).saturating_mul(MIB))
}

/// Names what was to be done.
pub fn setup(what: &'static str) -> impl FnOnce(io::Error) -> RigError {
    move |source| RigError::Setup { what, source }
}
