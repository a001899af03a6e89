//! What a record says of cost: figures for each KiB and each message, and the reason for each that is missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::ContestantResult;
use copycost::cost::{Measured as Figure, Missing, ns_per_kib};
use copycost::internals::cost::counts::Counts;
use copycost::internals::cost::meter::Spent;
use copycost::internals::cost::pollution::Walk;
use copycost::internals::cost::wire::Wire;
use copycost::latency::Latencies;

/// Why figures are missing, by the figure's name.
pub type Reasons = BTreeMap<String, String>;

/// Service demand: CPU time for each KiB moved, softirq included where the scope says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuRecord {
    /// What the figures of the threads cover.
    pub scope: String,
    /// The server's threads; null where softirq is not in it, for a sender cannot be judged then.
    pub sender_ns_per_kib: Option<f64>,
    /// The clients' threads.
    pub receiver_ns_per_kib: Option<f64>,
    /// The whole process; over two hosts the one that receives.
    pub process_ns_per_kib: Option<f64>,
    /// The whole machine above its idle baseline; over two hosts the one that receives.
    pub system_ns_per_kib: Option<f64>,
    /// The kernel threads that work off what softirq puts aside.
    pub ksoftirqd_ns_per_kib: Option<f64>,
    /// Share of all CPU time that the hypervisor took.
    pub steal_percent: Option<f64>,
    /// Of the senders' time, what the kernel's tick found in user space.
    pub sender_user_percent: Option<f64>,
    /// Why the others are null.
    pub missing: Reasons,
}

/// Hardware and software counters of the threads that had them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CountersRecord {
    /// How far the hardware counts reach.
    pub scope: String,
    /// Threads counted at each end.
    pub threads: u32,
    /// Threads at each end.
    pub threads_of: usize,
    /// The senders' events, by perf's name.
    pub sender: BTreeMap<String, CountRecord>,
    /// The receivers' events.
    pub receiver: BTreeMap<String, CountRecord>,
    /// Why an event is null.
    pub missing: Reasons,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CountRecord {
    /// For each KiB moved by the threads counted.
    pub per_kib: Option<f64>,
    pub per_message: Option<f64>,
}

/// The shape on the wire, from TCP_INFO of the senders.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WireRecord {
    /// Segments with payload for each message.
    pub segments_per_message: Option<f64>,
    /// Payload of a segment.
    pub mean_segment_bytes: Option<f64>,
    /// Segments sent again.
    pub retransmits: Option<u64>,
    /// Sum over the connections, at the end.
    pub delivery_rate_bytes_per_second: Option<u64>,
    /// The longest of the connections, smoothed, at the end.
    pub rtt_us: Option<u64>,
    /// The shortest ever seen.
    pub min_rtt_us: Option<u64>,
    /// Why the others are null.
    pub missing: Reasons,
}

/// Message latency, from the ask to the last byte, over all clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyRecord {
    /// Messages measured.
    pub messages: u64,
    /// Half of them were as fast.
    pub p50: u64,
    /// 90 %
    pub p90: u64,
    /// 99 %
    pub p99: u64,
    /// 99.9 %
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

/// Cache pollution: a pointer chase between messages against the same chase without sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PollutionRecord {
    pub table_bytes: usize,
    /// Between messages.
    pub ns_per_access: f64,
    /// Before anything was sent.
    pub idle_ns_per_access: f64,
}

/// The value, or null and a reason under `name`.
pub(super) fn known<T>(figure: Figure<T>, name: &str, missing: &mut Reasons) -> Option<T> {
    figure.map_err(|reason| missing.insert(name.to_owned(), reason.to_string())).ok()
}

impl CpuRecord {
    pub(super) fn new(measured: &ContestantResult) -> Self {
        let sample = &measured.sample;
        let bytes = sample.sent;
        let mut missing = Reasons::new();
        let demand = |spent: &Spent| match spent.cpu {
            Some(cpu) => cpu.ns_per_kib(bytes),
            None => Err(Missing::NotMeasured),
        };
        let judged = sample.sender.cpu.is_none_or(|cpu| cpu.scope.covers_senders());
        let sender = demand(&sample.sender).map(|ns| judged.then_some(ns));
        if !judged {
            missing.insert("sender".to_owned(), "softirq is not in the thread's time".to_owned());
        }
        let process = sample.process.map_or(Err(Missing::NotMeasured), |cpu| cpu.ns_per_kib(bytes));
        let system = measured.system.clone();
        let above_idle = system.clone().and_then(|spent| ns_per_kib(spent.above_idle?, bytes));
        // The lab counts it over every turn, however short.
        let ksoftirqd = match &sample.relayed {
            Some(relayed) => relayed.ksoftirqd.clone(),
            None => system.clone().and_then(|spent| spent.ksoftirqd),
        };
        let ksoftirqd = ksoftirqd.and_then(|time| ns_per_kib(time, bytes));
        Self {
            scope: sample.sender.cpu.map_or_else(|| "none".to_owned(), |cpu| cpu.scope.to_string()),
            sender_ns_per_kib: known(sender, "sender", &mut missing).flatten(),
            receiver_ns_per_kib: known(demand(&sample.receiver), "receiver", &mut missing),
            process_ns_per_kib: known(process, "process", &mut missing),
            system_ns_per_kib: known(above_idle, "system", &mut missing),
            ksoftirqd_ns_per_kib: known(ksoftirqd, "ksoftirqd", &mut missing),
            steal_percent: system.ok().map(|spent| spent.steal_percent),
            sender_user_percent: sample.sender.user_share().map(|share| 100.0 * share),
            missing,
        }
    }
}

impl CountersRecord {
    /// `None` where no thread was counted.
    pub(super) fn new(measured: &ContestantResult, clients: usize) -> Option<Self> {
        let sample = &measured.sample;
        let (Some(sender), Some(receiver)) = (&sample.sender.counts, &sample.receiver.counts) else {
            return None;
        };
        let mut missing = Reasons::new();
        // Not all threads are counted, but every thread sends the same mix.
        let bytes_of = |messages: u64| {
            (u128::from(sample.sent) * u128::from(messages) / u128::from(sample.messages.max(1))) as u64
        };
        let mut side = |counts: &Counts, messages: u64| {
            let entry = |count: &copycost::internals::cost::counts::Count| {
                let per_kib = counts.per_kib(count.event, bytes_of(messages));
                let per_message = counts.per_message(count.event, messages).ok();
                let name = count.event.name();
                (name.to_owned(), CountRecord { per_kib: known(per_kib, name, &mut missing), per_message })
            };
            counts.counts.iter().map(entry).collect::<BTreeMap<_, _>>()
        };
        Some(Self {
            scope: sender.scope.clone().worst(receiver.scope.clone()).to_string(),
            threads: sender.threads,
            threads_of: clients,
            sender: side(sender, sample.sender.counted_messages),
            receiver: side(receiver, sample.receiver.counted_messages),
            missing,
        })
    }
}

impl WireRecord {
    pub(super) fn new(wire: &Wire, messages: u64) -> Self {
        let mut missing = Reasons::new();
        Self {
            segments_per_message: known(wire.segments_per_message(messages), "segments", &mut missing),
            mean_segment_bytes: known(wire.mean_segment_bytes(), "mean_segment_bytes", &mut missing),
            retransmits: known(wire.retransmits.clone(), "retransmits", &mut missing),
            delivery_rate_bytes_per_second: known(wire.delivery_rate.clone(), "delivery_rate", &mut missing),
            rtt_us: known(wire.rtt_us.clone(), "rtt", &mut missing),
            min_rtt_us: known(wire.min_rtt_us.clone(), "min_rtt", &mut missing),
            missing,
        }
    }
}

impl LatencyRecord {
    /// `None` without a message.
    pub(super) fn new(latency: &Latencies) -> Option<Self> {
        let at = |quantile| latency.quantile(quantile).map(|time| time.as_nanos() as u64);
        Some(Self {
            messages: latency.len(),
            p50: at(0.5)?,
            p90: at(0.9)?,
            p99: at(0.99)?,
            p999: at(0.999)?,
            max: latency.max()?.as_nanos() as u64,
        })
    }
}

impl PollutionRecord {
    /// `None` where nothing was walked.
    pub(super) fn new(table_bytes: usize, walk: Walk, idle: Walk) -> Option<Self> {
        let (ns_per_access, idle_ns_per_access) = (walk.ns_per_access().ok()?, idle.ns_per_access().ok()?);
        Some(Self { table_bytes, ns_per_access, idle_ns_per_access })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compare::cell::{Cell, SetUpEnd};
    use crate::compare::contestant::Contestant;
    use copycost::message::Spec;
    use copycost::rig::{Loopback, Work};
    use copycost::scenario::Scenario;
    use copycost::send;

    #[test]
    fn demand_is_the_ends_time_for_each_1024_bytes_of_the_whole_run() {
        const SIZE: usize = 5000;
        let path = send::by_name("onecopy").unwrap();
        let scenario = Scenario::new(path, Spec::new(SIZE).unwrap(), 2);
        let contestant = Contestant { name: path.name.to_owned(), scenario, site: Arc::new(Loopback) };
        let mut cell = Cell::new(vec![contestant], 1, None);
        for _ in 0..2 {
            assert_eq!(cell.set_up(2, Work::Rounds(50), &mut || true), SetUpEnd::Complete);
        }
        let (_, measured) = cell.finish(None, &mut |_| ()).pop().unwrap();
        let measured = measured.unwrap();
        let sample = &measured.sample;
        assert_eq!(sample.messages, 2 * 2 * 2 * 50);
        let record = CpuRecord::new(&measured);
        let kib = (400 * SIZE) as f64 / 1024.0;
        let spent = [sample.sender.cpu, sample.receiver.cpu, sample.process];
        let figures = [record.sender_ns_per_kib, record.receiver_ns_per_kib, record.process_ns_per_kib];
        for (spent, figure) in spent.iter().zip(figures) {
            // Where there is none, a reason stands in its place.
            let Some((spent, figure)) = spent.zip(figure) else { continue };
            let truth = spent.time.as_nanos() as f64 / kib;
            assert!(figure > 0.0 && (figure / truth - 1.0).abs() < 1e-9, "{figure} for {truth}");
        }
    }
}
