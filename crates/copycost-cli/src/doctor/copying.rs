//! Whether copies are slow where the ends' offsets lie at some distances (docs/buffer-offsets.md).
//!
//! Measured, on every CPU, and never assumed from a CPU's name: which instruction the kernel and the C library copy with is
//! the choice of both.

use std::fmt;
use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;
use copycost::internals::sys::{sched, splice};
use copycost::offset::{PERIOD, Pages, is_slow};
use socket2::SockRef;

/// Who copies.
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
    /// Each of them.
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

/// How long one copy took, at best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CopyTime {
    /// On which CPU.
    pub cpu: usize,
    /// Who copied.
    pub by: Copier,
    /// How much.
    pub bytes: usize,
    /// (Destination − source) modulo 4096.
    pub distance: usize,
    /// The shortest time of several.
    pub took: Duration,
}

/// The larger of them.
const LARGEST: usize = SIZES[1];

/// What is copied.
const SIZES: [usize; 2] = [1 << 10, 64 << 10];

/// Where the hazard is known to be and where it is known not to be.
const DISTANCES: [usize; 6] = [0, 8, 16, 31, 32, 64];

/// From this factor on a copy is called slow. Where the hazard is, the factor is 5 and more; elsewhere 1.2 was the most.
const SLOW_FROM: f64 = 2.0;

/// Copies, and says how long it took.
pub trait CopyTimer {
    /// Copies `bytes` once, the offsets of destination and source `distance` apart.
    fn copy(&mut self, by: Copier, bytes: usize, distance: usize) -> io::Result<Duration>;
}

/// The times on `cpu` of every kind of copy that can be made here.
pub fn times(copying: &mut dyn CopyTimer, cpu: usize) -> Vec<CopyTime> {
    const TRIES: usize = 7;
    let mut times = Vec::new();
    for by in Copier::ALL {
        for bytes in SIZES {
            for distance in DISTANCES {
                let tries = (0..TRIES).filter_map(|_| copying.copy(by, bytes, distance).ok());
                times.extend(tries.min().map(|took| CopyTime { cpu, by, bytes, distance, took }));
            }
        }
    }
    times
}

/// The times on each of `cpus`, some milliseconds for each.
pub(super) fn measure(cpus: &[usize]) -> Vec<CopyTime> {
    let on = |cpu: usize| {
        let here = move || sched::pin(&[cpu]).and_then(|()| Ok(times(&mut Here::open()?, cpu)));
        let thread = thread::Builder::new().name("copies".to_owned()).spawn(here);
        thread.ok().and_then(|thread| thread.join().ok()?.ok()).unwrap_or_default()
    };
    // Another program may take the CPU in a moment that is measured; it does not take the same one twice.
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

/// By how much the slowest copy of a kind is slower than that at distance 0, 32 or 64, whichever was the fastest.
fn factor(times: &[&CopyTime]) -> Option<f64> {
    let of = |slow: bool| times.iter().filter(move |time| is_slow(time.distance, 0) == slow).map(|t| t.took);
    let (fast, slow) = (of(false).min()?, of(true).max()?);
    Some(slow.as_secs_f64() / fast.as_secs_f64().max(1e-9))
}

/// That factor of each kind of copy on each CPU, of the worse size.
fn factors(all: &[CopyTime]) -> Vec<(usize, Copier, f64)> {
    let mut kinds: Vec<(usize, Copier)> = all.iter().map(|time| (time.cpu, time.by)).collect();
    // Times come by CPU and by copier.
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

/// By how much the slowest kind of copy is slower on any of these CPUs at a distance of 1 to 31, where that was measured; 1
/// where it is not slower beyond doubt.
pub fn slowness() -> Option<f64> {
    let measured = factors(&measure(&sched::allowed_cpus().ok()?));
    let worst = measured.into_iter().map(|(_, _, factor)| factor).reduce(f64::max)?;
    Some(if worst >= SLOW_FROM { worst } else { 1.0 })
}

/// Whether copies depend on where in a page their ends begin.
pub(super) fn hazard(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let all = &machine.facts.copies;
    let mut cpus: Vec<usize> = all.iter().map(|time| time.cpu).collect();
    cpus.dedup();
    let slow: Vec<_> = factors(all).into_iter().filter(|(_, _, factor)| *factor >= SLOW_FROM).collect();
    let slow_cpus = cpus.iter().filter(|cpu| slow.iter().any(|(on, _, _)| on == *cpu)).count();
    let worst_of = |copier: Copier| {
        let factors = slow.iter().filter(|(_, by, _)| *by == copier).map(|(_, _, factor)| *factor);
        Some((copier, factors.reduce(f64::max)?))
    };
    let hit: Vec<(Copier, f64)> = Copier::ALL.into_iter().filter_map(worst_of).collect();
    if cpus.is_empty() {
        return Ok(CheckResult::note("It was not measured whether copies depend on where buffers begin."));
    }
    let allowed = machine.facts.allowed_cpus.len();
    let measured = match cpus.len() {
        1 => "the CPU measured".to_owned(),
        number if number < allowed => format!("the {number} of {allowed} CPUs that could be measured"),
        _ => "every CPU".to_owned(),
    };
    let Some(worst) = hit.iter().map(|(_, factor)| *factor).reduce(f64::max) else {
        return Ok(CheckResult::ready(format!(
            "No copy hazard: on {measured}, copies take equally long wherever in a page the buffers begin."
        )));
    };
    let each: Vec<_> = hit.iter().map(|(by, factor)| format!("{by} {factor:.1} times")).collect();
    let cpus = if slow_cpus == cpus.len() {
        String::new()
    } else {
        format!(" on {slow_cpus} of {} CPUs", cpus.len())
    };
    Ok(CheckResult::note(format!(
        "Copy hazard{cpus}: copies are up to {worst:.1} times slower where destination minus source, modulo 4096, is 1 to 31 \
         ({}).",
        each.join(", ")
    ))
    .effect(
        "copycost places its own buffers so that they avoid it. In other programs the allocator places them: \
         glibc begins mapped allocations, 128 KiB and larger, 16 bytes into a page.",
    )
    .fix("begin receive buffers 64 bytes into a page, and pad headers to a multiple of 32 bytes"))
}

/// This machine.
struct Here {
    from: Pages,
    to: Pages,
    pipe: (PipeReader, PipeWriter),
    ends: (TcpStream, TcpStream),
}

impl Here {
    fn open() -> io::Result<Self> {
        // A user who has many pipes gets short ones, into which a write of this length would wait for ever (pipe(7)).
        let pipe = io::pipe()?;
        if splice::pipe_bytes(&pipe.1)? < LARGEST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { from: Pages::new(LARGEST), to: Pages::new(LARGEST), pipe, ends: ends()? })
    }
}

/// Both ends of a connection over loopback, on which nobody waits.
fn ends() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let far = listener.accept()?.0;
    // So that what is sent is there before anybody receives.
    SockRef::from(&near).set_send_buffer_size(16 * LARGEST)?;
    SockRef::from(&far).set_recv_buffer_size(16 * LARGEST)?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    Ok((near, far))
}

fn timed<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<Duration> {
    let began = Instant::now();
    act()?;
    Ok(began.elapsed())
}

impl CopyTimer for Here {
    fn copy(&mut self, by: Copier, bytes: usize, distance: usize) -> io::Result<Duration> {
        // Pages of the kernel begin at 0, so that the program's end alone decides the distance.
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
                // One alone may take less than a tick of the clock.
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
                // Whole pages are sent, so that each message begins one of the kernel's pages.
                let whole = bytes.next_multiple_of(PERIOD);
                self.ends.0.write_all(self.from.at(0, whole))?;
                let took = timed(|| self.ends.1.read_exact(self.to.at(distance, bytes)));
                let rest = self.ends.1.read_exact(self.to.at(0, whole - bytes));
                if took.is_err() || rest.is_err() {
                    // What was not read would shift all that follows.
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
    use crate::doctor::{Facts, Status};

    /// Copies a byte in a nanosecond, and where `slow` says so five times slower.
    struct Fake(fn(Copier, usize) -> bool);

    impl CopyTimer for Fake {
        fn copy(&mut self, by: Copier, bytes: usize, distance: usize) -> io::Result<Duration> {
            Ok(Duration::from_nanos(bytes as u64) * if (self.0)(by, distance) { 5 } else { 1 })
        }
    }

    fn found(copies: Vec<CopyTime>) -> super::super::Finding {
        let machine = Machine::at("/nonexistent", Facts { copies, ..Facts::default() });
        hazard(&machine, &PlannedRun::default()).unwrap().of("copy-hazard")
    }

    #[test]
    fn a_machine_without_it_is_ready() {
        let found = found(times(&mut Fake(|_, _| false), 0));
        assert_eq!(found.status, Status::Ready, "{found:?}");
        assert!(found.told.starts_with("No copy hazard"));
    }

    #[test]
    fn the_hazard_is_told_with_its_factor_who_is_hit_and_what_to_do() {
        let hit = |by: Copier, distance: usize| by != Copier::Memcpy && (1..=31).contains(&distance);
        let mut copies = times(&mut Fake(hit), 0);
        let finding = found(copies.clone());
        assert_eq!(finding.status, Status::Note, "{finding:?}");
        for part in ["5.0 times slower", "1 to 31", "by recv 5.0 times"] {
            assert!(finding.told.contains(part), "{part}: {finding:?}");
        }
        assert!(!finding.told.contains("memcpy") && !finding.told.contains("CPUs"), "{finding:?}");
        assert!(finding.fix.unwrap().contains("64 bytes into a page"));
        // One of two kinds of CPUs.
        copies.extend(times(&mut Fake(|_, _| false), 1));
        assert!(found(copies).told.starts_with("Copy hazard on 1 of 2 CPUs"));
    }

    #[test]
    fn what_was_not_measured_is_not_told() {
        struct Broken;
        impl CopyTimer for Broken {
            fn copy(&mut self, _: Copier, _: usize, _: usize) -> io::Result<Duration> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        let found = found(times(&mut Broken, 0));
        assert_eq!(found.status, Status::Note);
        assert!(found.told.contains("was not measured"));
    }

    #[test]
    fn this_machine_copies_in_every_way_at_the_distance_asked_for() {
        let cpus = sched::allowed_cpus().unwrap();
        let measured = measure(&cpus[..1]);
        assert_eq!(measured.len(), Copier::ALL.len() * SIZES.len() * DISTANCES.len(), "{measured:?}");
        assert!(measured.iter().all(|time| time.took > Duration::ZERO));
    }
}
