//! Whether the kernel's thread clock includes softirq work that interrupted the thread.
//!
//! With IRQ_TIME_ACCOUNTING it does not, and a loopback sender's clock then misses half of the cost of
//! sending. No file says whether it is in force: `tsc=noirqtime` or an unstable TSC turn it off at run time.
//! So a trial decides: a thread that sends datagrams to itself spends a quarter of its time in softirq. In a
//! burst without a context switch, its clock advances as the wall clock does, unless softirq is excluded.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::sys::clock::thread_cpu_time;
use crate::sys::rusage::thread_usage;

/// Whose clock counts the softirq time that interrupts a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftirqTime {
    /// The thread's clock.
    Included,
    /// No clock.
    Excluded,
    /// Not known: neither the trial nor the kernel's configuration decided.
    Unknown,
}

/// One burst of the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// Its length by the wall clock.
    pub wall: Duration,
    /// Its length by the thread clock.
    pub thread: Duration,
    /// Context switches in it. A burst with a switch proves nothing, because the thread was off the CPU.
    pub switches: u64,
}

/// The length of a burst: much longer than two clock reads (under 1 µs), short enough that most bursts are
/// not interrupted.
const BURST: Duration = Duration::from_millis(1);

/// The number of bursts. The best one decides, so an interrupted one does no harm.
const BURSTS: usize = 20;

/// From this share of the wall clock on, the thread clock includes everything: see docs/tuning.md, "CPU
/// time".
const NOTHING_MISSING: f64 = 0.97;

/// Up to this share the thread clock excludes softirq: see docs/tuning.md, "CPU time".
const SOFTIRQ_MISSING: f64 = 0.90;

/// The answer for this machine. The first call in a process runs the trial (about 20 ms).
pub fn in_thread_clock() -> SoftirqTime {
    static ANSWER: OnceLock<SoftirqTime> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let by_trial = trial().map_or(SoftirqTime::Unknown, |bursts| judge(&bursts));
        match by_trial {
            SoftirqTime::Unknown => by_configuration(Path::new("/")),
            known => known,
        }
    })
}

/// Decides by the best burst without a context switch.
pub fn judge(bursts: &[Burst]) -> SoftirqTime {
    let shares = bursts
        .iter()
        .filter(|burst| burst.switches == 0 && !burst.wall.is_zero())
        .map(|burst| burst.thread.as_secs_f64() / burst.wall.as_secs_f64());
    match shares.fold(None, |best: Option<f64>, share| Some(best.map_or(share, |best| best.max(share)))) {
        Some(best) if best >= NOTHING_MISSING => SoftirqTime::Included,
        Some(best) if best <= SOFTIRQ_MISSING => SoftirqTime::Excluded,
        _ => SoftirqTime::Unknown,
    }
}

/// What the text of a kernel configuration says. An option that is built in counts as in force, to be
/// careful.
pub fn configured(text: &str) -> SoftirqTime {
    const OPTION: &str = "CONFIG_IRQ_TIME_ACCOUNTING";
    for line in text.lines().map(str::trim) {
        if line.strip_prefix(OPTION) == Some("=y") {
            return SoftirqTime::Excluded;
        }
        let unset = line.strip_prefix("# ").and_then(|rest| rest.strip_prefix(OPTION));
        if unset == Some(" is not set") {
            return SoftirqTime::Included;
        }
    }
    SoftirqTime::Unknown
}

/// The fallback: the configuration as a distribution leaves it in plain text (/proc/config.gz would need
/// inflating).
fn by_configuration(root: &Path) -> SoftirqTime {
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    let release = release.trim();
    [format!("boot/config-{release}"), format!("lib/modules/{release}/config")]
        .iter()
        .filter_map(|path| fs::read_to_string(root.join(path)).ok())
        .map(|text| configured(&text))
        .find(|&answer| answer != SoftirqTime::Unknown)
        .unwrap_or(SoftirqTime::Unknown)
}

/// Sends datagrams to its own socket. When the receive buffer is full, the kernel drops the rest, also in
/// softirq.
fn trial() -> io::Result<Vec<Burst>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(socket.local_addr()?)?;
    (0..BURSTS).map(|_| burst(&socket)).collect()
}

fn burst(socket: &UdpSocket) -> io::Result<Burst> {
    // Datagrams between two readings of the clock.
    const AT_ONCE: usize = 16;
    let usage = thread_usage()?;
    let thread = thread_cpu_time()?;
    let begun = Instant::now();
    while begun.elapsed() < BURST {
        for _ in 0..AT_ONCE {
            socket.send(&[0; 64])?;
        }
    }
    let wall = begun.elapsed();
    Ok(Burst {
        wall,
        thread: thread_cpu_time()?.saturating_sub(thread),
        switches: thread_usage()?.switches() - usage.switches(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(share: f64, switches: u64) -> Burst {
        Burst {
            wall: Duration::from_micros(1000),
            thread: Duration::from_micros(1000).mul_f64(share),
            switches,
        }
    }

    #[test]
    fn the_best_undisturbed_burst_decides() {
        assert_eq!(judge(&[at(0.6, 0), at(0.999, 0), at(0.8, 0)]), SoftirqTime::Included);
        assert_eq!(judge(&[at(0.72, 0), at(0.74, 0)]), SoftirqTime::Excluded);
        // A burst with a switch proves nothing, in either direction.
        assert_eq!(judge(&[at(0.5, 1), at(1.0, 2)]), SoftirqTime::Unknown);
        assert_eq!(judge(&[at(0.93, 0)]), SoftirqTime::Unknown);
        assert_eq!(judge(&[]), SoftirqTime::Unknown);
    }

    #[test]
    fn the_configuration_is_the_fallback() {
        let set = "CONFIG_TICK_CPU_ACCOUNTING=y\nCONFIG_IRQ_TIME_ACCOUNTING=y\n";
        assert_eq!(configured(set), SoftirqTime::Excluded);
        let unset = "CONFIG_HAVE_IRQ_TIME_ACCOUNTING=y\n# CONFIG_IRQ_TIME_ACCOUNTING is not set\n";
        assert_eq!(configured(unset), SoftirqTime::Included);
        assert_eq!(configured("CONFIG_HAVE_IRQ_TIME_ACCOUNTING=y\n"), SoftirqTime::Unknown);
    }

    #[test]
    fn the_trial_runs_here_and_is_remembered() {
        let bursts = trial().unwrap();
        assert_eq!(bursts.len(), BURSTS);
        println!("bursts: {bursts:?}, judged {:?}", judge(&bursts));
        assert_eq!(in_thread_clock(), in_thread_clock());
    }
}
