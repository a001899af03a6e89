//! Other load on this machine now. Competition for the CPUs changes the results more than the choice of the path.

use super::Machine;
use super::PlannedRun;
use super::finding::CheckResult;
use super::machine::Unread;

const PRESSURE: &str = "/proc/pressure/cpu";
const LOAD: &str = "/proc/loadavg";

/// The threshold for the time in which some thread waits for a CPU. Above it, the load hits the runs of some paths and
/// not those of others.
const WAITING_PERCENT: f64 = 10.0;

/// Checks whether other programs use the CPUs. Uses the time that threads wait for a CPU
/// (Documentation/accounting/psi.rst), or the load average on kernels without it.
pub(super) fn load(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let cpus = machine.facts.allowed_cpus.len().max(1);
    let load = machine.read(LOAD)?;
    let of_minute: f64 = load
        .split_whitespace()
        .next()
        .and_then(|average| average.parse().ok())
        .ok_or_else(|| Unread::strange(LOAD, &load))?;
    let waiting = machine.read_if_there(PRESSURE)?.as_deref().and_then(some_of_ten_seconds);
    let (message, busy) = match waiting {
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
        return Ok(CheckResult::ready(message));
    }
    Ok(CheckResult::distorts(message)
        .effect("Programs that run beside copycost take CPU time and caches from the paths, and intervals get wide. Its own last run counts too.")
        .fix("wait some seconds, or stop what runs (`top` shows it)"))
}

/// The value of `avg10` in the line `some`.
fn some_of_ten_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
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
