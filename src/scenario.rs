//! What is measured: one scenario is one cell of a matrix. The only place that spells benchmark ids.

use std::fmt;
use std::time::Duration;

use crate::message::Spec;
use crate::offset::{Offset, Offsets};
use crate::pool::MessagePool;
use crate::recv::{self, ReceivePath};
use crate::send::SendPath;
use crate::units::{ByteSize, ClientCount};

pub use crate::connection::ConnectionOptions;
pub use crate::placement::Placement;

/// The message sizes of the original experiment's range, in bytes.
pub const SIZES: [usize; 4] = [1024, 4096, 16_384, 65_536];

/// The client counts of the benchmark's matrix.
pub const CLIENTS: [usize; 4] = [1, 2, 4, 8];

/// The most clients of one scenario.
pub const MAX_CLIENTS: usize = 1024;

/// One cell: a path, a message, a number of clients, and the conditions.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How messages are sent.
    pub path: &'static SendPath,
    /// What is sent.
    pub spec: Spec,
    /// To how many clients, each on a connection of its own.
    pub clients: usize,
    /// Where the threads sit.
    pub placement: Placement,
    /// How the clients receive.
    pub receive: &'static ReceivePath,
    /// Every byte is checked at the receiver.
    pub verify: bool,
    /// Where the buffers of both ends begin.
    pub offsets: Offsets,
    /// How the connections are made.
    pub options: ConnectionOptions,
    /// [`crate::send::SenderConfig::urgent`]
    pub urgent: bool,
    /// Keep what is in flight within the limits of the process; otherwise let the kernel refuse.
    pub bounded: bool,
    /// At each end, how many threads have their counters read: eight files a thread.
    pub counted_threads: usize,
    /// Each server thread chases pointers through a table of so many bytes between messages: what sending does to
    /// the caches, on a machine without counters. Throughput and CPU time then hold the chase too.
    pub pollution_table: Option<usize>,
    /// A fault that is known, to check the instrument with: the server's threads count so far for each message.
    #[doc(hidden)]
    pub idle_steps: u64,
}

impl Scenario {
    /// The default conditions: `paired`, plain `recv`, unverified, bounded.
    pub fn new(path: &'static SendPath, spec: Spec, clients: usize) -> Self {
        Self {
            path,
            spec,
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
            idle_steps: 0,
        }
    }

    /// The same for messages that are asked for one at a time: TCP_NODELAY, and the fields of a message joined.
    #[must_use]
    pub fn for_latency(mut self) -> Self {
        self.options.nodelay = true;
        self.urgent = true;
        self
    }

    /// The same for the set-up with this number: what is drawn of the offsets is drawn anew, alike for every path.
    #[must_use]
    pub fn of_set_up(mut self, number: usize) -> Self {
        // Weyl steps, so that neighbours have unlike seeds.
        self.offsets.seed =
            self.offsets.seed.wrapping_add((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self
    }

    /// The message that is sent, where it begins decided.
    pub fn placed_spec(&self) -> Spec {
        self.spec.beginning(self.offsets.send, self.offsets.seed)
    }

    /// How long it may take at most to make the messages in turn: those of a cold cell cover gigabytes where the last-level
    /// cache is large.
    pub fn preparation(&self) -> Duration {
        /// What even a crowded machine fills in a second.
        const BYTES_PER_SECOND: usize = 32 << 20;
        let bytes = MessagePool::memory(&self.placed_spec()).saturating_mul(self.clients);
        Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
    }

    /// The benchmark id: `{path}/{size}/{clients}`. Where buffers do not begin at drawn offsets, the path has them in its
    /// name: `onecopy@send-0`, `onecopy@receive-16`.
    pub fn id(&self) -> String {
        let named = |what: &str, offset: Offset| match offset {
            Offset::Drawn => String::new(),
            asked => format!("@{what}-{asked}"),
        };
        let Offsets { send, receive, .. } = self.offsets;
        let offsets = named("send", send) + &named("receive", receive);
        format!("{}{offsets}/{}", self.path.name, cell_id(self.spec.size, self.clients))
    }

    /// The bytes of one round: one message to every client.
    pub fn round_bytes(&self) -> u64 {
        self.spec.size as u64 * self.clients as u64
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.path.name, ByteSize(self.spec.size), ClientCount(self.clients))
    }
}

/// The part of a benchmark id that follows its group, as Criterion joins a function and its parameter:
/// `{size}/{clients}`.
pub fn cell_id(size: usize, clients: usize) -> String {
    format!("{size}/{clients}")
}

/// Every cell of a matrix, sizes outside, clients inside.
pub fn matrix(sizes: &[usize], clients: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    sizes.iter().flat_map(move |size| clients.iter().map(move |clients| (*size, *clients)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_where_buffers_begin_that_do_not_begin_at_drawn_offsets() {
        let mut scenario = Scenario::new(&crate::send::ALL[0], Spec::new(64).unwrap(), 3);
        let name = scenario.path.name;
        assert_eq!(scenario.id(), format!("{name}/64/3"));
        scenario.offsets.receive = Offset::At(16);
        assert_eq!(scenario.id(), format!("{name}@receive-16/64/3"));
        scenario.offsets.send = Offset::Malloc;
        assert_eq!(scenario.id(), format!("{name}@send-malloc@receive-16/64/3"));
    }
}
