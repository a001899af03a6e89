//! What a cell is measured with beside its size and its clients: the same flags, with the same defaults, wherever cells
//! are measured.

use clap::Args;

use super::over::Over;
use super::{Failure, arguments};
use copycost::message::{Buffers, Fields, Footprint, Layout, Spec};
use copycost::recv::{self, ReceivePath};
use copycost::scenario::Placement;
use copycost::scenario::Scenario;
use copycost::send::SendPath;

/// Where threads sit and what messages are.
#[derive(Debug, Clone, Args)]
pub struct Setting {
    /// Where the threads sit: paired, split or free [default: paired; in the lab split]
    #[arg(long)]
    pub placement: Option<Placement>,
    /// Where the fields lie: heap, page, arena, huge or memfd
    #[arg(long, default_value_t)]
    pub layout: Layout,
    /// How the message is divided: even, headed, single, or lengths such as 64,65472
    #[arg(long, default_value_t)]
    pub fields: Fields,
    /// constant, or ring:N for N messages in turn, each rewritten before it is sent
    #[arg(long, default_value_t)]
    pub buffers: Buffers,
    /// How much memory the messages in turn cover: hot, l2, llc or cold
    #[arg(long, default_value_t)]
    pub footprint: Footprint,
    /// How the clients receive (`copycost list` names the paths and says what they do)
    #[arg(long, value_name = "PATH", value_parser = arguments::receive, default_value = recv::ALL[0].name)]
    pub receive: &'static ReceivePath,
}

impl Setting {
    /// A cell of a path on that way.
    pub fn scenario(&self, over: &Over, path: &'static SendPath, spec: Spec, clients: usize) -> Scenario {
        Scenario {
            options: over.options(),
            placement: self.placement.unwrap_or_else(|| over.placement()),
            receive: self.receive,
            ..Scenario::new(path, spec, clients)
        }
    }

    /// A message of so many bytes.
    pub fn spec(&self, size: usize) -> Result<Spec, Failure> {
        let spec = Spec::new(size).map_err(|error| Failure::Usage(error.to_string()))?;
        let spec = spec.divided(self.fields).map_err(|error| Failure::Usage(error.to_string()))?;
        let Self { layout, buffers, footprint, .. } = *self;
        Ok(Spec { layout, buffers, footprint, ..spec })
    }

    /// Whether the clients can receive in this way here, and with `verify` check what they receive.
    pub fn receivable(&self, verify: bool) -> Result<(), Failure> {
        let received = (self.receive.probe)(verify);
        received.map_err(|reason| Failure::Usage(format!("{}: {reason}", self.receive.name)))
    }
}
