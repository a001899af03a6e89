//! What is kept of a measurement: records with the conditions they were made under, in a form that other programs
//! read. Fields are added in later versions and never renamed.

mod comparison;
mod cost;
mod explanation;
mod hosts;
mod judged;
mod lab;
mod ledger;
mod load;
mod load_curve;
mod measured;
mod message_size;
mod model;
mod named;
mod read;
mod workload;

use serde::{Deserialize, Serialize};

use copycost::internals::cgroup::throttle::Throttled;
use copycost::rig::Site;
use copycost::scenario::Scenario;

pub use crate::conditions::{Conditions, RankConditions};
pub use comparison::{Comparison, Crossover};
pub use cost::{CountRecord, CountersRecord, CpuRecord, LatencyRecord, PollutionRecord, Reasons, WireRecord};
pub use explanation::{
    ALL, ClassDifference, ClassRecord, ExplainedEnd, ExplainedPath, Explanation, FigureRecord,
};
pub use hosts::{HostRecord, HostsRecord};
pub use judged::{ALPHA, Paired};
pub use lab::LabRecord;
pub use ledger::LedgerRecord;
pub use load::{BadLoad, Load};
pub use load_curve::{
    LatenessRecord, LoadComparison, LoadCurve, LoadMetric, LoadPoint, LoadState, QuantileRecord, load_text,
    pinned_text, rate_text,
};
pub use measured::{CANNOT_TELL, DELAYS, LIMITED_BY_RELAY, NEVER_RELEASED, THROTTLED};
pub use message_size::{MessageSize, WorkloadName};
pub use model::{AskedMessage, CostModel, MISS_TOLERATED, ModelCell, ModelEnd, PathModel};
pub use named::Named;
pub use read::{LARGEST, few_cells};
pub use workload::{ClassCost, ClassShares, WorkloadRecord};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// All that one run of the command has measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`]
    pub schema: u32,
    /// What holds for all records.
    pub conditions: Conditions,
    /// What the messages were if they were not all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRecord>,
    /// One for each path and cell.
    pub records: Vec<Record>,
    /// Paths and cells that could not be measured, and why.
    #[serde(default)]
    pub failures: Vec<CellFailure>,
    /// Comparisons of paths with the reference path.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// Sizes from which one path beats another.
    #[serde(default)]
    pub crossovers: Vec<Crossover>,
    /// Paths under loads that did not wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_curves: Vec<LoadCurve>,
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
    /// The size of the messages.
    #[serde(flatten)]
    pub size: MessageSize,
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
    /// What the kernel reported; null for a path that returns released memory at once.
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
    /// With a workload: what each size of message cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassCost>,
    /// What distorts this record.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// As many hosts as received before there could be more.
fn one() -> usize {
    1
}

/// A path in a cell that could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellFailure {
    /// The send path.
    pub path: String,
    /// The size of the messages.
    #[serde(flatten)]
    pub size: MessageSize,
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
            workload: None,
            records: Vec::new(),
            failures: Vec::new(),
            comparisons: Vec::new(),
            crossovers: Vec::new(),
            load_curves: Vec::new(),
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
            && self.load_curves.is_empty()
            && self.explanations.is_empty()
            && self.models.is_empty()
    }
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
            && (self.size, self.clients) == (MessageSize::of(scenario), scenario.clients)
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
}
