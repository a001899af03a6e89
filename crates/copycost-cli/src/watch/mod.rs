//! What a running process pays for where its buffers begin: samples of its threads for a while, nothing written to it.
//!
//! A sample inside a copying instruction has its two addresses in registers, so that it tells from where to where was copied.
//! In the kernel the function tells the instruction; in user space its two bytes do, read from the process's memory.

mod processes;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::profile::classes::has_the_copy;
use crate::profile::source::{Copying, Ring, Sample, Source};
use crate::profile::symbols::Symbols;
use copycost::cost::opener::Reach;
use copycost::cost::{Measured, Missing};
use copycost::offset::{PERIOD, is_slow};

pub use processes::{Processes, Thread};

/// Samples a second of each thread: a prime. Within the noise of a server's own figures.
const HERTZ: u64 = 997;

/// How often threads are looked for, and rings emptied. A thread that lives for less may be missed.
const ROUND: Duration = Duration::from_millis(100);

/// `rep movsb`, with or without the prefix for 64-bit operands.
const REP_MOVS: [&[u8]; 3] = [&[0xf3, 0xa4], &[0xf3, 0x48, 0xa5], &[0xf3, 0xa5]];

/// Who copied.
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
pub struct Place {
    /// Who copied.
    pub direction: Direction,
    /// Destination less source, modulo 4096: 1 to 31. It stays the same while a copy goes on.
    pub distance: u16,
    /// Functions of the kernel, the innermost first; none in user space.
    pub frames: Vec<Rc<str>>,
}

/// Samples, by what they were inside of.
#[derive(Debug, Default)]
pub struct Counts {
    /// All of them.
    pub samples: u64,
    /// Those whose registers the kernel showed.
    pub with_registers: u64,
    /// Of these those inside a copying instruction.
    pub copies: u64,
    /// Of these those at a hazardous distance.
    pub hazardous: BTreeMap<Place, u64>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
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
    /// What was sampled.
    pub counts: Counts,
    /// Samples that were lost for want of room.
    pub lost: u64,
    /// Whether the process ended meanwhile.
    pub ended: bool,
}

impl Seen {
    /// CPU time for each second, as the samples have it: 1.5 is one and a half CPUs.
    pub fn cpus(&self) -> f64 {
        self.counts.samples as f64 / self.hertz.max(1) as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl Counts {
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
    source: &dyn Source,
    pid: i32,
    time: Duration,
    go_on: &mut dyn FnMut() -> bool,
) -> Measured<Seen> {
    let hertz = source.most_hertz().map_or(HERTZ, |most| HERTZ.min(most)).max(1);
    // What is missing is said at once: the rights first, which are the first thing to mend.
    probe(source, pid, hertz)?;
    let symbols = Symbols::read(source)?;
    let mut rings: BTreeMap<i32, Box<dyn Ring>> = BTreeMap::new();
    let mut processes = Processes::of(pid);
    let mut seen = Seen { hertz, ..Seen::default() };
    let began = Instant::now();
    loop {
        let threads = processes.threads();
        for thread in &threads {
            if rings.contains_key(&thread.id) || processes.was_refused(thread.id) {
                continue;
            }
            match source
                .open(thread.id, Reach::Kernel, hertz)
                .and_then(|mut ring| ring.enable().map(|()| ring))
            {
                Ok(ring) => {
                    rings.insert(thread.id, ring);
                    seen.threads += 1;
                }
                // It has gone meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(_) => {
                    processes.refuse(thread.id);
                    seen.refused += 1;
                }
            }
        }
        seen.ended = threads.is_empty();
        let left = time.saturating_sub(began.elapsed());
        std::thread::sleep(left.min(ROUND));
        let Seen { counts, lost, .. } = &mut seen;
        rings.retain(|id, ring| {
            let memory = processes.process_of(*id).and_then(|process| processes.memory(process));
            *lost += ring.take(&mut |sample| count(counts, &sample, &symbols, memory));
            // Once more after its end.
            threads.iter().any(|thread| thread.id == *id)
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
fn probe(source: &dyn Source, pid: i32, hertz: u64) -> Measured<()> {
    let error = match source.open(pid, Reach::Kernel, hertz) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let paranoid = source.paranoid();
    Err(match Missing::of_perf(&error, "cpu-clock", paranoid) {
        Missing::NotPermitted { .. } if source.open(pid, Reach::UserOnly, hertz).is_ok() => {
            Missing::KernelOnly { event: "nearly all of a copy", paranoid }
        }
        reason => reason,
    })
}

/// Adds a sample.
fn count(counts: &mut Counts, sample: &Sample, symbols: &Symbols, memory: Option<&File>) {
    counts.samples += 1;
    let Some(copying) = sample.copying else { return };
    counts.with_registers += 1;
    let frames: Vec<Rc<str>> =
        sample.chain.iter().map(|address| Rc::from(symbols.name(*address).unwrap_or("?"))).collect();
    let Some(direction) = direction(sample, copying, &frames, memory) else { return };
    counts.copies += 1;
    let Copying { destination, source } = copying;
    if is_slow(destination as usize, source as usize) {
        let distance = (destination.wrapping_sub(source) % PERIOD as u64) as u16;
        *counts.hazardous.entry(Place { direction, distance, frames }).or_default() += 1;
    }
}

/// Who copies, where a copying instruction is what ran.
fn direction(
    sample: &Sample,
    copying: Copying,
    frames: &[Rc<str>],
    memory: Option<&File>,
) -> Option<Direction> {
    if sample.user {
        let mut bytes = [0; 3];
        memory?.read_exact_at(&mut bytes, sample.address).ok()?;
        return REP_MOVS.iter().any(|code| bytes.starts_with(code)).then_some(Direction::Within);
    }
    if !has_the_copy(frames.first()?) {
        return None;
    }
    // The upper half of all addresses is the kernel's.
    let kernels = |address: u64| address >> 63 == 1;
    match (kernels(copying.destination), kernels(copying.source)) {
        (false, true) => Some(Direction::FromKernel),
        (true, false) => Some(Direction::ToKernel),
        // From memory to memory of one side: registers of another instruction.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u64 = 0x7f00_0000_0000;
    const KERNEL: u64 = 0xffff_8880_0000_0000;

    fn counted(samples: &[Sample], memory: Option<&File>) -> Counts {
        let symbols = Symbols::parse("10 T entry\n20 T rep_movs_alternative\n30 T kfree\n");
        let mut counts = Counts::default();
        samples.iter().for_each(|sample| count(&mut counts, sample, &symbols, memory));
        counts
    }

    fn sample(user: bool, at: u64, destination: u64, source: u64) -> Sample {
        let chain = if user { Vec::new() } else { vec![at, 0x15] };
        Sample { thread: 1, user, address: at, chain, copying: Some(Copying { destination, source }) }
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
        memory.write_all_at(&[0x90, 0xf3, 0xa4, 0xc3, 0, 0], 0).unwrap();
        let at = |address| sample(true, address, USER + 0x1010, USER);
        let seen = counted(&[at(1), at(0), at(3)], Some(&memory));
        assert_eq!((seen.samples, seen.copies, seen.hits()), (3, 1, 1));
        assert_eq!(seen.hazardous.keys().next().unwrap().direction, Direction::Within);
        // Without rights to read nothing is claimed.
        assert_eq!(counted(&[at(1)], None).copies, 0);
    }
}
