//! What a running process pays for where its buffers begin: samples of its threads for a while, nothing written to it.
//!
//! A sample inside a copying instruction has its two addresses in registers, so that it tells from where to where was copied.
//! In the kernel the function tells the instruction; in user space its two bytes do, read from the process's memory.

mod processes;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::profile::classes::has_the_copy;
use crate::profile::source::{CopyDirection, CopyRegisters, SampleRing, SampleSource, StackSample};
use crate::profile::symbols::Symbols;
use copycost::cost::opener::CounterReach;
use copycost::cost::{Measured, Missing};
use copycost::internals::sys::limits;
use copycost::offset::PERIOD;

use processes::ProcessMemory;
pub use processes::Processes;

/// Samples a second of each thread: a prime. Within the noise of a server's own figures.
const HERTZ: u64 = 997;

/// How often threads are looked for, and rings emptied. A thread that lives for less may be missed.
const ROUND: Duration = Duration::from_millis(100);

/// `rep movsb`, with or without the prefix for 64-bit operands.
const REP_MOVS: [&[u8]; 3] = [&[0xf3, 0xa4], &[0xf3, 0x48, 0xa5], &[0xf3, 0xa5]];

/// Between whose memories a copy goes, and who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The kernel, to the memory of the process.
    FromKernel,
    /// The kernel, from the memory of the process.
    ToKernel,
    /// The process itself.
    Within,
}

/// Copies of one kind at a hazardous distance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HazardousCopies {
    /// Who copied.
    pub direction: Direction,
    /// Destination less source, modulo 4096: 1 to 31. It stays the same while a copy goes on.
    pub distance: u16,
    /// Functions of the kernel, the innermost first; none in user space.
    pub frames: Vec<Rc<str>>,
}

/// Samples, by what they were inside of.
#[derive(Debug, Default)]
pub struct SampleCounts {
    /// All of them.
    pub samples: u64,
    /// Those whose registers the kernel showed.
    pub with_registers: u64,
    /// Of these those in user space whose instruction could not be read.
    pub unread: u64,
    /// Of these those inside a copying instruction.
    pub copies: u64,
    /// Of these those at a hazardous distance.
    pub hazardous: BTreeMap<HazardousCopies, u64>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct WatchResult {
    /// For how long.
    pub time: Duration,
    /// Samples for each second of CPU time.
    pub hertz: u64,
    /// Threads, those that came and went included.
    pub threads: usize,
    /// Processes, likewise.
    pub processes: usize,
    /// Threads that could not be sampled.
    pub refused: usize,
    /// Why the first of them could not.
    pub refusal: Option<String>,
    /// What was sampled.
    pub counts: SampleCounts,
    /// Samples that were lost for want of room.
    pub lost: u64,
    /// Whether the process ended meanwhile.
    pub ended: bool,
}

impl WatchResult {
    /// CPU time for each second, as the samples have it: 1.5 is one and a half CPUs.
    pub fn cpus(&self) -> f64 {
        self.counts.samples as f64 / self.hertz.max(1) as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl SampleCounts {
    /// Samples of hazardous copies.
    pub fn hits(&self) -> u64 {
        self.hazardous.values().sum()
    }

    /// The share of the process's CPU time, 0 to 1.
    pub fn share(&self, samples: u64) -> f64 {
        samples as f64 / self.samples.max(1) as f64
    }
}

/// Watches `pid` and its children for `time`, or until `go_on` says no or the process has ended.
///
/// # Errors
/// Why nothing of it can be sampled, with what to set.
pub fn watch(
    source: &dyn SampleSource,
    pid: i32,
    time: Duration,
    go_on: &mut dyn FnMut() -> bool,
) -> Measured<WatchResult> {
    let hertz = source.most_hertz().map_or(HERTZ, |most| HERTZ.min(most)).max(1);
    // A file for each thread, and one for each process's memory; what is not allowed shows as threads that are refused.
    if let Ok(limit) = limits::open_files() {
        let _ = limits::set_open_files(limit.hard);
    }
    // What is missing is said at once: the rights first, which are the first thing to mend.
    probe(source, pid, hertz)?;
    let symbols = Symbols::read(source)?;
    let mut rings: BTreeMap<i32, Box<dyn SampleRing>> = BTreeMap::new();
    let mut processes = Processes::of(pid);
    let mut seen = WatchResult { hertz, ..WatchResult::default() };
    let began = Instant::now();
    loop {
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
                // It has gone meanwhile.
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
        let left = time.saturating_sub(began.elapsed());
        std::thread::sleep(left.min(ROUND));
        let WatchResult { counts, lost, .. } = &mut seen;
        rings.retain(|id, ring| {
            // Once more after its end, when its memory is gone.
            let process = threads.get(id);
            let mut memory = process.and_then(|process| processes.memory(*process));
            *lost += ring.take(&mut |sample| count(counts, &sample, &symbols, memory.as_deref_mut()));
            process.is_some()
        });
        if seen.ended || left.is_zero() || !go_on() {
            break;
        }
    }
    seen.time = began.elapsed();
    seen.processes = processes.count();
    Ok(seen)
}

/// Whether the process's first thread may be sampled, and the reason.
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

/// Adds a sample.
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

/// Who copies in the kernel, where a copying instruction is what ran.
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
    fn copies_are_told_by_their_registers_and_functions() {
        let seen = counted(
            &[
                sample(false, 0x22, USER + 16, KERNEL),
                sample(false, 0x22, USER + 16 + 512, KERNEL + 512),
                sample(false, 0x22, USER + 64, KERNEL),
                sample(false, 0x22, KERNEL, USER + 4080),
                // Another function, and registers that are those of no copy between the two.
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
        // Without rights to read nothing is claimed.
        let blind = counted(&[at(1)], None);
        assert_eq!((blind.copies, blind.unread), (0, 1));
    }
}
