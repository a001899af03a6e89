//! CPU time of the whole machine above its idle baseline, from /proc/stat, with steal and ksoftirqd.
//!
//! The kernel does some work for a connection outside the threads of the benchmark (softirq on other CPUs,
//! kernel threads). No thread is charged for it, but it shows here. The precision is lower: ticks of 10 ms,
//! most of them sampled, and every other process of the machine counts too. So the figure needs at least
//! [`MIN_WINDOW`] and a baseline.
//!
//! Steal is time in which the hypervisor ran something else. It is no cost of the benchmark, but it puts the
//! wall clock in doubt.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::missing::{Measured, Missing};
use crate::sys::clock::stat_tick;

/// The shortest run with a figure. Two CPUs tick 400 times in 2 s, so one tick at each end is half a percent.
/// To check, run the same cell for 1, 2 and 4 s.
pub const MIN_WINDOW: Duration = Duration::from_secs(2);

/// CPU time of all CPUs since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemTime {
    /// user, nice, system, irq and softirq together (guest time is part of user).
    pub busy: Duration,
    /// The part of `busy` that is softirq.
    pub softirq: Duration,
    /// Idle and waiting for a device.
    pub idle: Duration,
    /// Taken by the hypervisor.
    pub steal: Duration,
}

/// One reading of the machine's CPU time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemCpu {
    /// /proc/stat.
    pub time: SystemTime,
    /// CPU time of the ksoftirqd threads, which process deferred softirq work under load.
    pub ksoftirqd: Measured<Duration>,
}

/// CPU time of the machine in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemSpent {
    /// Busy time of all processes, softirq included.
    pub busy: Duration,
    /// Busy time in addition to what the idle machine uses in the same time.
    pub above_idle: Measured<Duration>,
    /// The part of `busy` that is softirq; sampled at the tick unless the kernel has IRQ_TIME_ACCOUNTING.
    pub softirq: Duration,
    /// CPU time of the ksoftirqd threads. It is part of `busy`; no thread of the benchmark is charged for it.
    pub ksoftirqd: Measured<Duration>,
    /// Share of all CPU time that the hypervisor took, in percent.
    pub steal_percent: f64,
}

/// How busy the machine is without the benchmark: the CPUs in use on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdleBaseline {
    /// Busy seconds per second.
    pub cpus: f64,
}

impl SystemCpu {
    /// Reads this machine.
    ///
    /// # Errors
    /// [`Missing::File`] when /proc/stat cannot be read.
    pub fn read() -> Measured<SystemCpu> {
        SystemCpu::read_under(Path::new("/"))
    }

    /// Reads the files under another root. Tests use it.
    ///
    /// # Errors
    /// As [`SystemCpu::read`].
    pub fn read_under(root: &Path) -> Measured<SystemCpu> {
        let tick = stat_tick().map_err(|error| Missing::os("sysconf", &error))?;
        let text =
            fs::read_to_string(root.join("proc/stat")).map_err(|error| Missing::file("/proc/stat", error))?;
        let ksoftirqd = Ksoftirqd::find_under(&root.join("proc")).and_then(|threads| threads.now());
        Ok(SystemCpu { time: parse_stat(&text, tick)?, ksoftirqd })
    }
}

/// CPU time of the machine over several measurements, each between a start and a stop.
#[derive(Debug, Clone)]
pub struct SystemMeter {
    begun: Measured<SystemCpu>,
    sum: Measured<SystemCpu>,
}

impl Default for SystemMeter {
    fn default() -> Self {
        let none = SystemTime {
            busy: Duration::ZERO,
            softirq: Duration::ZERO,
            idle: Duration::ZERO,
            steal: Duration::ZERO,
        };
        Self {
            begun: Err(Missing::NotMeasured),
            sum: Ok(SystemCpu { time: none, ksoftirqd: Ok(Duration::ZERO) }),
        }
    }
}

impl SystemMeter {
    /// Starts measuring.
    pub fn start(&mut self) {
        self.begun = SystemCpu::read();
    }

    /// Stops measuring. If a file could not be read, the sum has the reason.
    pub fn stop(&mut self) {
        let begun = std::mem::replace(&mut self.begun, Err(Missing::NotMeasured));
        let sum = std::mem::replace(&mut self.sum, Err(Missing::NotMeasured));
        self.sum = sum.and_then(|sum| Ok(sum.plus(&begun?, &SystemCpu::read()?)));
    }

    /// The sum of all measurements, which took `elapsed`.
    ///
    /// # Errors
    /// As [`SystemSpent::between`], or why a file could not be read.
    pub fn spent(&self, elapsed: Duration, baseline: Option<IdleBaseline>) -> Measured<SystemSpent> {
        let none = Self::default().sum?;
        SystemSpent::between(&none, self.sum.as_ref().map_err(Clone::clone)?, elapsed, baseline)
    }
}

impl SystemCpu {
    /// This sum plus the time between two reads.
    fn plus(mut self, before: &Self, after: &Self) -> Self {
        let passed = |of: fn(&SystemTime) -> Duration| of(&after.time).saturating_sub(of(&before.time));
        self.time.busy += passed(|time| time.busy);
        self.time.softirq += passed(|time| time.softirq);
        self.time.idle += passed(|time| time.idle);
        self.time.steal += passed(|time| time.steal);
        self.ksoftirqd = self
            .ksoftirqd
            .and_then(|sum| Ok(sum + after.ksoftirqd.clone()?.saturating_sub(before.ksoftirqd.clone()?)));
        self
    }
}

impl IdleBaseline {
    /// Measures the machine for [`MIN_WINDOW`] while this process does nothing.
    ///
    /// # Errors
    /// As [`SystemCpu::read`].
    pub fn watch() -> Measured<IdleBaseline> {
        let (before, began) = (SystemCpu::read()?, Instant::now());
        std::thread::sleep(MIN_WINDOW);
        Self::between(&before, &SystemCpu::read()?, began.elapsed())
    }

    /// The baseline from two reads of an idle machine, `elapsed` apart.
    ///
    /// # Errors
    /// [`Missing::TooShort`] under [`MIN_WINDOW`].
    pub fn between(before: &SystemCpu, after: &SystemCpu, elapsed: Duration) -> Measured<IdleBaseline> {
        long_enough("the idle baseline", elapsed)?;
        let busy = after.time.busy.saturating_sub(before.time.busy);
        Ok(IdleBaseline { cpus: busy.as_secs_f64() / elapsed.as_secs_f64() })
    }
}

impl SystemSpent {
    /// The CPU time between two reads, `elapsed` apart, above `baseline`.
    ///
    /// # Errors
    /// [`Missing::TooShort`] under [`MIN_WINDOW`].
    pub fn between(
        before: &SystemCpu,
        after: &SystemCpu,
        elapsed: Duration,
        baseline: Option<IdleBaseline>,
    ) -> Measured<SystemSpent> {
        long_enough("CPU time of the system", elapsed)?;
        // The kernel's idle time sometimes runs backwards by a tick, so no difference may underflow.
        let spent = |of: fn(&SystemTime) -> Duration| of(&after.time).saturating_sub(of(&before.time));
        let (busy, steal) = (spent(|time| time.busy), spent(|time| time.steal));
        let all = busy + steal + spent(|time| time.idle);
        if all.is_zero() {
            return Err(Missing::file("/proc/stat", "no time passed between two reads"));
        }
        let above_idle =
            baseline.and_then(|idle| busy.checked_sub(elapsed.mul_f64(idle.cpus))).ok_or(Missing::NoBaseline);
        let ksoftirqd = match (&before.ksoftirqd, &after.ksoftirqd) {
            (Ok(before), Ok(after)) => Ok(after.saturating_sub(*before)),
            (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
        };
        Ok(SystemSpent {
            busy,
            above_idle,
            softirq: spent(|time| time.softirq),
            ksoftirqd,
            steal_percent: steal.as_secs_f64() / all.as_secs_f64() * 100.0,
        })
    }
}

fn long_enough(figure: &'static str, had: Duration) -> Measured<()> {
    if had >= MIN_WINDOW {
        return Ok(());
    }
    Err(Missing::TooShort { figure, needs: MIN_WINDOW, had })
}

/// The first line of /proc/stat, all CPUs together, in ticks of `tick`.
///
/// # Errors
/// [`Missing::File`] when there is no such line, or it ends before steal.
pub fn parse_stat(text: &str, tick: Duration) -> Measured<SystemTime> {
    let unknown = || Missing::file("/proc/stat", "no line \"cpu\" with eight numbers");
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> =
        line.ok_or_else(unknown)?.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks.as_slice() else {
        return Err(unknown());
    };
    let time = |counts: &[u64]| {
        let ticks = counts.iter().fold(0, |sum: u64, &n| sum.saturating_add(n));
        Duration::from_nanos((tick.as_nanos() as u64).saturating_mul(ticks))
    };
    Ok(SystemTime {
        busy: time(&[user, nice, system, irq, softirq]),
        softirq: time(&[softirq]),
        idle: time(&[idle, iowait]),
        steal: time(&[steal]),
    })
}

/// The first number of /proc/PID/schedstat: time on a CPU in ns.
///
/// # Errors
/// [`Missing::File`] when the line is not three numbers.
pub fn parse_schedstat(text: &str) -> Measured<Duration> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(ran)), Some(Ok(_)), Some(Ok(_))) => Ok(Duration::from_nanos(ran)),
        _ => Err(Missing::file("/proc/PID/schedstat", "not three numbers")),
    }
}

/// The ksoftirqd threads of a machine, one for each CPU. They are found once, because searching /proc takes a
/// millisecond.
#[derive(Debug, Clone)]
pub struct Ksoftirqd(Vec<PathBuf>);

impl Ksoftirqd {
    /// Finds the ksoftirqd threads of this machine.
    ///
    /// # Errors
    /// [`Missing::KernelThreadsHidden`] in a PID namespace.
    pub fn find() -> Measured<Self> {
        Self::find_under(Path::new("/proc"))
    }

    /// Finds the children of kthreadd with this name.
    fn find_under(proc: &Path) -> Measured<Self> {
        let entries = fs::read_dir(proc).map_err(|error| Missing::file("/proc", error))?;
        let is_one = |folder: &PathBuf| {
            let is_pid = folder.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
            is_pid && is_ksoftirqd(&fs::read_to_string(folder.join("stat")).unwrap_or_default())
        };
        let found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_one).collect();
        if found.is_empty() { Err(Missing::KernelThreadsHidden) } else { Ok(Self(found)) }
    }

    /// The sum of their CPU time so far. Only differences mean anything.
    ///
    /// [`Missing::File`] if the kernel keeps no times.
    pub fn now(&self) -> Measured<Duration> {
        let mut sum = Duration::ZERO;
        for folder in &self.0 {
            let text = fs::read_to_string(folder.join("schedstat"))
                .map_err(|error| Missing::file("/proc/PID/schedstat", error))?;
            sum += parse_schedstat(&text)?;
        }
        // Each of them ran when its CPU came up, so 0 means that the kernel keeps no times (it writes "0 0
        // 0").
        if sum.is_zero() {
            return Err(Missing::file(
                "/proc/PID/schedstat",
                "this kernel keeps no scheduling times (CONFIG_SCHED_INFO)",
            ));
        }
        Ok(sum)
    }
}

/// Whether a /proc/PID/stat belongs to a ksoftirqd thread. Any program can take the name, but not a parent
/// with the number 2 (kthreadd).
fn is_ksoftirqd(stat: &str) -> bool {
    let Some((name, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    name.contains("(ksoftirqd/") && rest.split_ascii_whitespace().nth(1) == Some("2")
}
