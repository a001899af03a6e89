//! What is kept of a measurement: records with the conditions they were made under, in a form that other programs
//! read. Fields are added in later versions and never renamed.

mod comparison;
mod cost;
mod explanation;
mod hosts;
mod judged;
mod lab;
mod load;
mod model;
mod named;
mod read;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::compare::ContestantResult;
use crate::lab::Probed;
use copycost::internals::cgroup::throttle::Throttled;
use copycost::internals::cost::limiter::Limiter;
use copycost::rig::Site;
use copycost::scenario::Scenario;
use copycost::send::{Copies, Decisions, Ledger, Release};

pub use crate::conditions::{Conditions, RankConditions};
pub use comparison::{Comparison, Crossover};
pub use cost::{CountRecord, CountersRecord, CpuRecord, LatencyRecord, PollutionRecord, Reasons, WireRecord};
pub use explanation::{
    ALL, ClassDifference, ClassRecord, ExplainedEnd, ExplainedPath, Explanation, FigureRecord,
};
pub use hosts::{HostRecord, HostsRecord};
pub use judged::{ALPHA, Paired};
pub use lab::LabRecord;
pub use load::{BadLoad, Load};
pub use model::{AskedMessage, CostModel, MISS_TOLERATED, ModelCell, ModelEnd, PathModel};
pub use named::Named;
pub use read::{LARGEST, few_cells};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// All that one run of the command has measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`]
    pub schema: u32,
    /// What holds for all records.
    pub conditions: Conditions,
    /// One for each path and cell.
    pub records: Vec<Record>,
    /// Paths and cells that could not be measured, and why.
    #[serde(default)]
    pub failures: Vec<CellFailure>,
    /// Paths beside the reference path.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// Sizes from which one path beats another.
    #[serde(default)]
    pub crossovers: Vec<Crossover>,
    /// Where the CPU time of paths goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanations: Vec<Explanation>,
    /// Cost models, and what they predict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<CostModel>,
    /// The answer in one sentence; null where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The answer, in sentences to be pasted into a design document.
    #[serde(default)]
    pub verdict: Vec<String>,
    /// The load at which cores were asked for, as [`Load`] prints it; null where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// One path in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The send path.
    pub path: String,
    /// The message's size in bytes.
    pub size: usize,
    /// Clients, each with a connection of its own; where several hosts receive, of each host.
    pub clients: usize,
    /// How many hosts receive.
    #[serde(default = "one")]
    pub client_hosts: usize,
    /// Where the fields lie.
    pub layout: String,
    /// How the message is divided.
    pub fields: String,
    /// Whether messages are rewritten.
    pub buffers: String,
    /// How much memory the messages in turn cover.
    pub footprint: String,
    /// Where the threads sat.
    pub placement: String,
    /// The receive path.
    pub receive: String,
    /// Where in their pages messages were to begin: `drawn`, a number of bytes, or `malloc`.
    #[serde(default = "unrecorded")]
    pub send_offset: String,
    /// Where receive buffers were.
    #[serde(default = "unrecorded")]
    pub receive_offset: String,
    /// What decided the drawn ones, where any were.
    #[serde(default)]
    pub offset_seed: Option<u64>,
    /// Where in its page the first message of each set-up began, read back from its address; empty where the offset was not
    /// told.
    #[serde(default)]
    pub send_offsets: Vec<u16>,
    /// Where the receive buffer of the first client of each set-up did.
    #[serde(default)]
    pub receive_offsets: Vec<u16>,
    /// When it was measured to its end: seconds since 1970.
    #[serde(default)]
    pub measured_at: Option<u64>,
    /// What lay between the ends.
    pub transport: String,
    /// What the clock ran over: `window` or `rounds`.
    pub clock: String,
    /// What the clock showed.
    pub seconds: f64,
    /// Voluntary and involuntary switches of all threads, for each message.
    pub context_switches_per_message: f64,
    /// Messages received within the clock.
    pub messages: u64,
    /// Bytes received within the clock.
    pub bytes: u64,
    /// `bytes` for each of `seconds`.
    pub throughput_bytes_per_second: f64,
    /// System calls of the sender for each message, those that read completions included.
    pub syscalls_per_message: f64,
    /// What the kernel told; null for a path that returns released memory at once.
    pub ledger: Option<LedgerRecord>,
    /// What happened to the bytes of a path that asks for zero copy; null for others.
    pub verdict: Option<String>,
    /// Why, where that is known.
    #[serde(default)]
    pub verdict_reason: Option<String>,
    /// For the layout `huge`: the share of the messages' memory that the kernel gave huge pages for, 0 to 1.
    #[serde(default)]
    pub huge_share: Option<f64>,
    /// Service demand.
    #[serde(default)]
    pub cpu: CpuRecord,
    /// Counters; null where none were asked for.
    #[serde(default)]
    pub counters: Option<CountersRecord>,
    /// The shape on the wire; null where TCP_INFO could not be read.
    #[serde(default)]
    pub wire: Option<WireRecord>,
    /// The way between the ends, in the lab; null elsewhere.
    #[serde(default)]
    pub lab: Option<LabRecord>,
    /// Of a receive path that maps pages: the share of the bytes that it could map, 0 to 1; null for others.
    #[serde(default)]
    pub mapped_share: Option<f64>,
    /// Why it is low, where it is.
    #[serde(default)]
    pub mapped_reason: Option<String>,
    /// What limited this cell: `cpu`, `sender`, `receiver`, `network`, `mixed`, or `unknown: ` and why.
    #[serde(default)]
    pub limiter: String,
    /// Time for each message at saturation, for each client, as the original defines it; null where nothing arrived.
    #[serde(default)]
    pub ns_per_message: Option<f64>,
    /// From the ask for one message to its last byte, in ns; null where it was not asked for.
    #[serde(default)]
    pub latency_ns: Option<LatencyRecord>,
    /// What sending does to the caches; null where it was not asked for.
    #[serde(default)]
    pub pollution: Option<PollutionRecord>,
    /// In how many periods a CPU quota stopped the threads; null where no control group has a quota.
    #[serde(default)]
    pub throttled: Option<Throttled>,
    /// Where several hosts receive, and over MPI always: the share of each.
    #[serde(default)]
    pub hosts: Option<HostsRecord>,
    /// What distorts this record.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// As many hosts as received before there could be more.
fn one() -> usize {
    1
}

/// [`Ledger`] in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Calls taken by reference.
    pub sends: u64,
    /// Of these, those whose completion was read.
    pub completed: u64,
    /// Of these, those in ranges marked copied.
    pub copied: u64,
    /// Of these, those marked copied by a mark that proves nothing (io_uring's, of linked notifications).
    #[serde(default)]
    pub doubtful: u64,
    /// Notifications that told of more than one call.
    #[serde(default)]
    pub merged_ranges: u64,
    /// Calls refused with ENOBUFS.
    pub enobufs: u64,
    /// Waits at the bound of what may be in flight.
    #[serde(default)]
    pub waits: u64,
    /// Calls made without MSG_ZEROCOPY instead.
    pub fallbacks: u64,
    /// Parts of messages that the path chose to copy, because they were small.
    #[serde(default)]
    pub plain: u64,
    /// Calls whose memory came back by ending the connection.
    #[serde(default)]
    pub aborted: u64,
    /// Calls that the kernel kept.
    pub undrained: u64,
    /// The most bytes in flight at once.
    #[serde(default)]
    pub peak_in_flight_bytes: u64,
    /// The median time from a send to the reading of its notification, our own reaping interval included.
    #[serde(default)]
    pub notification_p50_ns: Option<u64>,
    /// The 99th percentile of the same.
    #[serde(default)]
    pub notification_p99_ns: Option<u64>,
    /// Which way a path that has several chose for its messages, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
}

/// A path in a cell that could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellFailure {
    /// The send path.
    pub path: String,
    /// The message's size in bytes.
    pub size: usize,
    pub clients: usize,
    /// How many hosts were to receive.
    #[serde(default = "one")]
    pub client_hosts: usize,
    /// Why, in a sentence.
    pub error: String,
}

impl Results {
    /// No records yet.
    pub fn new(conditions: Conditions) -> Self {
        Self {
            schema: SCHEMA,
            conditions,
            records: Vec::new(),
            failures: Vec::new(),
            comparisons: Vec::new(),
            crossovers: Vec::new(),
            explanations: Vec::new(),
            models: Vec::new(),
            answer: None,
            verdict: Vec::new(),
            at: None,
        }
    }

    /// The load at which cores were asked for.
    pub fn load(&self) -> Option<Load> {
        self.at.as_deref()?.parse().ok()
    }

    /// Whether nothing was measured, and nothing failed.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.failures.is_empty()
            && self.explanations.is_empty()
            && self.models.is_empty()
    }
}

fn now() -> Option<u64> {
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// What a record of a version says that did not control offsets.
pub const UNRECORDED: &str = "not recorded";

fn unrecorded() -> String {
    UNRECORDED.to_owned()
}

/// The name of a path in another build: `onecopy@OLD`.
pub const OLD: &str = "OLD";

/// The name of a path in an earlier run: `onecopy@BASELINE`.
pub const BASELINE: &str = "BASELINE";

/// How the name of a send offset begins: `onecopy@send=16`. A receive offset has its number alone.
pub const SEND_ARM: &str = "send=";

/// What a setting is that several have side by side in one cell, each named after its own: `onecopy@16`.
const SIDE_BY_SIDE: &str = "side by side";

/// What a reader must know of offsets that were asked for: the end of a list of conditions, empty for drawn ones.
pub fn offsets_asked_for(send: &str, receive: &str) -> String {
    let words = |what: &str, offset: &str| match offset {
        SIDE_BY_SIDE => format!(", {what} at the offsets named"),
        "malloc" => format!(", {what} where malloc puts them"),
        number if number.parse::<u16>().is_ok() => format!(", {what} {number} bytes into a page"),
        _ => String::new(),
    };
    words("messages", send) + &words("receive buffers", receive)
}

impl Record {
    /// The send and the receive offset as settings of a whole run.
    pub fn offsets_of_run(&self) -> [&str; 2] {
        let arm = self.path.split_once('@').map(|(_, arm)| arm).filter(|arm| *arm != OLD);
        match arm.map(|arm| arm.split('/').collect::<Vec<_>>()).as_deref() {
            None | Some([]) => [&self.send_offset, &self.receive_offset],
            Some([one]) if one.starts_with(SEND_ARM) => [SIDE_BY_SIDE, &self.receive_offset],
            Some([_]) => [&self.send_offset, SIDE_BY_SIDE],
            Some(_) => [SIDE_BY_SIDE, SIDE_BY_SIDE],
        }
    }

    /// Whether this is the record of `scenario` under that name at `site`, which then need not be measured again.
    pub fn is_of(&self, name: &str, scenario: &Scenario, site: &dyn Site) -> bool {
        let spec = &scenario.spec;
        self.path == name
            && (self.size, self.clients) == (spec.size, scenario.clients)
            && self.client_hosts == site.client_hosts()
            && self.layout == spec.layout.to_string()
            && self.fields == spec.fields.to_string()
            && self.buffers == spec.buffers.to_string()
            && self.footprint == spec.footprint.to_string()
            && self.placement == scenario.placement.to_string()
            && self.receive == scenario.receive.name
            && self.send_offset == scenario.offsets.send.to_string()
            && self.receive_offset == scenario.offsets.receive.to_string()
            && self.transport == site.transport()
    }

    /// The record of what one scenario came to.
    pub fn new(scenario: &Scenario, measured: &ContestantResult) -> Self {
        let ContestantResult { sample, .. } = measured;
        let spec = &scenario.spec;
        let told = scenario.path.release == Release::OnCompletion;
        let (copies, reason) = sample.ledger.judged(measured.copied_because.as_deref());
        let (verdict, verdict_reason) = match &measured.probed {
            Some(probed) => judge(told.then_some(copies), probed, reason.filter(|_| told)),
            None => (told.then_some(copies), reason.filter(|_| told)),
        };
        Self {
            path: scenario.path.name.to_owned(),
            size: spec.size,
            clients: scenario.clients,
            client_hosts: measured.client_hosts,
            layout: spec.layout.to_string(),
            fields: spec.fields.to_string(),
            buffers: spec.buffers.to_string(),
            footprint: spec.footprint.to_string(),
            placement: scenario.placement.to_string(),
            receive: scenario.receive.name.to_owned(),
            // Another build's server that says nothing of it has no say in it either.
            send_offset: match measured.offsets.iter().all(|offsets| offsets.message.is_none()) {
                true => unrecorded(),
                false => scenario.offsets.send.to_string(),
            },
            receive_offset: scenario.offsets.receive.to_string(),
            offset_seed: scenario.offsets.is_drawn().then_some(scenario.offsets.seed),
            send_offsets: measured.offsets.iter().filter_map(|offsets| offsets.message).collect(),
            receive_offsets: measured.offsets.iter().filter_map(|offsets| offsets.receive).collect(),
            measured_at: now(),
            transport: measured.transport.to_owned(),
            clock: "window".to_owned(),
            seconds: sample.elapsed.as_secs_f64(),
            context_switches_per_message: sample.switches_per_message(),
            messages: sample.bytes / spec.size as u64,
            bytes: sample.bytes,
            throughput_bytes_per_second: sample.throughput(),
            syscalls_per_message: sample.calls as f64 / sample.messages.max(1) as f64,
            ledger: told.then(|| LedgerRecord::from(&sample.ledger)),
            verdict: verdict.map(|word| word.to_string()),
            verdict_reason,
            huge_share: measured.huge_share,
            cpu: CpuRecord::new(measured, spec.size),
            counters: CountersRecord::new(measured, spec.size, scenario.clients * measured.client_hosts),
            wire: sample.wire.as_ref().map(|wire| WireRecord::new(wire, sample.messages)),
            lab: LabRecord::new(measured, spec.size),
            mapped_share: sample.mapped.and_then(|mapped| mapped.share()),
            mapped_reason: sample.mapped.and_then(|mapped| mapped.copy_reason()),
            limiter: measured.limiter.to_string(),
            ns_per_message: sample
                .time_of(scenario.round_bytes() * measured.client_hosts as u64)
                .map(|time| time.as_secs_f64() * 1e9),
            latency_ns: measured.latency.as_ref().and_then(LatencyRecord::new),
            pollution: scenario
                .pollution_table
                .and_then(|bytes| PollutionRecord::new(bytes, sample.walk, measured.idle_walk)),
            throttled: Some(sample.throttled).filter(|throttled| throttled.periods > 0),
            hosts: HostsRecord::new(measured, spec.size),
            flags: flags(scenario, measured),
        }
    }
}

/// The word for what became of the bytes, of the kernel's and the probe's, and the reason for it.
///
/// What either calls copied was copied, at least in part. Only a path that the kernel is silent about, or calls not
/// copied, can have gone by reference, and then the probe decides: the kernel's word alone proves nothing.
fn judge(
    kernels: Option<Copies>,
    probed: &Probed,
    copied_because: Option<String>,
) -> (Option<Copies>, Option<String>) {
    match kernels {
        Some(word @ (Copies::Copied | Copies::Mixed)) => (Some(word), copied_because),
        Some(word) if probed.copies == Copies::Unknown => (Some(word), Some(probed.observation.clone())),
        _ => (Some(probed.copies), Some(probed.observation.clone())),
    }
}

/// Where the sender waits for longer than a window takes, as for a delayed acknowledgement.
const MOVED_NOTHING: &str = "moved no data in the measured time: raise --seconds";

/// Beyond this many switches for each message, over those that the send buffer itself enforces, pairs that share a
/// CPU measure the scheduler (under the default policy every small send switches: 1.0 and more).
const SWITCHES_TOLERATED: f64 = 0.2;

/// The flag of a path that holds messages back.
pub const DELAYS: &str = "holds messages back to send them together: not comparable with paths that do not";

/// The flag of a path that is never told when memory is free.
pub const NEVER_RELEASED: &str = "sent by reference, and the kernel never reports when memory can be \
    rewritten: only for content that does not change";

/// The flag of a cell of the lab whose limit was not the sender: the relay's copies, mostly.
pub const LIMITED_BY_RELAY: &str =
    "the relay was the limit: throughput is its own, and only CPU time tells what sending costs";

/// How the flag of a cell begins whose threads a CPU quota stopped.
pub const THROTTLED: &str = "a CPU quota stopped the threads";

/// The flag of a cell whose limit was not the sender.
pub const CANNOT_TELL: &str = "the sender was not the limit: this cell cannot tell send paths apart";

fn flags(scenario: &Scenario, measured: &ContestantResult) -> Vec<String> {
    let ContestantResult { sample, applied, huge_share, limiter, .. } = measured;
    let mut flags = Vec::new();
    if sample.bytes == 0 {
        flags.push(MOVED_NOTHING.to_owned());
    }
    // Two threads on one CPU take turns each time the buffer is full or empty: two switches a buffer.
    let enforced = 2.0 * scenario.spec.size as f64 / (applied.send_buffer as f64 / 2.0).max(1.0);
    if scenario.placement == copycost::scenario::Placement::Paired
        && sample.switches_per_message() > SWITCHES_TOLERATED + enforced
    {
        flags.push("measures the scheduler: too many context switches for each message".to_owned());
    }
    if !matches!(limiter, Limiter::Unknown(_)) && !limiter.distinguishes_paths() {
        let of_lab = sample.relayed.is_some();
        flags.push(if of_lab { LIMITED_BY_RELAY } else { CANNOT_TELL }.to_owned());
    }
    if sample.throttled.stopped > 0 {
        let Throttled { periods, stopped } = sample.throttled;
        flags.push(format!("{THROTTLED} in {stopped} of {periods} periods: `copycost doctor` shows which"));
    }
    if scenario.path.delays {
        flags.push(DELAYS.to_owned());
    }
    if scenario.path.release == Release::Never {
        flags.push(NEVER_RELEASED.to_owned());
    }
    if scenario.pollution_table.is_some() {
        flags.push("throughput and CPU time include the pointer chase between messages".to_owned());
    }
    if let Some(share) = huge_share.filter(|share| *share < 0.99) {
        flags.push(format!("only {:.0} % of the messages' memory lies on huge pages", 100.0 * share));
    }
    if let Some(reason) = sample.mapped.and_then(|mapped| mapped.copy_reason()) {
        flags.push(format!("not all data could be mapped: {reason}"));
    }
    flags
}

impl From<&Ledger> for LedgerRecord {
    fn from(ledger: &Ledger) -> Self {
        let quantiles = ledger.notification_quantiles();
        macro_rules! record {
            ($($count:ident),+) => {
                Self {
                    $($count: ledger.$count,)+
                    decisions: (ledger.decisions.total() > 0).then_some(*ledger.decisions),
                    peak_in_flight_bytes: ledger.peak_in_flight_bytes,
                    notification_p50_ns: quantiles.map(|(p50, _)| p50.as_nanos() as u64),
                    notification_p99_ns: quantiles.map(|(_, p99)| p99.as_nanos() as u64),
                }
            };
        }
        copycost::with_ledger_counts!(record)
    }
}
