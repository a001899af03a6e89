//! What a guest asks of a host, and what it is told: the frames of a control connection.

use serde::{Deserialize, Serialize};

use crate::cost::pollution::{Chase, Walk};
use crate::message::{BadMessageSize, Spec};
use crate::record::Conditions;
use crate::scenario::Scenario;
use crate::seat::Placement;
use crate::send::{self, Ledger, SendPath};
use crate::server::{Failure, News, Report, Told};
use crate::supply::Supply;

use super::CLIENT_MEMORY;

/// What is to be served. Words are those of the flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
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
    /// [`send::Terms::urgent`]
    pub urgent: bool,
    /// Whether what is in flight stays within the limits.
    pub bounded: bool,
    /// How many threads have their counters read.
    pub counted_threads: usize,
    /// The table of the pointer chase.
    pub pollution_table: Option<usize>,
}

/// An order that was understood.
#[derive(Debug, Clone)]
pub struct Understood {
    /// The send path.
    pub path: &'static SendPath,
    /// The message.
    pub spec: Spec,
    /// Where the threads sit.
    pub placement: Placement,
    /// The memory that all clients' messages take, in bytes: not less than they take.
    pub memory: usize,
}

/// What the host says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The order is served.
    Offered(Box<Offered>),
    /// It is not, and why.
    Refused(String),
    /// News of a client's thread.
    News(Box<Message>),
}

/// What the data connections need, and what the host is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Offered {
    /// What lets them in.
    pub ticket: [u8; 16],
    /// The host's conditions.
    pub conditions: Conditions,
    /// How many CPUs its threads were placed on.
    pub sender_cpus: usize,
    /// Why the host's kernel copies zero-copy sends to the guest, where it can tell.
    #[serde(default)]
    pub copied_because: Option<String>,
}

/// [`News`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    /// The client.
    pub client: usize,
    /// What happened.
    pub told: MessageTold,
}

/// [`Told`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub enum MessageTold {
    /// [`Told::Ready`]
    Ready {
        /// The share of huge pages.
        huge_share: Option<f64>,
        /// The chase without sending.
        idle_walk: Walk,
    },
    /// [`Told::Report`]
    Report(Box<Report>),
    /// [`Told::Failed`]
    Failed {
        /// The error's sentence.
        error: String,
        /// What the kernel had told.
        ledger: Ledger,
    },
}

impl Order {
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
        }
    }

    /// What it means, or the sentence why it cannot be served.
    pub fn understand(&self, most_clients: usize) -> Result<Understood, String> {
        let path = send::by_name(&self.path).ok_or_else(|| format!("there is no path '{}'", self.path))?;
        let spec = Spec {
            fields: self.fields.parse()?,
            layout: self.layout.parse()?,
            buffers: self.buffers.parse()?,
            footprint: self.footprint.parse()?,
            ..Spec::new(self.size).map_err(|error: BadMessageSize| error.to_string())?
        };
        if !(1..=most_clients).contains(&self.clients) {
            return Err(format!("{} clients: this host serves 1 to {most_clients}", self.clients));
        }
        self.pollution_table.map_or(Ok(()), Chase::check).map_err(|error| error.to_string())?;
        let memory = Supply::memory(&spec).saturating_add(self.pollution_table.unwrap_or(0));
        // One message of any size is served.
        if memory > CLIENT_MEMORY.max(spec.memory()) {
            return Err(format!(
                "{memory} bytes of memory for each client's messages: this host has {CLIENT_MEMORY} for each"
            ));
        }
        let placement = self.placement.parse()?;
        (path.probe)(&spec).map_err(|reason| reason.to_string())?;
        Ok(Understood { path, spec, placement, memory: memory.saturating_mul(self.clients) })
    }
}

/// What another host says, fit to be shown on a terminal: one line of bounded length without control characters.
pub fn sentence(text: &str) -> String {
    const LONGEST: usize = 500;
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl From<News> for Message {
    fn from(news: News) -> Self {
        let told = match news.told {
            Told::Ready { huge_share, idle_walk } => MessageTold::Ready { huge_share, idle_walk },
            Told::Report(report) => MessageTold::Report(report),
            Told::Failed(failure) => {
                MessageTold::Failed { error: failure.error.to_string(), ledger: failure.ledger }
            }
        };
        Self { client: news.client, told }
    }
}

impl From<Message> for News {
    fn from(message: Message) -> Self {
        let told = match message.told {
            MessageTold::Ready { huge_share, idle_walk } => Told::Ready { huge_share, idle_walk },
            MessageTold::Report(report) => Told::Report(report),
            MessageTold::Failed { error, ledger } => {
                Told::Failed(Failure { error: std::io::Error::other(sentence(&error)), ledger })
            }
        };
        Self { client: message.client, told }
    }
}
