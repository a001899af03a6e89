//! What is measured: one scenario is one cell of a matrix. Only this file builds benchmark ids.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::message::{BadMessageSize, Spec};
use crate::offset::{Offset, Offsets};
use crate::placement::{self, PlacementPlan};
use crate::recv::{self, ReceivePath};
use crate::send::SendPath;
use crate::units::{ByteSize, ClientCount};
use crate::workload::{Deck, Workload};

pub use crate::connection::ConnectionOptions;
pub use crate::placement::Placement;

/// The message sizes of the original experiment, in bytes.
pub const SIZES: [usize; 4] = [1024, 4096, 16_384, 65_536];

/// The client counts of the benchmark's matrix.
pub const CLIENTS: [usize; 4] = [1, 2, 4, 8];

/// The most clients of one scenario.
pub const MAX_CLIENTS: usize = 1024;

/// One cell: a path, a message, a number of clients, and the conditions.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The send path.
    pub path: &'static SendPath,
    /// The messages. With a workload: its mean size, and what all its messages have in common.
    pub spec: Spec,
    /// The sizes of the messages, if they are not all the same.
    pub workload: Option<Arc<Workload>>,
    /// The number of clients, each with its own connection.
    pub clients: usize,
    /// Where the threads run.
    pub placement: Placement,
    /// The receive path.
    pub receive: &'static ReceivePath,
    /// Whether the receiver checks every byte.
    pub verify: bool,
    /// The offsets at which the buffers of both ends start.
    pub offsets: Offsets,
    /// The options of the connections.
    pub options: ConnectionOptions,
    /// [`crate::send::SenderConfig::urgent`]
    pub urgent: bool,
    /// Keep the data in flight within the limits of the process; otherwise the kernel may refuse sends.
    pub bounded: bool,
    /// How many threads at each end have perf counters, which take eight files a thread.
    pub counted_threads: usize,
    /// The size in bytes of a table through which each server thread chases pointers between messages. It
    /// shows what sending does to the caches on a machine without counters. Throughput and CPU time then
    /// include the chase.
    pub pollution_table: Option<usize>,
    /// Whether a rig can do [`crate::rig::Work::OpenLoop`]. The generator then has a CPU of its own, the first, and
    /// all other threads on the clients' host share the rest.
    pub open_loop: bool,
    /// A known slow-down to test copycost with: the server's threads run this many loop steps for each
    /// message.
    #[doc(hidden)]
    pub idle_steps: u64,
}

impl Scenario {
    /// The default conditions: `paired`, plain `recv`, unverified, bounded.
    pub fn new(path: &'static SendPath, spec: Spec, clients: usize) -> Self {
        Self {
            path,
            spec,
            workload: None,
            clients,
            placement: Placement::default(),
            receive: &recv::ALL[0],
            verify: false,
            offsets: Offsets::default(),
            options: ConnectionOptions::for_this_machine(),
            urgent: false,
            bounded: true,
            counted_threads: 0,
            pollution_table: None,
            open_loop: false,
            idle_steps: 0,
        }
    }

    /// The same for messages of several sizes.
    ///
    /// # Errors
    /// [`BadMessageSize`] if no message can have the mean size; it cannot happen for a workload whose classes are messages.
    pub fn with_workload(mut self, workload: Arc<Workload>) -> Result<Self, BadMessageSize> {
        let Spec { layout, buffers, footprint, start, .. } = self.spec;
        self.spec = Spec { layout, buffers, footprint, start, ..Spec::new(workload.mean_size())? };
        self.workload = Some(workload);
        Ok(self)
    }

    /// The deck of a client; `None` if all messages are the same.
    pub(crate) fn deck(&self, client: usize) -> Option<Deck> {
        let workload = self.workload.as_ref()?;
        Some(Deck::new(workload, self.offsets.seed, client, self.clients))
    }

    /// The largest message.
    pub fn largest_spec(&self) -> Spec {
        let workload = self.workload.as_ref();
        workload.map_or(self.spec, |workload| workload.spec(workload.largest(), &self.spec))
    }

    /// An upper bound of the memory of one client's messages, in bytes.
    pub fn pool_bytes(&self) -> usize {
        let spec = self.placed_spec();
        self.workload.as_ref().map_or_else(|| spec.pool_bytes(), |workload| workload.pool_bytes(&spec))
    }

    /// The same for messages that are requested one at a time: TCP_NODELAY, and the fields of a message
    /// joined.
    #[must_use]
    pub fn for_latency(mut self) -> Self {
        self.options.nodelay = true;
        self.urgent = true;
        self
    }

    /// The same for an open loop: as [`Scenario::for_latency`], with a CPU for the generator.
    #[must_use]
    pub fn for_open_loop(self) -> Self {
        Self { open_loop: true, ..self.for_latency() }
    }

    /// The placement of the threads of both ends on one host with `cpus`, if there are `clients` clients in all.
    #[doc(hidden)]
    pub fn placement_plan(&self, clients: usize, cpus: &[usize]) -> PlacementPlan {
        let (generator, rest) = placement::reserve(self.open_loop, cpus);
        PlacementPlan::plan(self.placement, clients, rest).with_generator(generator)
    }

    /// The same for the set-up with this number, which has new drawn offsets and another order or stretch of the workload,
    /// the same for every path.
    #[must_use]
    pub fn of_set_up(mut self, number: usize) -> Self {
        // Weyl steps, so that consecutive set-ups have very different seeds.
        self.offsets.seed =
            self.offsets.seed.wrapping_add((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let seed = self.offsets.seed;
        self.workload = self.workload.map(|workload| match workload.is_trace() {
            true => Arc::new(workload.stretch(seed)),
            false => workload,
        });
        self
    }

    /// The message with its offset decided.
    pub fn placed_spec(&self) -> Spec {
        self.spec.with_offset(self.offsets.send, self.offsets.seed)
    }

    /// The longest time to make the messages. The messages of a cold cell cover gigabytes if the last-level
    /// cache is large.
    pub fn preparation(&self) -> Duration {
        /// What even a busy machine fills in a second.
        const BYTES_PER_SECOND: usize = 32 << 20;
        let bytes = self.pool_bytes().saturating_mul(self.clients);
        Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
    }

    /// The benchmark id: `{path}/{size}/{clients}`, with a workload `{path}/mix-NAME/{clients}`. Offsets that are not drawn are part of the path's name:
    /// `onecopy@send-0`, `onecopy@receive-16`.
    pub fn id(&self) -> String {
        let named = |what: &str, offset: Offset| match offset {
            Offset::Drawn => String::new(),
            given => format!("@{what}-{given}"),
        };
        let Offsets { send, receive, .. } = self.offsets;
        let offsets = named("send", send) + &named("receive", receive);
        let cell = match &self.workload {
            None => cell_id(self.spec.size, self.clients),
            Some(workload) => format!("{}/{}", workload.id(), self.clients),
        };
        format!("{}{offsets}/{cell}", self.path.name)
    }

    /// The bytes of one round: one message, or one deck of the workload, to every client.
    pub fn round_bytes(&self) -> u64 {
        match &self.workload {
            None => self.spec.size as u64 * self.clients as u64,
            Some(_) => {
                (0..self.clients).filter_map(|client| self.deck(client)).map(|deck| deck.bytes()).sum()
            }
        }
    }

    /// What the messages are, for a sentence: `64 KiB`, `the mix kv`.
    pub fn messages_text(&self) -> String {
        self.workload
            .as_ref()
            .map_or_else(|| ByteSize(self.spec.size).to_string(), |workload| workload.to_string())
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.path.name, self.messages_text(), ClientCount(self.clients))
    }
}

/// The part of a benchmark id after its group, in Criterion's form of a function and its parameter:
/// `{size}/{clients}`.
pub fn cell_id(size: usize, clients: usize) -> String {
    format!("{size}/{clients}")
}

/// Every cell of a matrix, ordered by size and then by clients.
pub fn matrix(sizes: &[usize], clients: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    sizes.iter().flat_map(move |size| clients.iter().map(move |clients| (*size, *clients)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_offsets_that_are_not_drawn() {
        let mut scenario = Scenario::new(&crate::send::ALL[0], Spec::new(64).unwrap(), 3);
        let name = scenario.path.name;
        assert_eq!(scenario.id(), format!("{name}/64/3"));
        scenario.offsets.receive = Offset::At(16);
        assert_eq!(scenario.id(), format!("{name}@receive-16/64/3"));
        scenario.offsets.send = Offset::Malloc;
        assert_eq!(scenario.id(), format!("{name}@send-malloc@receive-16/64/3"));
    }
}
