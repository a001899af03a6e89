//! The frames of a control connection: what a client orders, and what the server replies.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::conditions::Conditions;
use copycost::internals::connection::ConnectionOptions;
use copycost::internals::cost::pollution::Chase;
use copycost::internals::placement::ClientRange;
use copycost::internals::server::WorkerUpdate;
use copycost::message::{BadMessageSize, Spec};
use copycost::offset::{Offset, Offsets};
use copycost::scenario::Scenario;
use copycost::send;
use copycost::workload::Workload;

use super::{CLIENT_MEMORY, ProcessLocation};

/// What is to be served. Words are those of the flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOrder {
    /// The send path.
    pub path: String,
    /// Bytes of a message.
    pub size: usize,
    /// How it is divided.
    pub fields: String,
    /// Where the fields lie.
    pub layout: String,
    /// Whether messages are rewritten.
    pub buffers: String,
    /// How much memory they cover.
    pub footprint: String,
    /// How many clients will come.
    pub clients: usize,
    /// Where the threads sit.
    pub placement: String,
    /// Every byte is checked.
    pub verify: bool,
    /// TCP_NODELAY
    pub nodelay: bool,
    /// [`send::SenderConfig::urgent`]
    pub urgent: bool,
    /// Whether what is in flight stays within the limits.
    pub bounded: bool,
    /// How many threads have their counters read.
    pub counted_threads: usize,
    /// The table of the pointer chase.
    pub pollution_table: Option<usize>,
    /// Whether the clients' host needs a CPU for the generator of an open loop.
    #[serde(default)]
    pub open_loop: bool,
    /// Which of all clients of several guests these are.
    #[serde(default)]
    pub among: ClientRange,
    /// Where messages begin in their pages.
    #[serde(default = "drawn")]
    pub send_offset: String,
    /// Where receive buffers do.
    #[serde(default = "drawn")]
    pub receive_offset: String,
    /// Decides what is drawn of these.
    #[serde(default)]
    pub offset_seed: u64,
    /// The sizes of the messages, if they are not all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Where the client runs; `None` from a client of a version that did not send it.
    #[serde(default)]
    pub machine: Option<ProcessLocation>,
}

#[derive(Debug, Clone)]
pub struct ParsedOrder {
    /// What is to be served.
    pub scenario: Scenario,
    /// The memory that all clients' messages take at most, in bytes.
    pub memory: usize,
}

/// What the host says.
#[derive(Debug, Serialize, Deserialize)]
pub enum ServerReply {
    /// The order is served.
    Offered(Box<OfferedService>),
    /// It is not, and why.
    Refused(String),
    /// An update of the thread that serves a client.
    News(Box<WorkerUpdate>),
}

/// What the data connections need, and what the host is.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfferedService {
    /// What lets them in.
    pub ticket: [u8; 16],
    /// The host's conditions.
    pub conditions: Conditions,
    /// How many CPUs its threads were placed on.
    pub sender_cpus: usize,
    /// Why the server's kernel copies zero-copy sends to the client, if that is known.
    #[serde(default)]
    pub copied_because: Option<String>,
    /// The CPUs that both ends share, in the order in which the host has planned them; none where they share none, and
    /// `None` from a host of a version that did not say.
    #[serde(default)]
    pub shared_cpus: Option<Vec<usize>>,
    /// Whether the messages are those of the workload that was ordered; false from a host of a version that knows none.
    #[serde(default)]
    pub plays_workload: bool,
}

/// What an end means that says nothing of offsets.
fn drawn() -> String {
    Offset::Drawn.to_string()
}

impl ServiceOrder {
    /// The order for `scenario`.
    pub fn of(scenario: &Scenario) -> Self {
        let spec = &scenario.spec;
        Self {
            path: scenario.path.name.to_owned(),
            size: spec.size,
            fields: spec.fields.to_string(),
            layout: spec.layout.to_string(),
            buffers: spec.buffers.to_string(),
            footprint: spec.footprint.to_string(),
            clients: scenario.clients,
            placement: scenario.placement.to_string(),
            verify: scenario.verify,
            nodelay: scenario.options.nodelay,
            urgent: scenario.urgent,
            bounded: scenario.bounded,
            counted_threads: scenario.counted_threads,
            pollution_table: scenario.pollution_table,
            open_loop: scenario.open_loop,
            among: ClientRange::default(),
            send_offset: scenario.offsets.send.to_string(),
            receive_offset: scenario.offsets.receive.to_string(),
            offset_seed: scenario.offsets.seed,
            workload: scenario.workload.as_deref().cloned(),
            machine: None,
        }
    }

    /// Where the buffers of both ends begin.
    pub fn offsets(&self) -> Result<Offsets, String> {
        let (send, receive) = (self.send_offset.parse()?, self.receive_offset.parse()?);
        Ok(Offsets { send, receive, seed: self.offset_seed })
    }

    /// The scenario that its names mean, for connections with `options`.
    pub fn scenario(&self, options: ConnectionOptions) -> Result<Scenario, String> {
        let path = send::by_name(&self.path).ok_or_else(|| format!("there is no path '{}'", self.path))?;
        let spec = Spec {
            layout: self.layout.parse()?,
            buffers: self.buffers.parse()?,
            footprint: self.footprint.parse()?,
            ..Spec::new(self.size).map_err(|error: BadMessageSize| error.to_string())?
        };
        let spec = spec.with_fields(self.fields.parse()?).map_err(|error| error.to_string())?;
        Ok(Scenario {
            placement: self.placement.parse()?,
            verify: self.verify,
            offsets: self.offsets()?,
            options: ConnectionOptions { nodelay: self.nodelay, ..options },
            urgent: self.urgent,
            bounded: self.bounded,
            counted_threads: self.counted_threads,
            pollution_table: self.pollution_table,
            workload: self.workload.clone().map(Arc::new),
            open_loop: self.open_loop,
            ..Scenario::new(path, spec, self.clients)
        })
    }

    /// The order parsed for a host of at most `most_clients` clients, or the sentence why it cannot be served.
    pub fn parse(&self, most_clients: usize, options: ConnectionOptions) -> Result<ParsedOrder, String> {
        let scenario = self.scenario(options)?;
        if !(1..=most_clients).contains(&self.clients) {
            return Err(format!("this host serves 1 to {most_clients} clients (got {})", self.clients));
        }
        // The placement is planned for all of them, even those of other client hosts.
        if self.among.total(self.clients) > most_clients {
            return Err(format!(
                "this host serves 1 to {most_clients} clients in all (got {})",
                self.among.total(self.clients)
            ));
        }
        self.pollution_table.map_or(Ok(()), Chase::check).map_err(|error| error.to_string())?;
        let spec = scenario.largest_spec();
        let memory = scenario.pool_bytes().saturating_add(self.pollution_table.unwrap_or(0));
        // One message of any size is served.
        if memory > CLIENT_MEMORY.max(scenario.placed_spec().memory(1)).max(spec.memory(1)) {
            return Err(format!(
                "the messages of each client need {memory} bytes of memory, but this host allows \
                 {CLIENT_MEMORY}"
            ));
        }
        (scenario.path.probe)(&spec).map_err(|reason| reason.to_string())?;
        Ok(ParsedOrder { scenario, memory: memory.saturating_mul(self.clients) })
    }
}

/// What another host says, fit to be shown on a terminal: one line of bounded length without control characters.
pub fn sentence(text: &str) -> String {
    const LONGEST: usize = 500;
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::frame;
    use copycost::message::{Footprint, Layout};
    use proptest::prelude::*;

    fn order() -> ServiceOrder {
        ServiceOrder::of(&Scenario::new(&send::ALL[0], Spec::new(64).unwrap(), 2))
    }

    /// For a host of eight clients.
    fn parse(order: &ServiceOrder) -> Result<ParsedOrder, String> {
        order.parse(8, ConnectionOptions::for_this_machine())
    }

    /// The words that are meant, and any other.
    fn word(words: &'static str) -> impl Strategy<Value = String> {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        prop_oneof![4 => proptest::sample::select(words), 1 => ".*"]
    }

    fn any_order() -> impl Strategy<Value = ServiceOrder> {
        let words = (
            word("twocopy onecopy zerocopy"),
            word("even headed single"),
            word("heap page arena huge"),
            word("constant ring:1 ring:65536 ring:0"),
            word("hot l2 llc cold"),
            word("paired split free"),
        );
        let offset = || word("drawn malloc 0 16 4095 4096");
        let size = prop_oneof![0usize..1 << 31, any::<usize>()];
        let clients = prop_oneof![0usize..10, any::<usize>()];
        let rest = (any::<[bool; 4]>(), any::<usize>(), any::<Option<usize>>(), offset(), offset());
        (words, size, clients, rest).prop_map(
            |(
                words,
                size,
                clients,
                (flags, counted_threads, pollution_table, send_offset, receive_offset),
            )| {
                let (path, fields, layout, buffers, footprint, placement) = words;
                let [verify, nodelay, urgent, bounded] = flags;
                ServiceOrder {
                    path,
                    size,
                    fields,
                    layout,
                    buffers,
                    footprint,
                    clients,
                    placement,
                    verify,
                    nodelay,
                    urgent,
                    bounded,
                    counted_threads,
                    pollution_table,
                    open_loop: nodelay && urgent,
                    among: ClientRange::default(),
                    send_offset,
                    receive_offset,
                    offset_seed: size as u64,
                    workload: None,
                    machine: None,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn any_order_is_understood_within_its_bounds_or_refused(order in any_order()) {
            match parse(&order) {
                Ok(understood) => {
                    prop_assert!((1..=8).contains(&order.clients));
                    let one = understood.scenario.placed_spec().memory(1).max(CLIENT_MEMORY);
                    prop_assert!(understood.memory <= order.clients * one);
                }
                Err(reason) => prop_assert!(!reason.is_empty()),
            }
            let frame = frame::encode(&order).unwrap();
            prop_assert_eq!(frame::decode::<ServiceOrder>(&frame[4..]), Ok(order));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, text in ".*") {
            for json in [&bytes[..], text.as_bytes()] {
                let _ = (frame::decode::<ServiceOrder>(json), frame::decode::<ServerReply>(json));
            }
        }

        #[test]
        fn almost_an_order_is_answered(at: proptest::sample::Index, byte: u8, cut: proptest::sample::Index) {
            let mut json = serde_json::to_vec(&order()).unwrap();
            let (at, cut) = (at.index(json.len()), cut.index(json.len()));
            let _ = frame::decode::<ServiceOrder>(&json[..cut]);
            json[at] = byte;
            if let Ok(order) = frame::decode::<ServiceOrder>(&json) {
                let _ = parse(&order);
            }
        }

        #[test]
        fn what_another_host_says_is_fit_for_a_terminal(text in "(?s).*") {
            let shown = sentence(&text);
            prop_assert!(!shown.chars().any(char::is_control) && shown.chars().count() <= 500);
        }
    }

    #[test]
    fn what_a_layout_takes_counts_and_not_what_is_sent() {
        let memory = |layout: Layout, buffers: &str| {
            let order =
                ServiceOrder { size: 8, layout: layout.to_string(), buffers: buffers.into(), ..order() };
            parse(&order).map(|understood| understood.memory)
        };
        assert!(memory(Layout::Huge, "ring:400").unwrap() >= 2 * (2 << 20));
        assert!(memory(Layout::Page, "ring:100").unwrap() >= 2 * 100 * 8 * 4096);
        assert!(memory(Layout::Page, "ring:65536").unwrap_err().contains("bytes of memory"));
        let cold = ServiceOrder { size: 8, footprint: Footprint::Cold.to_string(), ..order() };
        assert!(parse(&cold).unwrap_err().contains("bytes of memory"));
    }
}
