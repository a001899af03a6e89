//! The settings of a cell other than its size and its clients. All commands that measure cells share these flags and
//! their defaults.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use clap::Args;

use super::over::Over;
use super::{Failure, arguments, trace, values};
use crate::record::SEND_ARM;
use copycost::message::{Buffers, Fields, Footprint, Layout, Spec};
use copycost::offset::{Offset, Offsets};
use copycost::recv::{self, ReceivePath};
use copycost::scenario::Placement;
use copycost::scenario::Scenario;
use copycost::send::SendPath;
use copycost::workload::Workload;

/// Where threads sit and what messages are.
#[derive(Debug, Clone, Args)]
pub struct Setting {
    /// Messages of several sizes: SIZE:SHARE or SIZE/FIELDS:SHARE separated by commas, such as
    /// 512B:60%,16KiB:30%,1MiB:10% (shares of messages), or a published mix (`copycost list` names them)
    #[arg(long, value_name = "MIX", value_parser = arguments::mix, conflicts_with_all = ["trace", "size"])]
    pub mix: Option<String>,
    /// Messages as a server sent them: a CSV file with a message (its size, or its fields as 64+448) on each line, and if
    /// known its connection and time
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    pub trace: Option<PathBuf>,
    #[arg(skip)]
    workload: OnceLock<Arc<Workload>>,
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

    /// The workload; `None` if all messages of a cell are the same. A trace is read once.
    pub fn workload(&self) -> Result<Option<Arc<Workload>>, Failure> {
        if let Some(known) = self.workload.get() {
            return Ok(Some(known.clone()));
        }
        let workload = match (&self.mix, &self.trace) {
            (None, None) => return Ok(None),
            (Some(mix), _) => Workload::mix(mix, self.fields)
                .map_err(|error| Failure::Usage(format!("invalid value for --mix: {error}")))?,
            (None, Some(file)) => trace::read(file, self.fields)?,
        };
        if self.fields.size().is_some() {
            let text = "lengths of --fields are one message: give those of a mix as 512B/64+448:60%";
            return Err(Failure::Usage(text.to_owned()));
        }
        Ok(Some(self.workload.get_or_init(|| Arc::new(workload)).clone()))
    }

    /// The scenario of a path over this transport, with the first combination of offsets. `spec` is the message if there is
    /// no workload.
    pub fn scenario(
        &self,
        over: &Over,
        path: &'static SendPath,
        spec: Spec,
        clients: usize,
    ) -> Result<Scenario, Failure> {
        let scenario = Scenario {
            options: over.options(),
            placement: self.placement.unwrap_or_else(|| over.placement()),
            receive: self.receive,
            offsets: self.arms()[0].1,
            ..Scenario::new(path, spec, clients)
        };
        match self.workload()? {
            None => Ok(scenario),
            Some(workload) => {
                scenario.with_workload(workload).map_err(|error| Failure::Usage(error.to_string()))
            }
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
