//! Watches running processes: how they send ([`sends`]), what they spend their CPU time on, and what they pay for the
//! offsets of their buffers. The processes themselves are not modified.
//!
//! CPU time is sampled by a timer of each thread. A sample inside a copy instruction has the source and the destination of the copy in its registers. In the kernel
//! the name of the function identifies such an instruction; in user space its two bytes do, read from the process's
//! memory.

mod processes;
pub mod sends;
pub mod targets;
pub mod zero_copy;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::profile::breakdown::Breakdown;
use crate::profile::classes::has_the_copy;
use crate::profile::source::{CopyDirection, CopyRegisters, SampleRing, SampleSource, StackSample};
use crate::profile::stacks::Stacks;
use crate::profile::symbols::Symbols;
use crate::profile::threads::ThreadRole;
use copycost::cost::{Measured, Missing};
use copycost::internals::cost::opener::CounterReach;
use copycost::internals::sys::limits;
use copycost::offset::PERIOD;

use processes::{ProcessMemory, Processes};
use sends::{SeenSends, SendRecorder, Unseen};
pub use targets::Target;
use zero_copy::ZeroCopySigns;

/// Samples per second of each thread. A prime, so that samples do not align with periodic work; the cost is within the
/// noise of a server's results.
const HERTZ: u64 = 997;

/// The interval between scans for new threads, which also empty the rings. A thread with a shorter life may be missed.
const ROUND: Duration = Duration::from_millis(100);

/// `rep movsb`, with or without the prefix for 64-bit operands.
const REP_MOVS: [&[u8]; 3] = [&[0xf3, 0xa4], &[0xf3, 0x48, 0xa5], &[0xf3, 0xa5]];

/// The direction of a copy between the kernel and the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The kernel copies to the memory of the process.
    FromKernel,
    /// The kernel copies from the memory of the process.
    ToKernel,
    /// The process copies within its own memory.
    Within,
}

/// Copies of one kind at a hazardous distance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HazardousCopies {
    /// Whether the kernel or the process copied, and in which direction.
    pub direction: Direction,
    /// Destination minus source, modulo 4096: 1 to 31. It stays constant during a copy.
    pub distance: u16,
    /// The functions of the kernel, the innermost first; empty in user space.
    pub frames: Vec<Rc<str>>,
}

/// The number of samples by kind.
#[derive(Debug, Default)]
pub struct SampleCounts {
    pub samples: u64,
    /// The samples with registers.
    pub with_registers: u64,
    /// The samples with registers in user space whose instruction could not be read.
    pub unread: u64,
    /// The samples with registers inside a copy instruction.
    pub copies: u64,
    /// The copies at a hazardous distance, with the number of samples of each.
    pub hazardous: BTreeMap<HazardousCopies, u64>,
}

/// The result of watching a process.
#[derive(Debug, Default)]
pub struct WatchResult {
    /// How long the process was watched.
    pub time: Duration,
    /// Samples per second of CPU time.
    pub hertz: u64,
    /// The number of threads sampled, including those that have ended.
    pub threads: usize,
    /// The number of processes, including those that have ended.
    pub processes: usize,
    /// The number of threads that could not be sampled.
    pub refused: usize,
    /// The reason for the first refused thread.
    pub refusal: Option<String>,
    /// The samples of all threads.
    pub counts: SampleCounts,
    /// The number of samples lost because a ring was full.
    pub lost: u64,
    /// Whether the processes ended before the time was over.
    pub ended: bool,
    /// What the processes took of the CPUs, by their own clocks.
    pub cpu_time: Duration,
    /// The CPU time by class.
    pub breakdown: Breakdown,
    /// Whether they ask for zero copy, and whether it is real.
    pub zero_copy: ZeroCopySigns,
    /// How they sent, or why that is not known; `None` if nobody asked.
    pub sends: Option<Result<SeenSends, Unseen>>,
}

impl WatchResult {
    /// CPU seconds per second: 1.5 means one and a half CPUs.
    pub fn cpus(&self) -> f64 {
        self.cpu_time.as_secs_f64() / self.time.as_secs_f64().max(1e-9)
    }

    /// The share of the CPU time that was sampled, 0 to 1: less than all where threads live only for a moment.
    pub fn sampled(&self) -> f64 {
        let sampled = self.counts.samples as f64 / self.hertz.max(1) as f64;
        (sampled / self.cpu_time.as_secs_f64().max(1e-9)).min(1.0)
    }
}

impl SampleCounts {
    /// The number of samples in hazardous copies.
    pub fn hits(&self) -> u64 {
        self.hazardous.values().sum()
    }

    /// The share of `samples` in all samples, 0 to 1.
    pub fn share(&self, samples: u64) -> f64 {
        samples as f64 / self.samples.max(1) as f64
    }
}

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct WatchPlan {
    /// The processes; their children are watched too.
    pub targets: Vec<Target>,
    /// How long.
    pub time: Duration,
    /// Whether to keep the sends in order.
    pub traces: bool,
    /// Whether to record every send, whatever that costs the processes.
    pub full: bool,
}

/// Watches processes as `plan` says, or until `go_on` returns false or all of them have ended.
///
/// # Errors
/// The reason why the processes cannot be sampled, with the setting to change.
pub fn watch(
    source: &dyn SampleSource,
    plan: &WatchPlan,
    go_on: &mut dyn FnMut() -> bool,
) -> Measured<WatchResult> {
    let hertz = source.most_hertz().map_or(HERTZ, |most| HERTZ.min(most)).max(1);
    // One file per thread, and one per process for its memory. If the limit stays too low, threads are counted as
    // refused.
    if let Ok(limit) = limits::open_files() {
        let _ = limits::set_open_files(limit.hard);
    }
    let mut processes = Processes::of(plan.targets.clone());
    // Fail early, and report missing rights before missing symbols, because they must be fixed first.
    for thread in processes.threads().into_keys().take(1) {
        probe(source, thread, hertz)?;
    }
    let symbols = Symbols::read(source)?;
    let seed = u64::from(std::process::id());
    let mut recorder = SendRecorder::open(seed, plan.traces, plan.full)
        .and_then(|mut recorder| recorder.attach(&mut processes).map(|()| recorder));
    let mut rings: BTreeMap<i32, Box<dyn SampleRing>> = BTreeMap::new();
    let mut seen = WatchResult { hertz, ..WatchResult::default() };
    let mut stacks = Stacks::default();
    let began = Instant::now();
    for round in 1u64.. {
        let threads = processes.threads();
        for &thread in threads.keys() {
            if rings.contains_key(&thread) || processes.was_refused(thread) {
                continue;
            }
            match source
                .open(thread, CounterReach::Kernel, hertz)
                .and_then(|mut ring| ring.enable().map(|()| ring))
            {
                Ok(ring) => {
                    rings.insert(thread, ring);
                    seen.threads += 1;
                }
                // The thread has ended since the scan.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    processes.refuse(thread);
                    seen.refused += 1;
                    seen.refusal.get_or_insert_with(|| {
                        Missing::of_perf(&error, "cpu-clock", source.paranoid()).to_string()
                    });
                }
            }
        }
        seen.ended = threads.is_empty();
        let left = plan.time.saturating_sub(began.elapsed());
        match &mut recorder {
            Ok(recorder) if !seen.ended => {
                recorder.record(left.min(ROUND), &symbols);
                // Threads and children of known processes inherit the events. Other processes of a name or a port are
                // looked for now and then.
                if round.is_multiple_of(ROUNDS_TO_ATTACH) {
                    let _ = recorder.attach(&mut processes);
                }
            }
            _ => std::thread::sleep(left.min(ROUND)),
        }
        let WatchResult { counts, lost, .. } = &mut seen;
        rings.retain(|id, ring| {
            // The ring of an ended thread is read one last time, without the memory of its process.
            let process = threads.get(id);
            let mut memory = process.and_then(|process| processes.memory(*process));
            *lost += ring.take(&mut |sample| {
                stacks.add(WATCHED, &sample, &symbols);
                count(counts, &sample, &symbols, memory.as_deref_mut());
            });
            process.is_some()
        });
        if stacks.counts.len() > MOST_STACKS {
            stacks = stacks.pruned(KEPT_FROM);
        }
        if seen.ended || left.is_zero() || !go_on() {
            break;
        }
    }
    seen.time = began.elapsed();
    processes.threads();
    seen.cpu_time = processes.cpu_time();
    seen.processes = processes.count();
    seen.breakdown = Breakdown::of(&stacks, WATCHED);
    seen.zero_copy = ZeroCopySigns::of(&stacks);
    seen.sends = Some(recorder.map(|recorder| recorder.finish(&symbols)));
    Ok(seen)
}

/// The role under which all watched threads are counted: what matters here is that they send.
const WATCHED: ThreadRole = ThreadRole::Sender;

/// From one look for further processes to the next, in rounds.
const ROUNDS_TO_ATTACH: u64 = 10;

/// Different stacks that are kept; beyond them narrow branches go back to their stem.
const MOST_STACKS: usize = 20_000;
const KEPT_FROM: f64 = 0.0005;

/// Checks that the first thread of the process may be sampled.
fn probe(source: &dyn SampleSource, pid: i32, hertz: u64) -> Measured<()> {
    let error = match source.open(pid, CounterReach::Kernel, hertz) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let paranoid = source.paranoid();
    Err(match Missing::of_perf(&error, "cpu-clock", paranoid) {
        Missing::NotPermitted { .. } if source.open(pid, CounterReach::UserOnly, hertz).is_ok() => {
            Missing::KernelOnly { event: "nearly all of a copy", paranoid }
        }
        reason => reason,
    })
}

/// Adds a sample to `counts`.
fn count(
    counts: &mut SampleCounts,
    sample: &StackSample,
    symbols: &Symbols,
    memory: Option<&mut ProcessMemory>,
) {
    counts.samples += 1;
    let Some(copying) = sample.copying else { return };
    counts.with_registers += 1;
    let frames: Vec<Rc<str>> =
        sample.chain.iter().map(|address| Rc::from(symbols.name(*address).unwrap_or("?"))).collect();
    let direction = match sample.user {
        false => in_kernel(copying, &frames),
        true => match memory.and_then(|memory| memory.read::<3>(sample.address)) {
            Some(bytes) => REP_MOVS.iter().any(|code| bytes.starts_with(code)).then_some(Direction::Within),
            None => {
                counts.unread += 1;
                None
            }
        },
    };
    let Some(direction) = direction else { return };
    counts.copies += 1;
    if copying.is_hazardous() {
        let distance = (copying.destination.wrapping_sub(copying.source) % PERIOD as u64) as u16;
        *counts.hazardous.entry(HazardousCopies { direction, distance, frames }).or_default() += 1;
    }
}

/// The direction of a copy in the kernel; `None` if another instruction ran.
fn in_kernel(copying: CopyRegisters, frames: &[Rc<str>]) -> Option<Direction> {
    if !has_the_copy(frames.first()?) {
        return None;
    }
    Some(match copying.crosses()? {
        CopyDirection::OutOfKernel => Direction::FromKernel,
        CopyDirection::IntoKernel => Direction::ToKernel,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u64 = 0x7f00_0000_0000;
    const KERNEL: u64 = 0xffff_8880_0000_0000;

    fn counted(samples: &[StackSample], mut memory: Option<ProcessMemory>) -> SampleCounts {
        let symbols = Symbols::parse("10 T entry\n20 T rep_movs_alternative\n30 T kfree\n");
        let mut counts = SampleCounts::default();
        samples.iter().for_each(|sample| count(&mut counts, sample, &symbols, memory.as_mut()));
        counts
    }

    fn sample(user: bool, at: u64, destination: u64, source: u64) -> StackSample {
        let chain = if user { Vec::new() } else { vec![at, 0x15] };
        StackSample {
            thread: 1,
            user,
            address: at,
            chain,
            copying: Some(CopyRegisters { destination, source }),
        }
    }

    #[test]
    fn copies_are_identified_by_their_registers_and_functions() {
        let seen = counted(
            &[
                sample(false, 0x22, USER + 16, KERNEL),
                sample(false, 0x22, USER + 16 + 512, KERNEL + 512),
                sample(false, 0x22, USER + 64, KERNEL),
                sample(false, 0x22, KERNEL, USER + 4080),
                // Another function, and registers that do not belong to a copy between kernel and process.
                sample(false, 0x33, USER + 16, KERNEL),
                sample(false, 0x22, KERNEL + 16, KERNEL),
            ],
            None,
        );
        assert_eq!((seen.samples, seen.copies, seen.hits()), (6, 4, 3));
        let found: Vec<_> =
            seen.hazardous.iter().map(|(place, count)| (place.direction, place.distance, *count)).collect();
        assert_eq!(found, [(Direction::FromKernel, 16, 2), (Direction::ToKernel, 16, 1)]);
        assert!((seen.share(seen.hits()) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn in_user_space_the_instruction_is_read() {
        let memory = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&memory, &[0x90, 0xf3, 0xa4, 0xc3, 0, 0], 0).unwrap();
        let at = |address| sample(true, address, USER + 0x1010, USER);
        let seen = counted(&[at(1), at(0), at(3)], Some(ProcessMemory::in_file(memory)));
        assert_eq!((seen.samples, seen.copies, seen.hits()), (3, 1, 1));
        assert_eq!(seen.hazardous.keys().next().unwrap().direction, Direction::Within);
        // Without the right to read the memory, no copy is counted.
        let blind = counted(&[at(1)], None);
        assert_eq!((blind.copies, blind.unread), (0, 1));
    }
}
