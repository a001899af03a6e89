//! The result of one run.

use std::time::Duration;

use crate::cgroup::throttle::Throttled;
use crate::cost::class_times::ClassTimes;
use crate::cost::cpu::CpuSpent;
use crate::cost::meter::Spent;
use crate::cost::pollution::Walk;
use crate::cost::relayed::RelayCost;
use crate::cost::wire::Wire;
use crate::latency::Latencies;
use crate::recv::Mapped;
use crate::send::Ledger;

/// The result of one run.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    /// Bytes received while the clock ran.
    pub bytes: u64,
    /// The time on the clock.
    pub elapsed: Duration,
    /// Messages sent in the whole run, including those outside the clock.
    pub messages: u64,
    /// The bytes of these messages.
    #[serde(default)]
    pub sent: u64,
    /// The cost of the server's threads over the whole run, from the first request to the end of the drain.
    pub sender: Spent,
    /// The cost of the clients' threads over the whole run.
    pub receiver: Spent,
    /// The CPU time of the whole process over the whole run, including that of the generator of an open loop.
    pub process: Option<CpuSpent>,
    /// The cost of the relay between the ends, if there is one.
    #[serde(skip)]
    pub relayed: Option<RelayCost>,
    /// The time from the start of the run to the last report of an end.
    pub wall: Duration,
    /// The segments on the wire, over all connections.
    pub wire: Option<Wire>,
    /// The pointer chase between messages, if requested.
    pub walk: Walk,
    /// System calls of the senders over the whole run.
    pub calls: u64,
    /// What the kernel reported to the senders over the whole run.
    pub ledger: Ledger,
    /// The longest drain of a sender.
    pub drain: Duration,
    /// The latency of each message, for [`super::Work::Single`] and [`super::Work::OpenLoop`].
    #[serde(with = "crate::latency::v2")]
    pub latency: Latencies,
    /// What the clients received without a copy over the whole run, with a receive path that tries.
    pub mapped: Option<Mapped>,
    /// How often control groups stopped an end over the whole run. The end that was stopped more often
    /// counts.
    #[serde(default)]
    pub throttled: Throttled,
    /// With a workload: the time in the calls, by group of classes.
    #[serde(default)]
    pub classes: ClassTimes,
    /// For [`super::Work::OpenLoop`]: what was due and how late the generator was. The generator's thread is no part
    /// of [`Sample::sender`] and [`Sample::receiver`].
    #[serde(default)]
    pub open_loop: Option<OpenLoopSample>,
    /// If several hosts receive: the part of each host, in the order of their ranks.
    #[serde(skip)]
    pub hosts: Vec<HostShare>,
}

/// What an open loop was to deliver and what it delivered.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct OpenLoopSample {
    /// Messages that were due.
    pub due: u64,
    /// Those of them that were asked for and received. Only an overloaded run receives fewer than were due.
    pub received: u64,
    /// The time from the first due time to the end of the last message. Of several runs it is the sum.
    pub elapsed: Duration,
    /// How late the generator came to each message that was due. The latencies include it.
    #[serde(with = "crate::latency::v2")]
    pub lateness: Latencies,
    /// The load could not be carried: more messages of a client were outstanding than are due in a second (and at
    /// least 1000), or requests still waited one second after the last message was due. The run ended early, and its
    /// latencies depend on its length. A short run can be too short to notice: then `elapsed` is longer than the load.
    pub overloaded: bool,
}

impl OpenLoopSample {
    /// Adds the sample of other clients in the same run.
    pub fn merge_parallel(&mut self, other: &Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.count(other);
    }

    /// Adds another run of the same load.
    pub fn merge_sequential(&mut self, other: &Self) {
        self.elapsed += other.elapsed;
        self.count(other);
    }

    fn count(&mut self, other: &Self) {
        self.due += other.due;
        self.received += other.received;
        self.lateness.add(&other.lateness);
        self.overloaded |= other.overloaded;
    }
}

/// Adds `other`, if there is one, by `merge`.
fn merge_open_loop(
    sum: &mut Option<OpenLoopSample>,
    other: &Option<OpenLoopSample>,
    merge: fn(&mut OpenLoopSample, &OpenLoopSample),
) {
    match (&mut *sum, other) {
        (Some(sum), Some(other)) => merge(sum, other),
        (None, Some(other)) => *sum = Some(other.clone()),
        (_, None) => {}
    }
}

/// The part of one client host in a run of several.
#[derive(Debug, Clone)]
pub struct HostShare {
    /// Its number in the job.
    pub rank: usize,
    /// Its name.
    pub name: String,
    /// Bytes received while its clock ran.
    pub bytes: u64,
    /// The time on its clock.
    pub elapsed: Duration,
    /// Messages it received in the whole run.
    pub messages: u64,
    /// The bytes of these messages.
    pub sent: u64,
    /// The cost of its clients' threads over the whole run.
    pub receiver: Spent,
    /// The latency of each message, for [`super::Work::Single`].
    pub latency: Latencies,
    /// An upper bound of how long after the first host its clock started, as far as the hosts' clocks can be
    /// compared.
    pub late: Duration,
}

impl Sample {
    /// A sample without data.
    pub fn empty() -> Self {
        Self {
            bytes: 0,
            elapsed: Duration::ZERO,
            messages: 0,
            sent: 0,
            classes: ClassTimes::default(),
            sender: Spent::default(),
            receiver: Spent::default(),
            process: None,
            relayed: None,
            wall: Duration::ZERO,
            wire: None,
            walk: Walk::default(),
            calls: 0,
            ledger: Ledger::default(),
            drain: Duration::ZERO,
            latency: Latencies::default(),
            mapped: None,
            throttled: Throttled::default(),
            open_loop: None,
            hosts: Vec::new(),
        }
    }

    /// Adds the sample of other clients in the same run, on another host with its own clock. The new elapsed
    /// time is the time in which all together would receive their bytes at the sum of their rates.
    pub fn merge_parallel(&mut self, other: &Self) {
        let parts = [(self.bytes, self.elapsed), (other.bytes, other.elapsed)];
        self.elapsed = together(parts.into_iter()).unwrap_or(self.elapsed.max(other.elapsed));
        self.sender.merge_parallel(&other.sender);
        self.receiver.merge_parallel(&other.receiver);
        self.process = None;
        self.wall = self.wall.max(other.wall);
        self.wire = match (self.wire.take(), other.wire.clone()) {
            (Some(a), Some(b)) => Some(a.merge_parallel(b)),
            (a, b) => a.or(b),
        };
        self.throttled = self.throttled.worse(other.throttled);
        merge_open_loop(&mut self.open_loop, &other.open_loop, OpenLoopSample::merge_parallel);
        self.count(other);
    }

    /// Adds another run of the same scenario.
    pub fn merge_sequential(&mut self, other: &Self) {
        self.elapsed += other.elapsed;
        self.sender.merge_sequential(&other.sender);
        self.receiver.merge_sequential(&other.receiver);
        self.process = self.process.zip(other.process).map(|(a, b)| a.merge_parallel(b));
        match (&mut self.relayed, &other.relayed) {
            (Some(sum), Some(other)) => sum.add(other),
            (sum, other) => *sum = sum.take().or_else(|| other.clone()),
        }
        self.wall += other.wall;
        self.throttled = self.throttled + other.throttled;
        self.wire =
            self.wire.take().zip(other.wire.clone()).map(|(earlier, later)| earlier.merge_sequential(later));
        merge_open_loop(&mut self.open_loop, &other.open_loop, OpenLoopSample::merge_sequential);
        self.count(other);
        if self.hosts.is_empty() {
            self.hosts.clone_from(&other.hosts);
        } else {
            self.hosts.iter_mut().zip(&other.hosts).for_each(|(sum, host)| sum.add(host));
            // The windows of a busy host can be longer than those of others, differently in each run. So the
            // rate of all is the sum of the hosts' rates over all runs.
            let parts = self.hosts.iter().map(|host| (host.bytes, host.elapsed));
            self.elapsed = together(parts).unwrap_or(self.elapsed);
        }
    }

    /// Adds the fields that add up in the same way for parallel and sequential runs.
    fn count(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.sent += other.sent;
        self.classes.add(&other.classes);
        self.walk += other.walk;
        self.calls += other.calls;
        self.ledger.add(&other.ledger);
        self.drain = self.drain.max(other.drain);
        self.latency.add(&other.latency);
        self.add_mapped(other.mapped);
    }

    pub(super) fn add_mapped(&mut self, other: Option<Mapped>) {
        self.mapped = match (self.mapped, other) {
            (Some(a), Some(b)) => Some(a.and(&b)),
            (a, b) => a.or(b),
        };
    }

    /// Bytes per second.
    pub fn throughput(&self) -> f64 {
        rate(self.bytes, self.elapsed)
    }

    /// The time that `bytes` take at this sample's rate; `None` if nothing arrived.
    pub fn time_of(&self, bytes: u64) -> Option<Duration> {
        let seconds = self.elapsed.as_secs_f64() * bytes as f64 / self.bytes as f64;
        (self.bytes > 0).then(|| Duration::from_secs_f64(seconds))
    }

    /// Context switches of all threads for each message.
    pub fn switches_per_message(&self) -> f64 {
        (self.sender.usage.switches() + self.receiver.usage.switches()) as f64 / self.messages.max(1) as f64
    }
}

impl HostShare {
    /// The part of the host with this rank and name, whose sample is `sample`.
    pub fn of(rank: usize, name: &str, sample: &Sample, late: Duration) -> Self {
        Self {
            rank,
            name: name.to_owned(),
            bytes: sample.bytes,
            elapsed: sample.elapsed,
            messages: sample.messages,
            sent: sample.sent,
            receiver: sample.receiver.clone(),
            latency: sample.latency.clone(),
            late,
        }
    }

    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.elapsed += other.elapsed;
        self.messages += other.messages;
        self.sent += other.sent;
        self.receiver.merge_sequential(&other.receiver);
        self.latency.add(&other.latency);
        self.late = self.late.max(other.late);
    }
}

/// Bytes per second.
fn rate(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The time in which all receivers together, each with its own bytes and time, receive as much at the sum of
/// their rates. `None` if they received nothing.
fn together(parts: impl Iterator<Item = (u64, Duration)>) -> Option<Duration> {
    let sum = |(bytes, rates), (more, elapsed)| (bytes + more, rates + rate(more, elapsed));
    let (bytes, rates) = parts.fold((0, 0.0), sum);
    (bytes > 0).then(|| Duration::from_secs_f64(bytes as f64 / rates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::cpu::CpuScope;

    #[test]
    fn both_ends_add_up() {
        let spent = |milliseconds| {
            let time = Duration::from_millis(milliseconds);
            Spent { cpu: Some(CpuSpent { time, scope: CpuScope::TaskClock }), ..Spent::default() }
        };
        let run =
            |sender, receiver| Sample { sender: spent(sender), receiver: spent(receiver), ..Sample::empty() };
        let joins: [fn(&mut Sample, &Sample); 2] = [Sample::merge_sequential, Sample::merge_parallel];
        for join in joins {
            let mut both = run(1, 20);
            join(&mut both, &run(300, 4000));
            let times = [&both.sender, &both.receiver].map(|end| end.cpu_time().as_millis());
            assert_eq!(times, [301, 4020]);
        }
    }

    #[test]
    fn open_loops_add_up() {
        let open_loop = |due, seconds, overloaded| {
            let mut lateness = Latencies::default();
            lateness.record(Duration::from_micros(due));
            let elapsed = Duration::from_secs(seconds);
            let sum = OpenLoopSample { due, received: due - 1, elapsed, lateness, overloaded };
            Sample { open_loop: Some(sum), ..Sample::empty() }
        };
        let (mut parallel, mut sequential) = (open_loop(5, 2, false), Sample::empty());
        parallel.merge_parallel(&open_loop(7, 3, true));
        for part in [open_loop(5, 2, false), Sample::empty(), open_loop(7, 3, false)] {
            sequential.merge_sequential(&part);
        }
        let of = |sample: &Sample| {
            let sum = sample.open_loop.clone().unwrap();
            (sum.due, sum.received, sum.elapsed.as_secs(), sum.lateness.len(), sum.overloaded)
        };
        assert_eq!((of(&parallel), of(&sequential)), ((12, 10, 3, 2, true), (12, 10, 5, 2, false)));
        let sent = serde_json::to_string(&parallel).unwrap();
        assert_eq!(of(&serde_json::from_str(&sent).unwrap()), of(&parallel));
    }

    #[test]
    fn the_total_rate_is_the_sum_of_the_hosts_rates() {
        let host = |rank, bytes, seconds| {
            let elapsed = Duration::from_secs(seconds);
            HostShare::of(rank, "", &Sample { bytes, elapsed, ..Sample::empty() }, Duration::ZERO)
        };
        let run = |bytes: [u64; 2], seconds: [u64; 2]| {
            let part = |i: usize| Sample {
                bytes: bytes[i],
                elapsed: Duration::from_secs(seconds[i]),
                ..Sample::empty()
            };
            let mut run = part(0);
            run.merge_parallel(&part(1));
            run.hosts = vec![host(1, bytes[0], seconds[0]), host(2, bytes[1], seconds[1])];
            run
        };
        // Each host has the long window once: 11 bytes a second in either run, and 2 × 20 bytes in 11
        // seconds.
        let mut sum = run([10, 10], [1, 10]);
        assert!((sum.throughput() - 11.0).abs() < 1e-6, "{}", sum.throughput());
        sum.merge_sequential(&run([10, 10], [10, 1]));
        assert!((sum.throughput() - 40.0 / 11.0).abs() < 1e-6, "{}", sum.throughput());
        let nothing = run([0, 0], [1, 1]);
        let mut twice = nothing.clone();
        twice.merge_sequential(&nothing);
        assert_eq!((twice.bytes, twice.elapsed), (0, Duration::from_secs(2)));
        assert_eq!(twice.time_of(1), None);
        assert_eq!(run([10, 10], [10, 10]).time_of(4), Some(Duration::from_secs(2)));
    }
}
