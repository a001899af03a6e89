//! Paths under loads that did not wait: at each load the latencies, from the moment at which messages were due, and what
//! it took.

use serde::{Deserialize, Serialize};

use super::{CellFailure, FigureRecord, LedgerRecord, MessageSize, Named, Record, explanation};
use crate::compare::cell::ContestantFailure;
use crate::compare::contestant::Contestant;
use crate::compare::open_loop::{
    LoadedResult, OfferedLoad, OpenLoopCell, PathAtLoads, achieved, is_saturated, sender_ns_per_message,
};
use crate::stats::{self, Better, EVENTS_ABOVE, Estimate, EstimatedCell, Judgement, Mean, Pair, SetUpEvents};
use copycost::latency::Latencies;
use copycost::named_enum;
use copycost::rig::{Arrivals, OpenLoopSample};
use copycost::units::{ClientCount, significant, thousands};

/// The paths of one cell at every load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadCurve {
    /// The size of the messages.
    #[serde(flatten)]
    pub size: MessageSize,
    /// Clients, each with a connection of its own; where several hosts receive, of each host.
    pub clients: usize,
    /// How many hosts received.
    #[serde(default = "super::one")]
    pub client_hosts: usize,
    /// What lay between the ends, and the other settings of the cell, as in a record.
    pub settings: Vec<String>,
    /// How due times were spread: `poisson` or `fixed`.
    pub arrivals: String,
    /// The path whose saturation is the base of loads.
    pub reference: String,
    /// Messages a second, of all clients together, up to which the reference carried a load; null where rates were asked
    /// for.
    pub saturation_per_second: Option<f64>,
    /// One for each path at each load, by load.
    pub points: Vec<LoadPoint>,
    /// Each path beside its reference, at each load that both carried.
    #[serde(default)]
    pub comparisons: Vec<LoadComparison>,
}

/// One path at one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPoint {
    /// The send path.
    pub path: String,
    /// The share of the reference's saturation, 0.8 for 80 %; null where a rate was asked for.
    pub load: Option<f64>,
    /// Messages due a second, of all clients together.
    pub offered_per_second: f64,
    /// Messages received a second.
    pub achieved_per_second: f64,
    /// Messages that were due.
    pub due: u64,
    /// Messages of them that were received.
    pub received: u64,
    /// How many set-ups it rests on.
    pub setups: usize,
    /// `carried`; `saturated`, if less was received than was due; `invalid`, if messages were asked for too late.
    pub state: Named<LoadState>,
    /// Why it is not `carried`.
    #[serde(default)]
    pub reason: Option<String>,
    /// From the moment at which a message was due to its last byte. Empty unless `state` is `carried`.
    #[serde(default)]
    pub latency: Vec<QuantileRecord>,
    /// The slowest message, in ns; null unless `state` is `carried`.
    #[serde(default)]
    pub max_ns: Option<u64>,
    /// How late the generator asked for messages; their latencies include it.
    #[serde(default)]
    pub lateness: LatenessRecord,
    /// CPU time of the sender for each message, in ns, with its interval of 95 %.
    #[serde(default)]
    pub sender_ns_per_message: Option<FigureRecord>,
    /// Why that is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_missing: Option<String>,
    /// What the kernel reported; null for a path that returns released memory at once.
    #[serde(default)]
    pub ledger: Option<LedgerRecord>,
    /// What happened to the bytes of a path that asks for zero copy; null for others.
    #[serde(default)]
    pub verdict: Option<String>,
    /// Why, where that is known.
    #[serde(default)]
    pub verdict_reason: Option<String>,
    /// What distorts this point.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// A quantile of latencies over all set-ups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantileRecord {
    /// 0.999 for the latency that 99.9 % of the messages did not exceed.
    pub quantile: f64,
    /// The latency in ns; null where it is not known.
    pub ns: Option<u64>,
    /// The lower end of its interval of 95 %.
    #[serde(default)]
    pub low: Option<u64>,
    /// The upper end.
    #[serde(default)]
    pub high: Option<u64>,
    /// Why `ns` is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Quantiles of how late messages were asked for, in ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatenessRecord {
    /// Half of the messages.
    pub p50: u64,
    /// 99 %
    pub p99: u64,
    /// 99.9 %
    pub p999: u64,
    /// The latest.
    pub max: u64,
}

/// Whether a load was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// What was due was received.
    Carried,
    /// Less was received than was due.
    Saturated,
    /// The generator was too late, or nothing was measured.
    Invalid,
}

named_enum!(LoadState: Carried = "carried", Saturated = "saturated", Invalid = "invalid");

/// A path beside its reference at one load, by one figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadComparison {
    /// The send path.
    pub path: String,
    /// What it is compared with.
    pub reference: String,
    /// As in [`LoadPoint::load`].
    pub load: Option<f64>,
    /// As in [`LoadPoint::offered_per_second`].
    pub offered_per_second: f64,
    /// `p50`, `p90`, `p99`, `p99.9`, or `sender-cpu`.
    pub metric: Named<LoadMetric>,
    /// The path's figure for each of the reference's; null where it is not known.
    pub ratio: Option<f64>,
    /// The lower end of the interval.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// `faster` (the lower figure), `slower`, `equivalent` (within 2 %) or `undecided`.
    pub word: Named<Judgement>,
    /// Why it is undecided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A figure by which paths are compared at a load. Less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadMetric {
    /// The median latency.
    P50,
    /// The latency of 90 %.
    P90,
    /// The latency of 99 %.
    P99,
    /// The latency of 99.9 %.
    P999,
    /// CPU time of the sender for each message.
    SenderCpu,
}

named_enum!(LoadMetric: P50 = "p50", P90 = "p90", P99 = "p99", P999 = "p99.9", SenderCpu = "sender-cpu");

impl LoadMetric {
    /// The latencies, from the median to the tail.
    pub const QUANTILES: [Self; 4] = [Self::P50, Self::P90, Self::P99, Self::P999];

    /// The quantile, 0 to 1; `None` for CPU time.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P99 => Some(0.99),
            Self::P999 => Some(0.999),
            Self::SenderCpu => None,
        }
    }

    /// The name in tables.
    pub fn title(self) -> String {
        match self {
            Self::SenderCpu => "CPU time, sender".to_owned(),
            quantile => quantile.to_string(),
        }
    }
}

impl LoadPoint {
    /// The latency at a quantile, if it is known.
    pub fn latency_at(&self, quantile: f64) -> Option<&QuantileRecord> {
        self.latency.iter().find(|record| (record.quantile - quantile).abs() < 1e-9 && record.ns.is_some())
    }

    /// `80 %`, or the messages a second.
    pub fn load_text(&self) -> String {
        load_text(self.load, self.offered_per_second)
    }
}

/// `80 %`, or `20,000/s`.
pub fn load_text(load: Option<f64>, offered_per_second: f64) -> String {
    match load {
        Some(share) => format!("{} %", (1000.0 * share).round() / 10.0),
        None => format!("{}/s", rate_text(offered_per_second)),
    }
}

/// `43,200`, `1.5`
pub fn rate_text(per_second: f64) -> String {
    if per_second < 10.0 { significant(per_second) } else { thousands(per_second.round() as u64) }
}

/// `17.1 KiB`: bytes with three digits.
pub fn pinned_text(bytes: u64) -> String {
    let (scale, unit) = match bytes {
        0..1024 => (1.0, "B"),
        1024..1_048_576 => (1024.0, "KiB"),
        _ => (1_048_576.0, "MiB"),
    };
    let value = bytes as f64 / scale;
    let value = if value.fract() == 0.0 { value.to_string() } else { significant(value) };
    format!("{value} {unit}")
}

impl LoadCurve {
    /// `64 KiB, 1 client`, and of several hosts `on each of 2 hosts`.
    pub fn cell(&self) -> String {
        let hosts = match self.client_hosts {
            0 | 1 => String::new(),
            hosts => format!(" on each of {hosts} hosts"),
        };
        format!("{}, {}{hosts}", self.size, ClientCount(self.clients))
    }

    /// The points of a path, by load.
    pub fn of_path<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a LoadPoint> {
        self.points.iter().filter(move |point| point.path == path)
    }

    /// The paths in the order in which they were measured.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = Vec::new();
        for point in &self.points {
            if !paths.contains(&point.path.as_str()) {
                paths.push(&point.path);
            }
        }
        paths
    }

    /// The loads in ascending order, as the offered messages a second.
    pub fn loads(&self) -> Vec<f64> {
        let mut loads: Vec<f64> = self.points.iter().map(|point| point.offered_per_second).collect();
        loads.sort_by(f64::total_cmp);
        loads.dedup();
        loads
    }

    /// The curve of `cell`, and the paths that failed. `pairs` are compared, as indices of a path and its reference.
    /// `saturation` is in messages a second for each client. All comparisons together err with probability `alpha`.
    pub fn new(
        cell: OpenLoopCell,
        arrivals: Arrivals,
        reference: &str,
        saturation: Option<f64>,
        pairs: &[(usize, usize)],
        alpha: f64,
    ) -> (Self, Vec<CellFailure>) {
        let (loads, paths) = cell.finish();
        let Some((first, _)) = paths.first() else { return (Self::default(), Vec::new()) };
        let (scenario, site) = (&first.scenario, &first.site);
        let hosts = site.client_hosts().max(1);
        let connections = (scenario.clients * hosts) as f64;
        let mut curve = Self {
            size: MessageSize::of(scenario),
            clients: scenario.clients,
            client_hosts: hosts,
            settings: explanation::cell_settings(scenario, &**site),
            arrivals: arrivals.to_string(),
            reference: reference.to_owned(),
            saturation_per_second: saturation.map(|rate| rate * connections),
            points: Vec::new(),
            comparisons: Vec::new(),
        };
        let failures = paths.iter().filter_map(|(contestant, result)| {
            Some(CellFailure {
                path: contestant.name.clone(),
                size: curve.size,
                clients: curve.clients,
                client_hosts: hosts,
                error: result.as_ref().err().map(ContestantFailure::to_string)?,
            })
        });
        let failures: Vec<_> = failures.collect();
        let mut compared = Vec::new();
        for (place, load) in loads.iter().enumerate() {
            let at = |(contestant, result): &PathAtLoads| {
                let loaded = result.as_ref().ok()?.get(place)?;
                Some(MeasuredPoint::new(contestant, load, connections, loaded))
            };
            let points: Vec<Option<MeasuredPoint>> = paths.iter().map(at).collect();
            for &(path, reference) in pairs {
                if let (Some(path), Some(reference)) = (&points[path], &points[reference]) {
                    compared.extend(path.beside(reference));
                }
            }
            curve.points.extend(points.into_iter().flatten().map(|point| point.record));
        }
        curve.comparisons = judged(compared, alpha);
        (curve, failures)
    }
}

/// A point, with what its comparisons are made of.
struct MeasuredPoint {
    record: LoadPoint,
    latencies: SetUpEvents,
    /// Of each set-up.
    sender: Option<Vec<f64>>,
}

/// A comparison before it is judged with all others.
type Compared = (LoadComparison, EstimatedCell);

impl MeasuredPoint {
    fn new(contestant: &Contestant, load: &OfferedLoad, connections: f64, loaded: &LoadedResult) -> Self {
        let scenario = &contestant.scenario;
        // A record has what an open loop has in common with every other measurement.
        let Record { ledger, verdict, verdict_reason, flags, .. } = Record::new(scenario, &loaded.whole);
        let (latencies, run) = (SetUpEvents::new(&loaded.latencies()), loaded.open_loop());
        let offered = load.per_client * connections;
        let (state, reason) = state(&run, &latencies, offered);
        let carried = state == LoadState::Carried;
        let sender: Result<Vec<f64>, String> = loaded
            .setups
            .iter()
            .map(|sample| sender_ns_per_message(sample).map_err(|missing| missing.to_string()))
            .collect();
        let quantiles = || LoadMetric::QUANTILES.iter().filter_map(|metric| metric.quantile());
        let record = LoadPoint {
            path: contestant.name.clone(),
            load: load.share,
            offered_per_second: offered,
            achieved_per_second: achieved(&run),
            due: run.due,
            received: run.received,
            setups: loaded.setups.len(),
            state: Named::Known(state),
            reason,
            latency: match carried {
                true => quantiles().map(|q| quantile(&latencies, &run.lateness, q)).collect(),
                false => Vec::new(),
            },
            max_ns: latencies.max().filter(|_| carried),
            lateness: LatenessRecord::of(&run.lateness),
            sender_ns_per_message: sender.as_ref().ok().and_then(|values| mean(values)),
            sender_missing: sender.as_ref().err().cloned(),
            ledger,
            verdict,
            verdict_reason,
            flags,
        };
        Self { record, latencies, sender: sender.ok() }
    }

    /// This path beside `reference` by every figure that both have.
    fn beside(&self, reference: &Self) -> Vec<Compared> {
        let carried = |point: &Self| point.record.state.is(LoadState::Carried);
        if !carried(self) || !carried(reference) {
            return Vec::new();
        }
        let setups = self.record.setups.min(reference.record.setups);
        let compared = |metric: LoadMetric, estimate: Result<Estimate, stats::Unusable>| {
            let comparison = LoadComparison {
                path: self.record.path.clone(),
                reference: reference.record.path.clone(),
                load: self.record.load,
                offered_per_second: self.record.offered_per_second,
                metric: Named::Known(metric),
                ratio: None,
                low: None,
                high: None,
                word: Named::Known(Judgement::Undecided),
                note: None,
            };
            (comparison, EstimatedCell { estimate, better: Better::Lower, setups })
        };
        let of_quantile = |metric: &LoadMetric| {
            let quantile = metric.quantile()?;
            // Not where the generator made the tail.
            self.record.latency_at(quantile).and(reference.record.latency_at(quantile))?;
            Some(compared(*metric, self.latencies.ratio(&reference.latencies, quantile)?))
        };
        let mut all: Vec<_> = LoadMetric::QUANTILES.iter().filter_map(of_quantile).collect();
        if let (Some(path), Some(reference)) = (&self.sender, &reference.sender) {
            let pair = |(path, reference): (&f64, &f64)| Pair { path: *path, reference: *reference };
            let pairs: Vec<_> = path.iter().zip(reference).map(pair).collect();
            all.push(compared(LoadMetric::SenderCpu, Estimate::new(&pairs)));
        }
        all
    }
}

fn judged(compared: Vec<Compared>, alpha: f64) -> Vec<LoadComparison> {
    let cells: Vec<_> = compared.iter().map(|(_, cell)| *cell).collect();
    let judged = stats::judge_estimates(&cells, alpha);
    let with = |((comparison, _), judged): (Compared, stats::JudgedCell)| {
        let interval = judged.interval.ok();
        LoadComparison {
            ratio: interval.map(|interval| interval.ratio),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            word: Named::Known(judged.judgement),
            note: judged.why_undecided(),
            ..comparison
        }
    };
    compared.into_iter().zip(judged).map(with).collect()
}

/// A later generator than this share of the median latency spoils a point.
const LATENESS_TOLERATED: f64 = 0.1;

/// Whether the load was carried, and why not.
fn state(run: &OpenLoopSample, latencies: &SetUpEvents, offered: f64) -> (LoadState, Option<String>) {
    if run.due == 0 || latencies.is_empty() {
        let reason = "no message was due in the measured time: raise --seconds or the rate";
        return (LoadState::Invalid, Some(reason.to_owned()));
    }
    if is_saturated(run, offered) {
        let reason =
            format!("{} messages a second of {} arrived", rate_text(achieved(run)), rate_text(offered));
        return (LoadState::Saturated, Some(reason));
    }
    // So few messages have no median, and no latency that could be spoilt.
    let Some(median) = latencies.quantile(0.5) else { return (LoadState::Carried, None) };
    let late = ns_at(&run.lateness, 0.5);
    if late as f64 > LATENESS_TOLERATED * median as f64 || is_of_generator(median, &run.lateness, 0.5) {
        let us = |ns: u64| significant(ns as f64 / 1e3);
        let reason = format!(
            "the median latency is {} µs, but the generator was late itself by {} µs (median), {} µs (a quarter of the \
             messages): its CPU is not free",
            us(median),
            us(late),
            us(ns_at(&run.lateness, 0.75))
        );
        return (LoadState::Invalid, Some(reason));
    }
    (LoadState::Carried, None)
}

fn ns_at(latencies: &Latencies, quantile: f64) -> u64 {
    latencies.quantile(quantile).map_or(0, |at| at.as_nanos() as u64)
}

/// Whether the generator may have made half of the messages above a quantile of `ns`: they were asked for so late that
/// this is half of their latency and more.
fn is_of_generator(ns: u64, lateness: &Latencies, quantile: f64) -> bool {
    2 * ns_at(lateness, 1.0 - (1.0 - quantile) / 2.0) > ns
}

/// A quantile, unless too few messages lie above it, or the generator's lateness may have made half of those.
fn quantile(latencies: &SetUpEvents, lateness: &Latencies, quantile: f64) -> QuantileRecord {
    let missing = |why: String| QuantileRecord { quantile, missing: Some(why), ..QuantileRecord::default() };
    let Some(ns) = latencies.quantile(quantile) else {
        let needed = (EVENTS_ABOVE as f64 / (1.0 - quantile)).round() as u64;
        let (needed, had) = (thousands(needed), thousands(latencies.len()));
        return missing(format!("it takes {needed} messages, and there were {had}"));
    };
    if is_of_generator(ns, lateness, quantile) {
        return missing("the generator was as late: its CPU is not free".to_owned());
    }
    let interval =
        latencies.estimate(quantile).and_then(Result::ok).map(|found| found.interval(super::ALPHA));
    QuantileRecord {
        quantile,
        ns: Some(ns),
        low: interval.map(|interval| interval.low.round() as u64),
        high: interval.map(|interval| interval.high.round() as u64),
        missing: None,
    }
}

fn mean(values: &[f64]) -> Option<FigureRecord> {
    let interval = Mean::of(values).ok().map(|mean| mean.interval(super::ALPHA)).unzip();
    let value = values.iter().sum::<f64>() / values.len() as f64;
    value.is_finite().then_some(FigureRecord { value, low: interval.0, high: interval.1 })
}

impl LatenessRecord {
    fn of(lateness: &Latencies) -> Self {
        let at = |quantile| ns_at(lateness, quantile);
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const US: u64 = 1000;

    fn events(ns: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        ns.into_iter().for_each(|ns| latencies.record(Duration::from_nanos(ns)));
        latencies
    }

    /// A second with 1000 messages, asked for late by `late`.
    fn run(late: Latencies) -> OpenLoopSample {
        let elapsed = Duration::from_secs(1);
        OpenLoopSample { due: 1000, received: 1000, elapsed, lateness: late, overloaded: false }
    }

    #[test]
    fn a_load_is_carried_saturated_or_invalid() {
        let latencies = SetUpEvents::new(&[events((0..1000).map(|i| 100 * US + i))]);
        let of = |run: &OpenLoopSample, offered| {
            let (state, reason) = state(run, &latencies, offered);
            assert_eq!(reason.is_none(), state == LoadState::Carried, "{reason:?}");
            state
        };
        let punctual = run(events([50; 1000]));
        assert_eq!(of(&punctual, 1000.0), LoadState::Carried);
        assert_eq!(of(&punctual, 1030.0), LoadState::Carried);
        assert_eq!(of(&punctual, 1040.0), LoadState::Saturated);
        assert_eq!(
            of(&OpenLoopSample { overloaded: true, ..punctual.clone() }, 1000.0),
            LoadState::Saturated
        );
        assert_eq!(of(&OpenLoopSample { due: 0, ..punctual.clone() }, 1.0), LoadState::Invalid);
        // Half of the messages were asked for a tenth of the median too late, or a quarter by half of it.
        assert_eq!(of(&run(events([9 * US; 1000])), 1000.0), LoadState::Carried);
        assert_eq!(of(&run(events([11 * US; 1000])), 1000.0), LoadState::Invalid);
        let some = |late| run(events((0..1000).map(|i| if i < 300 { late } else { 50 })));
        assert_eq!(of(&some(40 * US), 1000.0), LoadState::Carried);
        assert_eq!(of(&some(60 * US), 1000.0), LoadState::Invalid);
        // Few messages have no median.
        let few = SetUpEvents::new(&[events([100 * US; 10])]);
        assert_eq!(state(&run(events([90 * US; 10])), &few, 1000.0).0, LoadState::Carried);
    }

    #[test]
    fn a_tail_is_not_shown_where_the_generator_may_have_made_it() {
        let latencies =
            SetUpEvents::new(&[events((0..20_000).map(|i| if i < 19_000 { 50 * US } else { 900 * US }))]);
        let of = |late: Latencies, at: f64| quantile(&latencies, &late, at);
        let punctual = events([50; 20_000]);
        assert_eq!(of(punctual.clone(), 0.99).ns.map(|ns| ns / US / 10), Some(90));
        let too_few = of(punctual, 0.999);
        assert_eq!(too_few.missing.as_deref(), Some("it takes 100,000 messages, and there were 20,000"));
        // Of the 200 messages above p99, 100 may be late because they were asked for late.
        let late = |messages| events((0..20_000).map(|i| if i < messages { 800 * US } else { 50 }));
        assert!(of(late(90), 0.99).ns.is_some());
        assert!(of(late(110), 0.99).missing.unwrap().contains("the generator"));
        assert!(of(late(110), 0.5).ns.is_some());
    }

    #[test]
    fn loads_and_sizes_are_short() {
        assert_eq!(load_text(Some(0.8), 1.0), "80 %");
        assert_eq!(load_text(Some(0.125), 1.0), "12.5 %");
        assert_eq!(load_text(None, 20_000.4), "20,000/s");
        assert_eq!(load_text(None, 2.5), "2.50/s");
        assert_eq!([17_512, 2048, 3 << 20, 100].map(pinned_text), ["17.1 KiB", "2 KiB", "3 MiB", "100 B"]);
    }
}
