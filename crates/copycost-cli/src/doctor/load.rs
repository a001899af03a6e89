//! What else runs on this machine now: who competes for the CPUs decides the figures more than any path does.

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;

const PRESSURE: &str = "/proc/pressure/cpu";
const LOAD: &str = "/proc/loadavg";

/// With so many per cent of time in which some thread waits for a CPU, turns of some paths fall into it and others not.
const WAITING_PERCENT: f64 = 10.0;

/// Whether other programs use the CPUs: by the time that threads wait for one, or where the kernel does not say
/// (Documentation/accounting/psi.rst), by the load average.
pub(super) fn load(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let cpus = machine.facts.allowed_cpus.len().max(1);
    let load = machine.read(LOAD)?;
    let of_minute: f64 = load
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| Unread::strange(LOAD, &load))?;
    let waiting = machine.read_if_there(PRESSURE)?.as_deref().and_then(some_of_ten_seconds);
    let (told, busy) = match waiting {
        Some(percent) => (
            format!(
                "In the last 10 seconds threads waited for a CPU {percent:.0} % of the time; the load average is {of_minute:.1} \
                 with {cpus} CPUs."
            ),
            percent > WAITING_PERCENT,
        ),
        None => (
            format!("The load average of the last minute is {of_minute:.1}, with {cpus} CPUs."),
            of_minute > cpus as f64 / 2.0,
        ),
    };
    if !busy {
        return Ok(CheckResult::ready(told));
    }
    Ok(CheckResult::distorts(told)
        .effect("Programs that run beside copycost take CPU time and caches from the paths, and intervals get wide. Its own last run counts too.")
        .fix("wait some seconds, or stop what runs (`top` shows it)"))
}

/// `avg10` of the line `some`.
fn some_of_ten_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_from_its_line() {
        let text = "some avg10=12.50 avg60=3.00 avg300=1.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(some_of_ten_seconds(text), Some(12.5));
        assert_eq!(some_of_ten_seconds("full avg10=1.0"), None);
        assert_eq!(some_of_ten_seconds("some avg10=x"), None);
    }
}
