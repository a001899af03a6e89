//! What a cell is measured with beside its size and its clients.

use clap::Args;

use super::Failure;
use crate::message::{Buffers, Fields, Footprint, Layout, Spec};
use crate::seat::Placement;

/// Where threads sit and what messages are.
#[derive(Debug, Clone, Args)]
pub struct Setting {
    /// Where the threads sit: paired, split or free
    #[arg(long, default_value_t)]
    pub placement: Placement,
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
}

impl Setting {
    /// A message of so many bytes.
    pub fn spec(&self, size: usize) -> Result<Spec, Failure> {
        let spec = Spec::new(size).map_err(|error| Failure::Usage(error.to_string()))?;
        let spec = spec.divided(self.fields).map_err(|error| Failure::Usage(error.to_string()))?;
        let Self { layout, buffers, footprint, .. } = *self;
        Ok(Spec { layout, buffers, footprint, ..spec })
    }
}
