//! Perf events behind a small trait that opens counters and reads them.
//!
//! Most machines that run the tests have no counters. With the trait, a test can simulate any machine:
//! without a PMU, without permission, with counters that share the hardware.

use std::fs;
use std::io;

use perf_event::events::{Cache, CacheId, CacheOp, CacheResult, Hardware, Software};
use perf_event::{Builder, Counter};

/// An event that a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// Time on a CPU in ns, including softirq that interrupted the thread.
    TaskClock,
    /// CPU cycles.
    Cycles,
    /// Retired instructions.
    Instructions,
    /// Loads that missed the first data cache; on AMD Zen, fills of it (prefetches too).
    L1dLoadMisses,
    /// Loads that missed the last level.
    LlcLoadMisses,
    /// The kernel's generic cache-misses. Intel: any access that missed the last level. AMD Zen: demand requests
    /// that missed the **second** level (event 0x64, mask 0x09 in the kernel's arch/x86/events/amd/core.c).
    CacheMisses,
    /// Context switches of the thread, voluntary and not.
    ContextSwitches,
    /// Moves to another CPU.
    CpuMigrations,
    /// Page faults, with and without input or output.
    PageFaults,
}

impl Event {
    /// Its name in `perf list`, which is also the key in a record.
    pub fn name(self) -> &'static str {
        match self {
            Event::TaskClock => "task-clock",
            Event::Cycles => "cycles",
            Event::Instructions => "instructions",
            Event::L1dLoadMisses => "L1-dcache-load-misses",
            Event::LlcLoadMisses => "LLC-load-misses",
            Event::CacheMisses => "cache-misses",
            Event::ContextSwitches => "context-switches",
            Event::CpuMigrations => "cpu-migrations",
            Event::PageFaults => "page-faults",
        }
    }

    /// Whether it needs a PMU.
    pub fn is_hardware(self) -> bool {
        use Event::{CacheMisses, Cycles, Instructions, L1dLoadMisses, LlcLoadMisses};
        matches!(self, Cycles | Instructions | L1dLoadMisses | LlcLoadMisses | CacheMisses)
    }
}

/// Which CPU modes a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterReach {
    /// User and kernel mode.
    Kernel,
    /// User mode only: all that `perf_event_paranoid=2` grants an ordinary user.
    UserOnly,
}

/// One read of a counter. Only differences of two reads mean anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Events so far.
    pub count: u64,
    /// How long the counter was enabled while the thread ran, in ns.
    pub enabled_ns: u64,
    /// How much of that time it counted, in ns: less if events share the hardware.
    pub running_ns: u64,
}

/// An open counter of the calling thread.
pub trait OpenCounter {
    /// Starts it.
    fn enable(&mut self) -> io::Result<()>;
    /// Stops it and keeps its count.
    fn disable(&mut self) -> io::Result<()>;
    /// Reads its count.
    fn read(&mut self) -> io::Result<Reading>;
}

/// A source of counters.
pub trait Opener {
    /// Opens a disabled counter of the calling thread and of the threads that it starts from now on: the
    /// kernel's workers for its io_uring (`iou-wrk`).
    fn open(&self, event: Event, reach: CounterReach) -> io::Result<Box<dyn OpenCounter>>;
    /// `/proc/sys/kernel/perf_event_paranoid`, if it can be read.
    fn paranoid(&self) -> Option<i32>;
    /// The event for last-level misses on this CPU, or the nearest one.
    fn last_level(&self) -> Event;
}

/// The machine's own perf events, by perf_event_open(2).
#[derive(Debug, Clone, Copy, Default)]
pub struct Perf;

impl Opener for Perf {
    fn open(&self, event: Event, reach: CounterReach) -> io::Result<Box<dyn OpenCounter>> {
        let mut builder = builder(event);
        // The crate's default is user mode only, which would exclude the copies in the kernel.
        builder.exclude_kernel(reach == CounterReach::UserOnly);
        // Work that io_uring gives to a worker thread belongs to the thread that asked for it.
        builder.inherit(true);
        Ok(Box::new(builder.build()?))
    }

    fn paranoid(&self) -> Option<i32> {
        let text = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?;
        text.trim().parse().ok()
    }

    fn last_level(&self) -> Event {
        last_level(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
    }
}

impl OpenCounter for Counter {
    fn enable(&mut self) -> io::Result<()> {
        Counter::enable(self)
    }

    fn disable(&mut self) -> io::Result<()> {
        Counter::disable(self)
    }

    fn read(&mut self) -> io::Result<Reading> {
        let read = self.read_count_and_time()?;
        Ok(Reading { count: read.count, enabled_ns: read.time_enabled, running_ns: read.time_running })
    }
}

/// The last-level event for the vendor in the text of `/proc/cpuinfo`. The kernel has no LLC-load-misses for
/// AMD Zen and Hygon, whose third level counts per cluster and not per thread.
pub fn last_level(cpuinfo: &str) -> Event {
    let vendor =
        cpuinfo.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == "vendor_id");
    match vendor.map(|(_, name)| name.trim()) {
        Some("AuthenticAMD" | "HygonGenuine") => Event::CacheMisses,
        _ => Event::LlcLoadMisses,
    }
}

fn builder(event: Event) -> Builder<'static> {
    let load_misses = |which| Cache { which, operation: CacheOp::READ, result: CacheResult::MISS };
    match event {
        Event::TaskClock => Builder::new(Software::TASK_CLOCK),
        Event::Cycles => Builder::new(Hardware::CPU_CYCLES),
        Event::Instructions => Builder::new(Hardware::INSTRUCTIONS),
        Event::L1dLoadMisses => Builder::new(load_misses(CacheId::L1D)),
        Event::LlcLoadMisses => Builder::new(load_misses(CacheId::LL)),
        Event::CacheMisses => Builder::new(Hardware::CACHE_MISSES),
        Event::ContextSwitches => Builder::new(Software::CONTEXT_SWITCHES),
        Event::CpuMigrations => Builder::new(Software::CPU_MIGRATIONS),
        Event::PageFaults => Builder::new(Software::PAGE_FAULTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendor_decides_the_last_level_event() {
        let zen = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n";
        assert_eq!(last_level(zen).name(), "cache-misses");
        let intel = "processor\t: 0\nvendor_id\t: GenuineIntel\n";
        assert_eq!(last_level(intel).name(), "LLC-load-misses");
        // arm64 names an implementer and no vendor.
        assert_eq!(last_level("CPU implementer\t: 0x41\n"), Event::LlcLoadMisses);
        assert_eq!(last_level(""), Event::LlcLoadMisses);
    }
}
