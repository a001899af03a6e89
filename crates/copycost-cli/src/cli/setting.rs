//! The settings of a cell other than its size and its clients. All commands that measure cells share these flags and
//! their defaults.

use clap::Args;

use super::over::Over;
use super::{Failure, arguments, values};
use crate::record::SEND_ARM;
use copycost::message::{Buffers, Fields, Footprint, Layout, Spec};
use copycost::offset::{Offset, Offsets};
use copycost::recv::{self, ReceivePath};
use copycost::scenario::Placement;
use copycost::scenario::Scenario;
use copycost::send::SendPath;

/// Where threads sit and what messages are.
#[derive(Debug, Clone, Args)]
pub struct Setting {
    /// Which CPUs the threads run on: paired, split or free [default: paired; in the lab: split]
    #[arg(long, value_parser = values::placement(), hide_possible_values = true)]
    pub placement: Option<Placement>,
    /// Where the fields lie: heap, page, arena, huge or memfd
    #[arg(long, default_value_t, value_parser = values::layout(), hide_possible_values = true)]
    pub layout: Layout,
    /// How the message is divided: even, headed, single, or lengths such as 64,65472
    #[arg(long, default_value_t)]
    pub fields: Fields,
    /// constant, or ring:N to send N messages in turn and rewrite each before it is sent again
    #[arg(long, default_value_t)]
    pub buffers: Buffers,
    /// How much memory the messages cover: hot, l2, llc or cold
    #[arg(long, default_value_t, value_parser = values::footprint(), hide_possible_values = true)]
    pub footprint: Footprint,
    /// How the clients receive (`copycost list` names the paths and says what they do)
    #[arg(long, value_name = "PATH", value_parser = values::receive(), hide_possible_values = true,
          default_value = recv::ALL[0].name)]
    pub receive: &'static ReceivePath,
    /// Where in its page a message begins: drawn (at random), 0 to 4095, or malloc (where the allocator puts it);
    /// several values are compared
    #[arg(long, value_name = "OFFSET", value_delimiter = ',', default_values_t = [Offset::Drawn])]
    send_offset: Vec<Offset>,
    /// Where in its page a receive buffer begins: values as for --send-offset
    #[arg(long, value_name = "OFFSET", value_delimiter = ',', default_values_t = [Offset::Drawn])]
    receive_offset: Vec<Offset>,
    /// The seed of drawn offsets; the results record it
    #[arg(long, value_name = "N", hide = true, hide_default_value = true, default_value_t = drawn_seed())]
    offset_seed: u64,
}

impl Setting {
    /// The requested combinations of offsets, each once, with a label. The label is `None` for a single combination,
    /// the offset if only one kind varies, and `send/receive` if both vary.
    pub fn arms(&self) -> Vec<(Option<String>, Offsets)> {
        let (sends, receives) =
            (arguments::distinct(&self.send_offset), arguments::distinct(&self.receive_offset));
        let name = |send: Offset, receive: Offset| match (sends.len(), receives.len()) {
            (1, 1) => None,
            (_, 1) => Some(format!("{SEND_ARM}{send}")),
            (1, _) => Some(receive.to_string()),
            _ => Some(format!("{send}/{receive}")),
        };
        let seed = self.offset_seed;
        let of = |send: Offset| receives.iter().map(move |&receive| (send, receive));
        let arm = |(send, receive)| (name(send, receive), Offsets { send, receive, seed });
        sends.iter().flat_map(|&send| of(send)).map(arm).collect()
    }

    /// An error if the user gave several offsets to a command that measures one.
    pub fn one_offset(&self) -> Result<(), Failure> {
        match self.arms().len() {
            1 => Ok(()),
            _ => Err(Failure::Usage(
                "only `copycost run` compares several offsets: give one --send-offset and one \
                 --receive-offset here"
                    .to_owned(),
            )),
        }
    }

    /// The scenario of a path over this transport, with the first combination of offsets.
    pub fn scenario(&self, over: &Over, path: &'static SendPath, spec: Spec, clients: usize) -> Scenario {
        Scenario {
            options: over.options(),
            placement: self.placement.unwrap_or_else(|| over.placement()),
            receive: self.receive,
            offsets: self.arms()[0].1,
            ..Scenario::new(path, spec, clients)
        }
    }

    /// The message of `size` bytes with these settings.
    pub fn spec(&self, size: usize) -> Result<Spec, Failure> {
        let spec = Spec::new(size).map_err(|error| Failure::Usage(error.to_string()))?;
        let spec = spec.with_fields(self.fields).map_err(|error| Failure::Usage(error.to_string()))?;
        let Self { layout, buffers, footprint, .. } = *self;
        Ok(Spec { layout, buffers, footprint, ..spec })
    }

    /// An error if the receive path is not available here, or with `verify` cannot check what it receives.
    pub fn receivable(&self, verify: bool) -> Result<(), Failure> {
        let received = (self.receive.probe)(verify);
        received.map_err(|reason| Failure::Usage(format!("{}: {reason}", self.receive.name)))
    }
}

/// A new seed for each run. It has 32 bits because JSON readers are exact only up to 2^53.
fn drawn_seed() -> u64 {
    getrandom::u32().map_or(0, u64::from)
}
