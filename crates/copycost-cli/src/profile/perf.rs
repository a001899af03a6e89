//! This machine's samples, by perf_event_open(2), and its symbols.

use std::fs;
use std::io;
use std::str::FromStr;

use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

use super::source::{CopyRegisters, SampleRing, SampleSource, StackSample};
use copycost::cost::opener::CounterReach;

/// The sizes of a ring in bytes, the first that can be had: a quarter of a second at 4 kHz, and less where the memory
/// that perf may lock (`perf_event_mlock_kb`) is short, or there are few samples.
const RING_BYTES: [usize; 2] = [512 << 10, 64 << 10];

/// Up to so many samples a second the smaller one holds a tenth of a second.
const FEW_HERTZ: u64 = 1000;

/// From a system call through softirq to the wake-up of a receiver there are some forty frames.
const DEEPEST: u16 = 64;

/// From here on an entry of a call chain is a mark and no address (PERF_CONTEXT_MAX, linux/perf_event.h).
const MARKS: u64 = -4095_i64 as u64;

/// RSI and RDI (arch/x86/include/uapi/asm/perf_regs.h), in which `rep movsb` has its source and its destination. Other
/// architectures copy by loops of many registers.
const REGISTERS: u64 = if cfg!(target_arch = "x86_64") { 1 << 4 | 1 << 5 } else { 0 };

/// Where a sample was: the lowest bits of a record's `misc`, and their value for user space (PERF_RECORD_MISC_USER,
/// linux/perf_event.h).
const MODE: (u16, u16) = (7, 2);

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerfSampler;

impl PerfSampler {
    fn open_with(
        self,
        thread: i32,
        reach: CounterReach,
        hertz: u64,
        registers: bool,
    ) -> io::Result<Box<dyn SampleRing>> {
        let mut builder = Builder::new(Software::CPU_CLOCK);
        builder
            .observe_pid(thread)
            .any_cpu()
            .exclude_kernel(reach == CounterReach::UserOnly)
            .exclude_callchain_user(true)
            .sample(SampleFlag::IP | SampleFlag::TID | SampleFlag::CALLCHAIN)
            .sample_max_stack(DEEPEST)
            .sample_frequency(hertz);
        if registers {
            // Not by sample_regs_intr(), which sets the registers of user space (perf-event2 0.7.4).
            builder.sample(SampleFlag::REGS_INTR).attrs_mut().sample_regs_intr = REGISTERS;
        }
        let [large, small] = RING_BYTES;
        let large = if hertz > FEW_HERTZ { large } else { small };
        let ring = builder.build()?.sampled(large).or_else(|_| builder.build()?.sampled(small))?;
        Ok(Box::new(ring))
    }
}

impl SampleSource for PerfSampler {
    /// Of the thread and not of its CPU: the timer of a CPU runs on through switches and comes late in a virtual machine, so
    /// that the end of a turn is charged to whoever runs next. In the lab, whose sender sleeps between bursts of 100 µs, the
    /// samples of a CPU missed the sender's clock by up to 45 % (64 KiB, split), and those of each thread by at most 2.5 %.
    fn open(&self, thread: i32, reach: CounterReach, hertz: u64) -> io::Result<Box<dyn SampleRing>> {
        self.open_with(thread, reach, hertz, REGISTERS != 0).or_else(|error| match error.raw_os_error() {
            // Of a kernel that has no registers to show.
            Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS) => {
                self.open_with(thread, reach, hertz, false)
            }
            _ => Err(error),
        })
    }

    fn paranoid(&self) -> Option<i32> {
        setting("perf_event_paranoid")
    }

    fn most_hertz(&self) -> Option<u64> {
        setting("perf_event_max_sample_rate")
    }

    fn kallsyms(&self) -> io::Result<String> {
        fs::read_to_string("/proc/kallsyms")
    }

    fn kptr_restrict(&self) -> Option<i32> {
        setting("kptr_restrict")
    }
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
}

impl SampleRing for Sampler {
    fn enable(&mut self) -> io::Result<()> {
        perf_event::Counter::enable(self)
    }

    fn disable(&mut self) -> io::Result<()> {
        perf_event::Counter::disable(self)
    }

    fn take(&mut self, see: &mut dyn FnMut(StackSample)) -> u64 {
        let mut lost = 0;
        while let Some(record) = self.next_record() {
            let user = record.misc() & MODE.0 == MODE.1;
            let bytes = record.to_contiguous();
            let address = bytes.as_chunks::<8>().0.first().map_or(0, |word| u64::from_ne_bytes(*word));
            match (record.ty(), decode(&bytes)) {
                (SAMPLE, Some((thread, words))) => see(sample(thread, user, address, &words)),
                (LOST, Some((_, words))) => lost += words.first().copied().unwrap_or(0),
                // Throttling and the like: nothing that was sampled.
                _ => {}
            }
        }
        lost
    }
}

/// PERF_RECORD_SAMPLE: the address, the process, the thread, the call chain behind its length, and the registers asked for
/// behind the word that says whether there are any.
const SAMPLE: u32 = 9;

/// PERF_RECORD_LOST: an id, and how many.
const LOST: u32 = 2;

/// The upper half of a record's second word, and the words from there on. By hand, because perf-event-data 0.1.8 takes a
/// sample whose call chain is empty for one that is cut off, and all samples in user space are such.
fn decode(bytes: &[u8]) -> Option<(i32, Vec<u64>)> {
    let (words, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    let second = *bytes.get(8..16)?.as_chunks::<4>().0.get(1)?;
    Some((i32::from_ne_bytes(second), words[1..].to_vec()))
}

/// `words`: process and thread, how long the chain is, the chain, the kind of registers (0: none), RSI, RDI.
fn sample(thread: i32, user: bool, address: u64, words: &[u64]) -> StackSample {
    let length = words.get(1).map_or(0, |length| usize::try_from(*length).unwrap_or(usize::MAX));
    let chain = words.iter().skip(2).take(length).copied().filter(|address| *address < MARKS);
    let copying = match words.get(length.saturating_add(2)..) {
        Some(&[kind, source, destination, ..]) if kind != 0 => Some(CopyRegisters { destination, source }),
        _ => None,
    };
    StackSample { thread, user, address, chain: chain.collect(), copying }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_sample_is_read_with_and_without_a_chain() {
        let ids = u64::from_ne_bytes([7, 0, 0, 0, 9, 0, 0, 0]);
        for (chain, read) in [(&[][..], &[][..]), (&[MARKS + 3, 0x40, 0x30], &[0x40, 0x30])] {
            let record = bytes(&[&[0x40, ids, chain.len() as u64], chain].concat());
            let (thread, words) = decode(&record).unwrap();
            assert_eq!(
                sample(thread, false, 0x40, &words),
                StackSample { thread: 9, user: false, address: 0x40, chain: read.to_vec(), copying: None }
            );
            let with_registers =
                bytes(&[&[0x40, ids, chain.len() as u64], chain, &[2, 0x1000, 0x2010]].concat());
            let copying = sample(9, false, 0x40, &decode(&with_registers).unwrap().1).copying;
            assert_eq!(copying, Some(CopyRegisters { destination: 0x2010, source: 0x1000 }));
        }
        assert_eq!(decode(&bytes(&[1, 17])).unwrap().1, [17]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(record in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((thread, words)) = decode(&record) {
                let _ = sample(thread, true, 0, &words);
            }
        }
    }
}
