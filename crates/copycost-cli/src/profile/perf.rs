//! Samples by perf_event_open(2), and the symbols of this machine's kernel.

use std::fs;
use std::io;
use std::str::FromStr;

use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

use super::source::{CopyRegisters, SampleRing, SampleSource, StackSample};
use copycost::internals::cost::opener::CounterReach;

/// The sizes of a ring in bytes. The large one holds a quarter of a second at 4 kHz. The small one is used if the
/// memory that perf may lock (`perf_event_mlock_kb`) is short, or at low rates.
const RING_BYTES: [usize; 2] = [512 << 10, 64 << 10];

/// Up to this rate the small ring holds more than a tenth of a second.
const FEW_HERTZ: u64 = 1000;

/// The most frames of a call chain. About forty lead from a system call through softirq to the wake-up of a receiver.
const DEEPEST: u16 = 64;

/// Entries of a call chain from this value on are context marks and not addresses (PERF_CONTEXT_MAX,
/// linux/perf_event.h).
const MARKS: u64 = -4095_i64 as u64;

/// RSI and RDI (arch/x86/include/uapi/asm/perf_regs.h), the source and the destination of `rep movsb`. Other
/// architectures have no such instruction: they copy in loops over many registers.
const REGISTERS: u64 = if cfg!(target_arch = "x86_64") { 1 << 4 | 1 << 5 } else { 0 };

/// The bits of a record's `misc` for the CPU mode, and their value for user space (PERF_RECORD_MISC_USER,
/// linux/perf_event.h).
const MODE: (u16, u16) = (7, 2);

/// The samples and symbols of this machine.
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
            // sample_regs_intr() sets the registers of user space instead (perf-event2 0.7.4).
            builder.sample(SampleFlag::REGS_INTR).attrs_mut().sample_regs_intr = REGISTERS;
        }
        let [large, small] = RING_BYTES;
        let large = if hertz > FEW_HERTZ { large } else { small };
        let ring = builder.build()?.sampled(large).or_else(|_| builder.build()?.sampled(small))?;
        Ok(Box::new(ring))
    }
}

impl SampleSource for PerfSampler {
    /// Samples the thread and not its CPU. The timer of a CPU keeps running across context switches and fires late in a
    /// virtual machine, so it charges the end of a time slice to the next thread. In the lab, where the sender sleeps
    /// between bursts of 100 µs, samples by CPU were up to 45 % off the sender's clock, and samples by thread at most
    /// 2.5 %.
    fn open(&self, thread: i32, reach: CounterReach, hertz: u64) -> io::Result<Box<dyn SampleRing>> {
        self.open_with(thread, reach, hertz, REGISTERS != 0).or_else(|error| match error.raw_os_error() {
            // This kernel cannot sample registers.
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
                // Records such as those of throttling hold no samples.
                _ => {}
            }
        }
        lost
    }
}

/// PERF_RECORD_SAMPLE: the address, the process and the thread, the length of the call chain and the chain, and a word
/// that is 0 without registers and else followed by them.
const SAMPLE: u32 = 9;

/// PERF_RECORD_LOST: an id and the number of lost samples.
const LOST: u32 = 2;

/// The upper half of a record's second word (the thread), and the words from there on. Parsed here, because
/// perf-event-data 0.1.8 takes a sample with an empty call chain, as all in user space are, for a truncated one.
fn decode(bytes: &[u8]) -> Option<(i32, Vec<u64>)> {
    let (words, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    let second = *bytes.get(8..16)?.as_chunks::<4>().0.get(1)?;
    Some((i32::from_ne_bytes(second), words[1..].to_vec()))
}

/// Builds a sample from `words`: process and thread, length of the chain, the chain, kind of registers (0: none), RSI,
/// RDI.
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
