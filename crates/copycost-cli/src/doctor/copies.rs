//! The duration of copies by the distance between the page offsets of source and destination (docs/buffer-offsets.md).
//!
//! The times are measured on every CPU. The CPU's name does not determine them, because the kernel and the C library
//! each choose their copy instruction.

use std::fmt;
use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use copycost::internals::sys::{sched, splice};
use copycost::offset::{PERIOD, Pages, is_slow};
use socket2::SockRef;

/// The code that makes a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copier {
    /// The kernel, from the memory of a program into its own: write(2) to a pipe.
    ToKernel,
    /// The kernel, from its own memory into a program's: read(2) from a pipe.
    FromKernel,
    /// The C library's memcpy(3).
    Memcpy,
    /// recv(2) from a TCP connection over loopback.
    Recv,
}

impl Copier {
    /// All copiers, in the order in which they are measured and reported.
    pub const ALL: [Self; 4] = [Self::ToKernel, Self::FromKernel, Self::Memcpy, Self::Recv];
}

impl fmt::Display for Copier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToKernel => "into the kernel",
            Self::FromKernel => "out of the kernel",
            Self::Memcpy => "by memcpy",
            Self::Recv => "by recv",
        })
    }
}

/// The shortest time of one kind of copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CopyTime {
    /// The CPU that made the copy.
    pub cpu: usize,
    /// The code that made the copy.
    pub by: Copier,
    /// The length of the copy in bytes.
    pub bytes: usize,
    /// (Destination − source) modulo 4096.
    pub distance: usize,
    /// The shortest time of several tries.
    pub took: Duration,
}

/// The larger of [`SIZES`].
const LARGEST: usize = SIZES[1];

/// Bytes of each copy.
const SIZES: [usize; 2] = [1 << 10, 64 << 10];

/// Distances with the hazard (8, 16, 31) and without it (0, 32, 64).
const DISTANCES: [usize; 6] = [0, 8, 16, 31, 32, 64];

/// The factor from which a copy counts as slow. On CPUs with the hazard it is 5 or more; on others at most 1.2 was
/// measured.
pub(super) const SLOW_FROM: f64 = 2.0;

/// Makes copies and measures their time.
pub trait CopyTimer {
    /// Copies `bytes` once, with the offset of the destination `distance` bytes after that of the source.
    fn copy(&mut self, by: Copier, bytes: usize, distance: usize) -> io::Result<Duration>;
}

/// The times of every kind of copy that works on this machine, labelled with `cpu`.
pub fn times(timer: &mut dyn CopyTimer, cpu: usize) -> Vec<CopyTime> {
    const TRIES: usize = 7;
    let mut times = Vec::new();
    for by in Copier::ALL {
        for bytes in SIZES {
            for distance in DISTANCES {
                let tries = (0..TRIES).filter_map(|_| timer.copy(by, bytes, distance).ok());
                times.extend(tries.min().map(|took| CopyTime { cpu, by, bytes, distance, took }));
            }
        }
    }
    times
}

/// Measures all copies on each of `cpus`; takes some milliseconds per CPU.
pub(super) fn measure(cpus: &[usize]) -> Vec<CopyTime> {
    let on = |cpu: usize| {
        let work = move || sched::pin(&[cpu]).and_then(|()| Ok(times(&mut SystemCopyTimer::open()?, cpu)));
        let thread = thread::Builder::new().name("copies".to_owned()).spawn(work);
        thread.ok().and_then(|thread| thread.join().ok()?.ok()).unwrap_or_default()
    };
    // Another program may run on the CPU during a measured copy. A second measurement is unlikely to hit the same copy.
    let confirmed = |cpu: usize| {
        let mut times = on(cpu);
        if factors(&times).iter().any(|(_, _, factor)| *factor >= SLOW_FROM) {
            let again = on(cpu);
            times.iter_mut().zip(&again).for_each(|(one, other)| one.took = one.took.min(other.took));
        }
        times
    };
    cpus.iter().flat_map(|&cpu| confirmed(cpu)).collect()
}

/// The time of the slowest copy at a hazardous distance, as a multiple of the fastest at distance 0, 32 or 64.
fn factor(times: &[&CopyTime]) -> Option<f64> {
    let of = |slow: bool| times.iter().filter(move |time| is_slow(time.distance, 0) == slow).map(|t| t.took);
    let (fast, slow) = (of(false).min()?, of(true).max()?);
    Some(slow.as_secs_f64() / fast.as_secs_f64().max(1e-9))
}

/// The factor of each copier on each CPU, for the size with the larger factor.
pub(super) fn factors(all: &[CopyTime]) -> Vec<(usize, Copier, f64)> {
    let mut kinds: Vec<(usize, Copier)> = all.iter().map(|time| (time.cpu, time.by)).collect();
    // The times are grouped by CPU and by copier.
    kinds.dedup();
    let of_kind = |(cpu, by): (usize, Copier)| {
        let of_size = |bytes: usize| {
            let same = |time: &&CopyTime| (time.cpu, time.by, time.bytes) == (cpu, by, bytes);
            factor(&all.iter().filter(same).collect::<Vec<_>>())
        };
        Some((cpu, by, SIZES.into_iter().filter_map(of_size).reduce(f64::max)?))
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

/// The largest factor by which a distance of 1 to 31 slows copies on any allowed CPU. It is 1 below `SLOW_FROM`, and
/// `None` if nothing could be measured.
pub fn slowness() -> Option<f64> {
    let measured = factors(&measure(&sched::allowed_cpus().ok()?));
    let worst = measured.into_iter().map(|(_, _, factor)| factor).reduce(f64::max)?;
    Some(if worst >= SLOW_FROM { worst } else { 1.0 })
}

/// Makes real copies on this machine.
struct SystemCopyTimer {
    from: Pages,
    to: Pages,
    pipe: (PipeReader, PipeWriter),
    ends: (TcpStream, TcpStream),
}

impl SystemCopyTimer {
    fn open() -> io::Result<Self> {
        // A user with many pipes gets short ones (pipe(7)), into which a write of this length would block forever.
        let pipe = io::pipe()?;
        if splice::pipe_bytes(&pipe.1)? < LARGEST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { from: Pages::new(LARGEST), to: Pages::new(LARGEST), pipe, ends: ends()? })
    }
}

/// Both ends of a non-blocking connection over loopback.
fn ends() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let far = listener.accept()?.0;
    // Large buffers, so that all data have arrived before the receive begins.
    SockRef::from(&near).set_send_buffer_size(16 * LARGEST)?;
    SockRef::from(&far).set_recv_buffer_size(16 * LARGEST)?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    Ok((near, far))
}

fn timed<T>(action: impl FnOnce() -> io::Result<T>) -> io::Result<Duration> {
    let began = Instant::now();
    action()?;
    Ok(began.elapsed())
}

impl CopyTimer for SystemCopyTimer {
    fn copy(&mut self, by: Copier, bytes: usize, distance: usize) -> io::Result<Duration> {
        // The kernel's end begins at offset 0 of a page, so the program's end alone determines the distance.
        let source = (PERIOD - distance) % PERIOD;
        match by {
            Copier::ToKernel => {
                let (reader, writer) = &mut self.pipe;
                let took = timed(|| writer.write_all(self.from.at(source, bytes)));
                reader.read_exact(self.to.at(0, bytes))?;
                took
            }
            Copier::FromKernel => {
                let (reader, writer) = &mut self.pipe;
                writer.write_all(self.from.at(0, bytes))?;
                timed(|| reader.read_exact(self.to.at(distance, bytes)))
            }
            Copier::Memcpy => {
                let (from, to) = (self.from.at(0, bytes), self.to.at(distance, bytes));
                // A single copy may take less than the resolution of the clock.
                const COPIES: u32 = 64;
                let took = timed(|| {
                    for _ in 0..COPIES {
                        black_box(&mut *to).copy_from_slice(black_box(from));
                    }
                    Ok(())
                });
                took.map(|took| took / COPIES)
            }
            Copier::Recv => {
                // The message takes whole pages, so that each one begins at a page of the kernel.
                let whole = bytes.next_multiple_of(PERIOD);
                self.ends.0.write_all(self.from.at(0, whole))?;
                let took = timed(|| self.ends.1.read_exact(self.to.at(distance, bytes)));
                let rest = self.ends.1.read_exact(self.to.at(0, whole - bytes));
                if took.is_err() || rest.is_err() {
                    // Unread bytes would shift all later messages.
                    self.ends = ends()?;
                }
                took
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_copy_is_measured_on_this_machine() {
        let cpus = sched::allowed_cpus().unwrap();
        let measured = measure(&cpus[..1]);
        assert_eq!(measured.len(), Copier::ALL.len() * SIZES.len() * DISTANCES.len(), "{measured:?}");
        assert!(measured.iter().all(|time| time.took > Duration::ZERO));
    }
}
