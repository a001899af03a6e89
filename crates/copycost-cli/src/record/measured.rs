//! From the measurement of a path in a cell to its record: the figures, what became of the bytes, what distorts it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    ClassCost, CountersRecord, CpuRecord, HostsRecord, LabRecord, LatencyRecord, LedgerRecord, MessageSize,
    PollutionRecord, Record, WireRecord, unrecorded,
};
use crate::compare::ContestantResult;
use crate::lab::Probed;
use copycost::internals::cgroup::throttle::Throttled;
use copycost::internals::cost::limiter::Limiter;
use copycost::rig::Sample;
use copycost::scenario::Scenario;
use copycost::send::{Copies, Release};

impl Record {
    /// The record of what one scenario came to.
    pub fn new(scenario: &Scenario, measured: &ContestantResult) -> Self {
        let ContestantResult { sample, .. } = measured;
        let spec = &scenario.spec;
        let reports = scenario.path.release == Release::OnCompletion;
        let (copies, reason) = sample.ledger.judged(measured.copied_because.as_deref());
        let (verdict, verdict_reason) = match &measured.probed {
            Some(probed) => judge(reports.then_some(copies), probed, reason.filter(|_| reports)),
            None => (reports.then_some(copies), reason.filter(|_| reports)),
        };
        Self {
            path: scenario.path.name.to_owned(),
            size: MessageSize::of(scenario),
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
            messages: messages_within(sample),
            bytes: sample.bytes,
            throughput_bytes_per_second: sample.throughput(),
            syscalls_per_message: sample.calls as f64 / sample.messages.max(1) as f64,
            ledger: reports.then(|| LedgerRecord::from(&sample.ledger)),
            verdict: verdict.map(|word| word.to_string()),
            verdict_reason,
            huge_share: measured.huge_share,
            cpu: CpuRecord::new(measured),
            counters: CountersRecord::new(measured, scenario.clients * measured.client_hosts),
            wire: sample.wire.as_ref().map(|wire| WireRecord::new(wire, sample.messages)),
            lab: LabRecord::new(measured),
            mapped_share: sample.mapped.and_then(|mapped| mapped.share()),
            mapped_reason: sample.mapped.and_then(|mapped| mapped.copy_reason()),
            limiter: measured.limiter.to_string(),
            ns_per_message: sample
                .time_of((spec.size * scenario.clients * measured.client_hosts) as u64)
                .map(|time| time.as_secs_f64() * 1e9),
            latency_ns: measured.latency.as_ref().and_then(LatencyRecord::new),
            pollution: scenario
                .pollution_table
                .and_then(|bytes| PollutionRecord::new(bytes, sample.walk, measured.idle_walk)),
            throttled: Some(sample.throttled).filter(|throttled| throttled.periods > 0),
            hosts: HostsRecord::new(measured),
            classes: ClassCost::all(scenario, sample),
            flags: flags(scenario, measured),
        }
    }
}

/// The messages that were received while the clock ran, as far as bytes tell.
fn messages_within(sample: &Sample) -> u64 {
    (u128::from(sample.bytes) * u128::from(sample.messages) / u128::from(sample.sent.max(1))) as u64
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

/// The flag of a path to which the kernel never reports that memory is free.
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
    // Under a load that does not wait, threads sleep between messages, and nothing is at its limit.
    let at_its_limit = sample.open_loop.is_none();
    // Two threads on one CPU take turns each time the buffer is full or empty: two switches a buffer.
    let enforced = 2.0 * scenario.spec.size as f64 / (applied.send_buffer as f64 / 2.0).max(1.0);
    if at_its_limit
        && scenario.placement == copycost::scenario::Placement::Paired
        && sample.switches_per_message() > SWITCHES_TOLERATED + enforced
    {
        flags.push("measures the scheduler: too many context switches for each message".to_owned());
    }
    if at_its_limit && !matches!(limiter, Limiter::Unknown(_)) && !limiter.distinguishes_paths() {
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

fn now() -> Option<u64> {
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs())
}
