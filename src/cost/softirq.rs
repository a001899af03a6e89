//! Does the kernel's thread clock include the softirq work that ran on top of the thread?
//!
//! With IRQ_TIME_ACCOUNTING it does not, and a loopback sender's clock then misses half of what sending costs. No
//! file says whether it is in force: the kernel's configuration says whether it was built in, and `tsc=noirqtime`
//! or an unstable TSC turns it off at run time; /proc/stat counts softirq either way. So it is tried: a thread that
//! sends itself datagrams spends a quarter of its time in softirq (27 % measured), and in a burst without a context
//! switch its clock must advance as the wall clock does, unless that part is left out.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::sys::clock::thread_cpu_time;
use crate::sys::rusage::thread_usage;

/// Where softirq time on top of a thread goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftirqTime {
    /// Into the thread's clock.
    Included,
    /// Into nobody's.
    Excluded,
    /// Neither the trial nor the kernel's configuration told.
    Unknown,
}

/// One burst of the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// By the wall clock.
    pub wall: Duration,
    /// By the thread clock.
    pub thread: Duration,
    /// Context switches in between: a burst with any proves nothing, as the thread was off the CPU.
    pub switches: u64,
}

/// Length of a burst: long against two clock reads (under 1 µs), short enough that most are not interrupted.
const BURST: Duration = Duration::from_millis(1);

/// Bursts tried. The best one decides, so a stolen or interrupted one does no harm.
const BURSTS: usize = 20;

/// From this share of the wall clock on, the thread clock misses nothing: with softirq included 0.998 and more is
/// usual, and the rest leaves room for a hypervisor's steal.
const NOTHING_MISSING: f64 = 0.97;

/// Up to this share something is left out: the flood's softirq share is over 0.2 wherever it was looked at.
const SOFTIRQ_MISSING: f64 = 0.90;

/// The answer for this machine; tried once per process (about 20 ms), then remembered.
pub fn in_thread_clock() -> SoftirqTime {
    static ANSWER: OnceLock<SoftirqTime> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let tried = trial().map_or(SoftirqTime::Unknown, |bursts| judge(&bursts));
        match tried {
            SoftirqTime::Unknown => by_configuration(Path::new("/")),
            known => known,
        }
    })
}

/// What the bursts say, by the best of those without a context switch.
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

/// What the text of a kernel configuration says. Built in counts as in force, which errs on the careful side.
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

/// The second witness, read where a distribution leaves it in plain text (/proc/config.gz would need inflating).
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

/// Sends datagrams to itself; the receive buffer fills and the rest is dropped, in softirq like the first.
fn trial() -> io::Result<Vec<Burst>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(socket.local_addr()?)?;
    (0..BURSTS).map(|_| burst(&socket)).collect()
}

fn burst(socket: &UdpSocket) -> io::Result<Burst> {
    // Datagrams between two looks at the clock.
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
    fn the_configuration_is_the_second_witness() {
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
