//! What a cell is measured with beside its size and its clients: the same flags, with the same defaults, wherever cells
//! are measured.

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
    /// The offsets asked for, each combination once, with what tells it from the others: nothing where it is the only one, the
    /// offset, or `send/receive` where both are several.
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

    /// An error where several offsets were asked for and one is measured.
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

    /// A cell of a path on that way, with the first of the offsets.
    pub fn scenario(&self, over: &Over, path: &'static SendPath, spec: Spec, clients: usize) -> Scenario {
        Scenario {
            options: over.options(),
            placement: self.placement.unwrap_or_else(|| over.placement()),
            receive: self.receive,
            offsets: self.arms()[0].1,
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

/// Another one for each run. Readers of JSON keep numbers up to 2^53 whole.
fn drawn_seed() -> u64 {
    getrandom::u32().map_or(0, u64::from)
}
