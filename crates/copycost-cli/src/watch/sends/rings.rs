//! The perf events of threads, which write into one ring for each CPU.
//!
//! A thread has an event for each CPU, because an event that new threads and children inherit cannot have a ring of its own
//! for all CPUs. A dummy event owns the ring of a CPU, so that it stays when threads end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use perf_event::events::{Software, Tracepoint};
use perf_event::{Builder, Counter, SampleFlag, Sampler};

use super::super::processes::Processes;
use super::Unseen;
use super::tracefs::EventFormat;
use copycost::cost::Missing;
use copycost::internals::sys::{perf, text};

/// The size of a ring: thousands of sends with their call chains.
const RING_BYTES: usize = 1 << 20;

/// The most frames of a call chain: the system call is within the innermost dozen.
const DEEPEST: u16 = 16;

/// Only TCP: a server's messages to itself over AF_UNIX fire the event too.
const FILTER: &str = "protocol == 6";

/// Entries of a call chain from this value on are context marks and not addresses (PERF_CONTEXT_MAX,
/// linux/perf_event.h).
const MARKS: u64 = -4095_i64 as u64;

/// PERF_RECORD_SAMPLE and PERF_RECORD_LOST.
const SAMPLE: u32 = 9;
const LOST: u32 = 2;

/// Threads whose event is remembered, to tell double ones.
const MOST_THREADS: usize = 65_536;

/// The end of one send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendEvent {
    /// The thread.
    pub thread: i32,
    /// By the clock of perf, in ns.
    pub at: u64,
    /// Functions of the kernel, the innermost first.
    pub chain: Vec<u64>,
    /// What tells the socket from others.
    pub socket: u64,
    /// The bytes that were accepted, or a negative error.
    pub result: i32,
}

/// The rings of all CPUs, and the events that write into them.
pub struct Rings {
    rings: Vec<(usize, Sampler)>,
    events: Vec<Counter>,
    tracepoint: u64,
    /// Processes whose threads all have events, or inherit them.
    attached: BTreeSet<i32>,
    threads: BTreeSet<i32>,
    /// For each CPU and thread the event that it was first seen by. A thread that was found by a scan while its creator got
    /// its events has two.
    by_event: BTreeMap<(usize, i32), u64>,
    left_out: usize,
}

impl Rings {
    /// Opens the rings.
    ///
    /// # Errors
    /// Perf events of other processes are refused.
    pub fn open(format: &EventFormat) -> Result<Self, Unseen> {
        let ring = |cpu: usize| {
            let mut builder = Builder::new(Software::DUMMY);
            builder.any_pid().one_cpu(cpu);
            Ok((cpu, builder.build()?.sampled(RING_BYTES)?))
        };
        let rings = online_cpus().into_iter().map(ring).collect::<io::Result<Vec<_>>>();
        let rings = rings.map_err(|error| refused(&error))?;
        Ok(Self {
            rings,
            events: Vec::new(),
            tracepoint: format.id,
            attached: BTreeSet::new(),
            threads: BTreeSet::new(),
            by_event: BTreeMap::new(),
            left_out: 0,
        })
    }

    /// Opens events for threads that do not inherit them. Returns the number of threads for which no file was left.
    ///
    /// # Errors
    /// The events are refused.
    pub fn attach(&mut self, processes: &mut Processes) -> Result<usize, Unseen> {
        let before = self.attached.clone();
        // A thread may start while others get their events, and then has none yet.
        for _ in 0..ROUNDS {
            let threads = processes.threads();
            let inherits = |process: i32| {
                before.contains(&process)
                    || processes.parent(process).is_some_and(|parent| before.contains(&parent))
            };
            let new: Vec<(i32, i32)> = threads
                .into_iter()
                .filter(|(thread, process)| !self.threads.contains(thread) && !inherits(*process))
                .collect();
            if new.is_empty() {
                break;
            }
            for (thread, process) in new {
                self.threads.insert(thread);
                self.attached.insert(process);
                self.attach_thread(thread)?;
            }
        }
        // Children of attached processes inherit, and so do their children.
        let children: Vec<i32> = processes
            .living()
            .filter(|process| {
                processes.parent(*process).is_some_and(|parent| self.attached.contains(&parent))
            })
            .collect();
        self.attached.extend(children);
        Ok(self.left_out)
    }

    fn attach_thread(&mut self, thread: i32) -> Result<(), Unseen> {
        let mut opened = Vec::new();
        for (cpu, ring) in &self.rings {
            let mut builder = Builder::new(Tracepoint::with_id(self.tracepoint));
            builder
                .observe_pid(thread)
                .one_cpu(*cpu)
                .inherit(true)
                .sample_period(1)
                .exclude_kernel(false)
                .exclude_callchain_user(true)
                .sample_max_stack(DEEPEST)
                .sample(SampleFlag::TID | SampleFlag::TIME | SampleFlag::ID)
                .sample(SampleFlag::CALLCHAIN | SampleFlag::RAW);
            let event = builder.build().and_then(|event| {
                perf::set_filter(&event, FILTER)?;
                perf::set_output(&event, ring)?;
                Ok(event)
            });
            match event {
                Ok(event) => opened.push(event),
                // The thread has ended since the scan.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                    self.left_out += 1;
                    return Ok(());
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        self.events.extend(opened);
        Ok(())
    }

    /// Starts to record.
    pub fn enable(&mut self) {
        // An event whose thread has ended may refuse, and then there is nothing to record.
        self.events.iter_mut().for_each(|event| drop(event.enable()));
    }

    /// Stops to record. What was recorded stays in the rings.
    pub fn disable(&mut self) {
        self.events.iter_mut().for_each(|event| drop(event.disable()));
    }

    /// Removes what was recorded. Returns the number of events that were lost because a ring was full.
    pub fn take(&mut self, format: &EventFormat, see: &mut dyn FnMut(SendEvent)) -> u64 {
        let mut lost = 0;
        for (cpu, ring) in &mut self.rings {
            while let Some(record) = ring.next_record() {
                let bytes = record.to_contiguous();
                match record.ty() {
                    SAMPLE => {
                        let Some((id, event)) = decode(&bytes, format) else { continue };
                        if self.by_event.len() > MOST_THREADS {
                            self.by_event.clear();
                        }
                        if *self.by_event.entry((*cpu, event.thread)).or_insert(id) == id {
                            see(event);
                        }
                    }
                    LOST => lost += word(&bytes, 1).unwrap_or(0),
                    _ => {}
                }
            }
        }
        lost
    }
}

/// Scans for threads that start while others get their events.
const ROUNDS: usize = 4;

impl std::fmt::Debug for Rings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rings").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

fn refused(error: &io::Error) -> Unseen {
    let paranoid = text::read("/proc/sys/kernel/perf_event_paranoid").ok();
    Unseen::Refused(Missing::of_perf(
        error,
        "a tracepoint",
        paranoid.and_then(|text| text.trim().parse().ok()),
    ))
}

fn word(bytes: &[u8], place: usize) -> Option<u64> {
    bytes.as_chunks::<8>().0.get(place).map(|word| u64::from_ne_bytes(*word))
}

/// Reads a sample: process and thread, time, the number of the event, the call chain, the fields of the tracepoint.
fn decode(bytes: &[u8], format: &EventFormat) -> Option<(u64, SendEvent)> {
    let thread = i32::from_ne_bytes(*bytes.as_chunks::<4>().0.get(1)?);
    let (at, id) = (word(bytes, 1)?, word(bytes, 2)?);
    let length = usize::try_from(word(bytes, 3)?).ok()?;
    let chain_end = length.checked_add(4)?;
    // A broken length must not allocate.
    (chain_end <= bytes.len() / 8).then_some(())?;
    let chain =
        (4..chain_end).filter_map(|place| word(bytes, place)).filter(|address| *address < MARKS).collect();
    let raw = bytes.get(8 * chain_end..)?;
    let size = u32::from_ne_bytes(*raw.as_chunks::<4>().0.first()?) as usize;
    let record = raw.get(4..size.checked_add(4)?)?;
    let event = SendEvent {
        thread,
        at,
        chain,
        socket: format.field("sk", record)?,
        result: format.field("ret", record)? as i32,
    };
    Some((id, event))
}

/// The CPUs that are online.
fn online_cpus() -> Vec<usize> {
    let text = text::read("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = cpu_list(&text);
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// Parses `0-3,8,10-11`.
fn cpu_list(text: &str) -> Vec<usize> {
    /// More than any machine has.
    const MOST: usize = 1 << 16;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?.min(MOST)))
    };
    text.trim().split(',').filter_map(range).flat_map(|(first, last)| first..=last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format() -> EventFormat {
        let text = "\tfield:void * sk;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:int ret;\toffset:20;\tsize:4;\tsigned:1;\n";
        EventFormat::parse("7", text).unwrap()
    }

    fn sample(chain: &[u64], raw: &[u8]) -> Vec<u8> {
        let ids = u64::from_ne_bytes([7, 0, 0, 0, 9, 0, 0, 0]);
        let words = [&[ids, 1000, 55, chain.len() as u64], chain].concat();
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend((raw.len() as u32).to_ne_bytes());
        bytes.extend(raw);
        bytes
    }

    #[test]
    fn a_sample_is_read() {
        let mut raw = vec![0u8; 28];
        raw[8..16].copy_from_slice(&0x1000u64.to_ne_bytes());
        raw[20..24].copy_from_slice(&(-11i32).to_ne_bytes());
        let event = SendEvent { thread: 9, at: 1000, chain: vec![0x40, 0x30], socket: 0x1000, result: -11 };
        assert_eq!(decode(&sample(&[MARKS + 1, 0x40, 0x30], &raw), &format()), Some((55, event)));
        assert_eq!(decode(&sample(&[], &raw[..22]), &format()), None);
        assert_eq!(decode(&sample(&[], &raw)[..40], &format()), None);
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpu_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(cpu_list("0\n"), [0]);
        assert_eq!(cpu_list("x,,3-1\n"), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &format());
        }
    }
}
