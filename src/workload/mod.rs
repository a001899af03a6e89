//! Messages of several sizes: a mix with weights, or a trace of what a server has sent.
//!
//! A sender plays a *deck*: a bounded sequence of messages, again and again. The deck of a mix holds each class in exact
//! proportion and is shuffled; that of a trace is a stretch of it, in order. A turn of a measurement is whole decks, the
//! same for every path, so that turns do not differ in what they contain.
//!
//! - here: workloads and their decks; `stretch`: what part of a trace is played; `parse`: mixes as text
//! - `published`: size distributions from the literature; `stored`: the form in records and between hosts

mod parse;
pub mod published;
mod stored;
mod stretch;

use std::fmt;
use std::sync::Arc;

use crate::message::{Buffers, Fields, Footprint, Spec};
use crate::units::ByteSize;

pub use parse::{BadMix, MOST_DECK_BYTES, MOST_DECK_MESSAGES};
pub use stored::BadWorkload;

/// What the messages of one scenario are, if they are not all the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "stored::Stored", into = "stored::Stored")]
pub struct Workload {
    name: String,
    classes: Vec<MessageClass>,
    order: Order,
}

/// Messages of one size, divided in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageClass {
    /// The size in bytes, 8 to 1 GiB.
    pub size: usize,
    /// How it is divided into fields.
    pub fields: Fields,
}

/// One message of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceLine {
    /// The message.
    pub message: MessageClass,
    /// The connection on which it was sent; traces without connections have the same for all.
    pub connection: u32,
}

/// The order of messages. Numbers are indices of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    /// Shuffled: how many messages of each class a deck has.
    Mix(Vec<u32>),
    /// As recorded.
    Trace {
        /// The class of each message.
        messages: Vec<u32>,
        /// The connection of each message; `None` if the trace has no connections.
        connections: Option<Vec<u32>>,
    },
}

/// Several classes that results show together.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassGroup {
    /// What a table calls it: `512 B`, or `up to 4 KiB`.
    pub name: String,
    /// Its share of the messages, 0 to 1.
    pub messages: f64,
    /// Its share of the bytes, 0 to 1.
    pub bytes: f64,
}

/// Up to this many classes are shown one by one; more are shown in groups by size.
const MOST_SHOWN: usize = 8;

/// The largest sizes of the groups, in bytes; no message is larger than the last.
const GROUP_ENDS: [usize; 13] = {
    let mut ends = [64; 13];
    let mut group = 1;
    while group < ends.len() {
        ends[group] = ends[group - 1] * 4;
        group += 1;
    }
    ends
};

impl Workload {
    /// A trace of these messages, in the order in which a server sent them. `connections` says whether their connections
    /// are known.
    ///
    /// # Errors
    /// [`BadWorkload`] if there is no message, or one has an impossible size.
    pub fn trace(
        name: &str,
        lines: impl IntoIterator<Item = TraceLine>,
        connections: bool,
    ) -> Result<Self, BadWorkload> {
        let mut numbers = std::collections::HashMap::new();
        let (mut classes, mut messages, mut of_lines) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            let MessageClass { size, fields } = line.message;
            let number = *numbers.entry((size, fields.to_string())).or_insert_with(|| {
                classes.push(line.message);
                classes.len() as u32 - 1
            });
            messages.push(number);
            of_lines.push(line.connection);
        }
        let connections = connections.then_some(of_lines);
        Self { name: name.to_owned(), classes, order: Order::Trace { messages, connections } }.checked()
    }

    /// The same workload if it can be played.
    fn checked(self) -> Result<Self, BadWorkload> {
        let within = |index: &u32| (*index as usize) < self.classes.len();
        let fits = match &self.order {
            Order::Mix(counts) => counts.len() == self.classes.len(),
            Order::Trace { messages, connections } => {
                messages.iter().all(within)
                    && connections.as_ref().is_none_or(|connections| {
                        connections.len() == messages.len() && are_numbered(connections)
                    })
            }
        };
        if !fits {
            return Err(BadWorkload::Inconsistent);
        }
        for class in &self.classes {
            let spec = Spec::new(class.size).map_err(|_| BadWorkload::Size(class.size))?;
            spec.with_fields(class.fields).map_err(|_| BadWorkload::Inconsistent)?;
        }
        if self.messages() == 0 { Err(BadWorkload::Empty) } else { Ok(self) }
    }

    /// Its name: that of a published mix, the text of a mix, or the file of a trace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name in a benchmark id, `mix-kv` or `trace-access`: letters, digits, dots and hyphens only.
    pub fn id(&self) -> String {
        let kind = if self.is_trace() { "trace-" } else { "mix-" };
        let plain = self.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' });
        let mut id: String = kind.chars().chain(plain).collect();
        while id.contains("--") {
            id = id.replace("--", "-");
        }
        id.trim_end_matches('-').to_owned()
    }

    /// Whether the messages have a recorded order.
    pub fn is_trace(&self) -> bool {
        matches!(self.order, Order::Trace { .. })
    }

    /// The kinds of messages.
    pub fn classes(&self) -> &[MessageClass] {
        &self.classes
    }

    /// How many messages of each class a deck has, in the order of [`Workload::classes`].
    pub fn counts(&self) -> Vec<u32> {
        match &self.order {
            Order::Mix(counts) => counts.clone(),
            Order::Trace { messages, .. } => {
                let mut counts = vec![0; self.classes.len()];
                messages.iter().for_each(|class| counts[*class as usize] += 1);
                counts
            }
        }
    }

    /// The messages of a deck of all clients together if the trace has connections, else of each client.
    pub fn messages(&self) -> u64 {
        match &self.order {
            Order::Mix(counts) => counts.iter().map(|count| u64::from(*count)).sum(),
            Order::Trace { messages, .. } => messages.len() as u64,
        }
    }

    /// The bytes of these messages.
    pub fn bytes(&self) -> u64 {
        let of_class = |(class, count): (&MessageClass, u32)| class.size as u64 * u64::from(count);
        self.classes.iter().zip(self.counts()).map(of_class).sum()
    }

    /// The mean size of a message in bytes, rounded.
    pub fn mean_size(&self) -> usize {
        let (bytes, messages) = (self.bytes(), self.messages().max(1));
        ((bytes + messages / 2) / messages) as usize
    }

    /// The largest class.
    pub fn largest(&self) -> MessageClass {
        let first = MessageClass { size: 0, fields: Fields::default() };
        self.classes
            .iter()
            .copied()
            .fold(first, |most, class| if class.size > most.size { class } else { most })
    }

    /// The message of a class with the layout of `base`.
    pub fn spec(&self, class: MessageClass, base: &Spec) -> Spec {
        Spec { size: class.size, fields: class.fields, ..*base }
    }

    /// The classes of a client's deck, in the order in which it is played. `seed` decides the order of a mix.
    pub fn deck(&self, seed: u64, client: usize, clients: usize) -> Vec<u32> {
        match &self.order {
            Order::Mix(counts) => {
                let repeat =
                    |(class, count): (usize, &u32)| std::iter::repeat_n(class as u32, *count as usize);
                let mut deck: Vec<u32> = counts.iter().enumerate().flat_map(repeat).collect();
                let seed = seed ^ (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                fastrand::Rng::with_seed(seed).shuffle(&mut deck);
                deck
            }
            // Clients play the same messages, each from another place on, so that not all send the large ones at once.
            Order::Trace { messages, connections: None } => {
                let mut deck = messages.clone();
                deck.rotate_left(client % clients.max(1) * messages.len() / clients.max(1));
                deck
            }
            Order::Trace { messages, connections: Some(connections) } => {
                let of_all = connections.iter().max().map_or(1, |last| *last as usize + 1);
                let plays = |connection: u32| {
                    if of_all >= clients {
                        connection as usize % clients.max(1) == client
                    } else {
                        connection as usize == client % of_all
                    }
                };
                let messages = messages.iter().zip(connections);
                messages.filter(|(_, connection)| plays(**connection)).map(|(class, _)| *class).collect()
            }
        }
    }

    /// How many objects of each class a sender has. With [`Footprint::Hot`] and constant messages one each; else as many as
    /// fill the footprint, in the proportions of the deck.
    pub fn objects(&self, base: &Spec) -> Vec<usize> {
        let ring = match base.buffers {
            Buffers::Constant => 1,
            Buffers::Ring(messages) => messages,
        };
        let decks = base.footprint.bytes() as f64 / self.bytes().max(1) as f64;
        let of_class = |count: u32| ((f64::from(count) * decks).round() as usize).max(ring);
        self.counts().into_iter().map(of_class).collect()
    }

    /// Whether all messages are prefixes of one buffer: nothing is rewritten, and they cover as little as possible.
    pub fn shares_one_buffer(&self, base: &Spec) -> bool {
        base.footprint == Footprint::Hot && base.buffers == Buffers::Constant
    }

    /// An upper bound of the memory of a sender's messages, in bytes.
    pub fn pool_bytes(&self, base: &Spec) -> usize {
        let memory = |(class, objects): (&MessageClass, usize)| self.spec(*class, base).memory(objects);
        if self.shares_one_buffer(base) {
            const AROUND: usize = 512;
            let largest =
                self.classes.iter().map(|class| self.spec(*class, base).memory(1)).max().unwrap_or(0);
            return largest.saturating_add(AROUND * self.classes.len());
        }
        self.classes.iter().zip(self.objects(base)).map(memory).fold(0, usize::saturating_add)
    }

    /// The group of each class, in the order of [`Workload::classes`]: an index into [`Workload::groups`]. The groups of a
    /// trace are those of each of its stretches.
    pub fn group_of_classes(&self) -> Vec<u8> {
        if self.shows_each_class() {
            return (0..self.classes.len() as u8).collect();
        }
        let group = |class: &MessageClass| GROUP_ENDS.partition_point(|end| *end < class.size) as u8;
        self.classes.iter().map(group).collect()
    }

    fn shows_each_class(&self) -> bool {
        !self.is_trace() && self.classes.len() <= MOST_SHOWN
    }

    /// The groups in which results show the classes, with their shares. Some may have no message.
    pub fn groups(&self) -> Vec<ClassGroup> {
        let alone =
            |class: &MessageClass| self.classes.iter().filter(|other| other.size == class.size).count() == 1;
        let name = |class: &MessageClass| match alone(class) {
            true => ByteSize(class.size).to_string(),
            false => class.to_string(),
        };
        let names: Vec<String> = match self.shows_each_class() {
            true => self.classes.iter().map(name).collect(),
            false => GROUP_ENDS.iter().map(|end| format!("up to {}", ByteSize(*end))).collect(),
        };
        let group = |name| ClassGroup { name, messages: 0.0, bytes: 0.0 };
        let mut groups: Vec<ClassGroup> = names.into_iter().map(group).collect();
        let (messages, bytes) = (self.messages().max(1) as f64, self.bytes().max(1) as f64);
        let classes = self.classes.iter().zip(self.group_of_classes()).zip(self.counts());
        for ((class, group), count) in classes {
            let group = &mut groups[usize::from(group)];
            group.messages += f64::from(count) / messages;
            group.bytes += f64::from(count) * class.size as f64 / bytes;
        }
        groups
    }
}

/// Whether every number from 0 to the largest occurs, so that every client has messages.
fn are_numbered(connections: &[u32]) -> bool {
    let mut seen = connections.to_vec();
    seen.sort_unstable();
    seen.dedup();
    (0..).zip(&seen).all(|(number, connection)| number == *connection)
}

impl fmt::Display for MessageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", ByteSize(self.size), self.fields)
    }
}

impl fmt::Display for Workload {
    /// For a sentence: `the mix kv`, `the trace access.csv`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_trace() { "trace" } else { "mix" };
        f.pad(&format!("the {kind} {}", self.name))
    }
}

/// The messages of a client's deck, in order, as both ends of a connection count them.
#[derive(Debug, Clone)]
pub struct Deck {
    pub(crate) workload: Arc<Workload>,
    pub(crate) order: Vec<u32>,
    place: usize,
    bytes: u64,
}

impl Deck {
    /// The deck of a client.
    pub fn new(workload: &Arc<Workload>, seed: u64, client: usize, clients: usize) -> Self {
        let order = workload.deck(seed, client, clients);
        let bytes = order.iter().map(|class| workload.classes[*class as usize].size as u64).sum();
        Self { workload: Arc::clone(workload), order, place: 0, bytes }
    }

    /// Messages of a whole deck.
    pub fn messages(&self) -> u64 {
        self.order.len() as u64
    }

    /// Bytes of a whole deck.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The class of the next message.
    #[inline]
    pub fn next_class(&mut self) -> usize {
        let class = self.order[self.place];
        self.place = if self.place + 1 == self.order.len() { 0 } else { self.place + 1 };
        class as usize
    }

    /// The bytes of the next `messages` messages.
    pub fn next_bytes(&mut self, messages: u64) -> u64 {
        let (whole, rest) = (messages / self.messages(), messages % self.messages());
        let mut bytes = whole.saturating_mul(self.bytes);
        for _ in 0..rest {
            let class = self.next_class();
            bytes = bytes.saturating_add(self.workload.classes[class].size as u64);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
