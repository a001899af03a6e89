//! The metrics of a report: their units, which direction is better, and where a record holds them.

use crate::compare::metric::Metric as Compared;
use crate::record::Record;

/// A value with its uncertainty or its spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordFigure {
    /// The value, in the metric's unit.
    pub value: f64,
    /// The lower and the upper end. Their meaning depends on the metric and on the source; `None` if unknown.
    pub interval: Option<(f64, f64)>,
}

impl RecordFigure {
    /// A value without an interval.
    pub const fn plain(value: f64) -> Self {
        Self { value, interval: None }
    }
}

/// A measured quantity of one path in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordMetric {
    /// Bytes per second that the clients received.
    Throughput,
    /// CPU time of the server's threads.
    SenderDemand,
    /// CPU time of the clients' threads.
    ReceiverDemand,
    /// The sum of both; Criterion's groups `{path}-cpu` hold only this.
    BothDemand,
    /// In the lab: sender, receiver, relay and ksoftirqd together.
    LabSum,
    /// CPU time of the whole machine beyond its idle baseline.
    SystemDemand,
    /// Median message latency; the interval reaches from it to the 99th percentile.
    LatencyMedian,
    /// Mean message latency; Criterion's groups `{path}-latency` hold only this.
    LatencyMean,
    /// CPU cycles of both ends.
    CyclesPerByte,
    /// Misses of the first-level data cache, both ends.
    FirstLevelMisses,
    /// Misses of the last-level cache, both ends.
    LastLevelMisses,
    /// Context switches per message, voluntary and involuntary, of both ends.
    Switches,
}

/// The metric of a record that corresponds to the metric of a comparison.
impl From<Compared> for RecordMetric {
    fn from(metric: Compared) -> Self {
        match metric {
            Compared::Throughput => Self::Throughput,
            Compared::Demand => Self::BothDemand,
            Compared::SenderDemand => Self::SenderDemand,
        }
    }
}

impl RecordMetric {
    /// The name and the unit, for an axis.
    pub fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput, GB/s",
            Self::SenderDemand => "sender's CPU time, ns/KiB",
            Self::ReceiverDemand => "receiver's CPU time, ns/KiB",
            Self::BothDemand => "CPU time of both ends, ns/KiB",
            Self::LabSum => "CPU time of the ends, the relay and ksoftirqd, ns/KiB",
            Self::SystemDemand => "CPU time of the system, ns/KiB",
            Self::LatencyMedian => "median latency, µs",
            Self::LatencyMean => "mean latency, µs",
            Self::CyclesPerByte => "CPU cycles per byte, both ends",
            Self::FirstLevelMisses => "L1 data-cache misses per KiB, both ends",
            Self::LastLevelMisses => "last-level misses per KiB, both ends",
            Self::Switches => "context switches per message",
        }
    }

    /// Whether a higher value is better.
    pub fn more_is_better(self) -> bool {
        self == Self::Throughput
    }

    /// The figure in `record`; `None` if it has none.
    pub fn of(self, record: &Record) -> Option<RecordFigure> {
        let both = |name| per_kib(record, &[name]);
        let value = match self {
            Self::Throughput => Some(record.throughput_bytes_per_second / 1e9),
            Self::SenderDemand => record.cpu.sender_ns_per_kib,
            Self::ReceiverDemand => record.cpu.receiver_ns_per_kib,
            Self::BothDemand => {
                record.cpu.sender_ns_per_kib.zip(record.cpu.receiver_ns_per_kib).map(|(s, r)| s + r)
            }
            Self::LabSum => record.lab.as_ref()?.sum_ns_per_kib,
            Self::SystemDemand => record.cpu.system_ns_per_kib,
            Self::LatencyMedian => {
                let latency = record.latency_ns?;
                let (p50, p99) = (latency.p50 as f64 / 1e3, latency.p99 as f64 / 1e3);
                return finite(RecordFigure { value: p50, interval: Some((p50, p99)) });
            }
            Self::LatencyMean => None,
            Self::CyclesPerByte => both("cycles").map(|cycles| cycles / 1024.0),
            Self::FirstLevelMisses => both("L1-dcache-load-misses"),
            Self::LastLevelMisses => per_kib(record, &["cache-misses", "LLC-load-misses"]),
            Self::Switches => Some(record.context_switches_per_message),
        };
        finite(RecordFigure::plain(value?))
    }
}

/// Rejects figures that cannot be drawn: a file may hold any number.
fn finite(figure: RecordFigure) -> Option<RecordFigure> {
    let ends = figure.interval.unwrap_or((figure.value, figure.value));
    [figure.value, ends.0, ends.1].iter().all(|value| value.is_finite() && *value >= 0.0).then_some(figure)
}

/// The count per KiB over both ends, of the first event that both counted.
fn per_kib(record: &Record, events: &[&str]) -> Option<f64> {
    let counters = record.counters.as_ref()?;
    events.iter().find_map(|event| {
        let of = |side: &std::collections::BTreeMap<String, crate::record::CountRecord>| {
            side.get(*event).and_then(|count| count.per_kib)
        };
        of(&counters.sender).zip(of(&counters.receiver)).map(|(sender, receiver)| sender + receiver)
    })
}
