//! What a thread measures about itself in a run. The meter is opened once on the thread and is off between
//! runs.

use std::time::{Duration, Instant};

use super::counters::Counters;
use super::counts::Counts;
use super::cpu::{CpuScope, CpuSpent, ThreadCpu};
use crate::sys::rusage::{Usage, thread_usage};

/// The meters of the thread that opened them.
#[derive(Debug)]
pub struct Meter {
    cpu: ThreadCpu,
    counters: Option<Counters>,
    begun: Option<RunStart>,
}

#[derive(Debug)]
struct RunStart {
    at: Instant,
    cpu: Option<Duration>,
    usage: Usage,
}

/// What one or several threads spent in one or several runs.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Spent {
    /// CPU time; `None` if a clock could not be read.
    pub cpu: Option<CpuSpent>,
    /// The kernel's resource usage: context switches, page faults, user and system time by the tick.
    pub usage: Usage,
    /// The length of the run: of several threads the longest, of several runs the sum.
    pub wall: Duration,
    /// Hardware and software counters of the threads that had them.
    pub counts: Option<Counts>,
    /// Messages that the counted threads moved.
    pub counted_messages: u64,
}

impl Meter {
    /// Opens the clocks of the calling thread. If `counted`, it also opens the counters: up to seven more
    /// file descriptors.
    pub fn open(counted: bool) -> Self {
        Self { cpu: ThreadCpu::open(), counters: counted.then(Counters::open), begun: None }
    }

    /// Begins a run.
    pub fn start(&mut self) {
        let usage = thread_usage().unwrap_or_default();
        if let Some(counters) = &mut self.counters {
            counters.start();
        }
        // Last, so that starting the counters is not measured.
        self.begun = Some(RunStart { at: Instant::now(), cpu: self.cpu.now().ok(), usage });
    }

    /// Ends the run in which this thread moved `messages`. Returns an empty value if no run was started.
    pub fn stop(&mut self, messages: u64) -> Spent {
        let Some(begun) = self.begun.take() else { return Spent::default() };
        let cpu = begun.cpu.and_then(|earlier| self.cpu.since(earlier).ok());
        let wall = begun.at.elapsed();
        let counts = self.counters.as_mut().map(Counters::stop);
        let usage = thread_usage().unwrap_or_default().since(&begun.usage);
        let counted_messages = if counts.is_some() { messages } else { 0 };
        Spent { cpu, usage, wall, counts, counted_messages }
    }
}

impl Spent {
    /// Adds another thread of the same run.
    pub fn merge_parallel(&mut self, other: &Self) {
        self.wall = self.wall.max(other.wall);
        self.join(other);
    }

    /// Adds the same threads in another run.
    pub fn merge_sequential(&mut self, other: &Self) {
        self.wall += other.wall;
        let threads = self.counts.as_ref().map(|counts| counts.threads);
        self.join(other);
        if let (Some(counts), Some(threads)) = (&mut self.counts, threads) {
            counts.threads = threads;
        }
    }

    fn join(&mut self, other: &Self) {
        self.cpu = match (self.cpu, other.cpu) {
            (Some(a), Some(b)) => Some(a.merge_parallel(b)),
            (a, b) => a.or(b),
        };
        self.usage.add(&other.usage);
        self.counts = match (self.counts.take(), other.counts.clone()) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        self.counted_messages += other.counted_messages;
    }

    /// The CPU time; 0 without a clock.
    pub fn cpu_time(&self) -> Duration {
        self.cpu.map_or(Duration::ZERO, |cpu| cpu.time)
    }

    /// What the CPU time covers.
    pub fn scope(&self) -> Option<CpuScope> {
        self.cpu.map(|cpu| cpu.scope)
    }

    /// The share of the time that the kernel's tick found in user space, 0 to 1.
    pub fn user_share(&self) -> Option<f64> {
        let all = (self.usage.user + self.usage.system).as_secs_f64();
        (all > 0.0).then(|| self.usage.user.as_secs_f64() / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_takes_the_longest_wall_time_and_sequential_the_sum() {
        let spent = |seconds, counted_messages| Spent {
            cpu: Some(CpuSpent { time: Duration::from_millis(seconds * 100), scope: CpuScope::TaskClock }),
            wall: Duration::from_secs(seconds),
            counted_messages,
            ..Spent::default()
        };
        let (one, two) = (spent(2, 5), spent(3, 1));
        let (mut parallel, mut sequential) = (one.clone(), one);
        parallel.merge_parallel(&two);
        sequential.merge_sequential(&two);
        assert_eq!((parallel.wall, sequential.wall), (Duration::from_secs(3), Duration::from_secs(5)));
        assert_eq!((parallel.counted_messages, sequential.counted_messages), (6, 6));
        let sum = Duration::from_millis(500);
        assert_eq!((parallel.cpu_time(), sequential.cpu_time()), (sum, sum));
    }

    #[test]
    fn a_run_has_its_time_and_a_stop_without_a_start_has_none() {
        let mut meter = Meter::open(true);
        assert!(meter.stop(3).cpu.is_none());
        meter.start();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(5) {
            std::hint::black_box(0);
        }
        let spent = meter.stop(3);
        assert!(spent.cpu_time() > Duration::ZERO && spent.wall >= Duration::from_millis(5));
        assert_eq!(spent.counted_messages, 3);
        assert_eq!(spent.counts.map(|counts| counts.threads), Some(1));
    }
}
