//! `copycost doctor --self-test` and `--iperf3`: checks of copycost itself.

use std::time::Duration;

use super::output;
use super::progress::Progress;
use super::{Done, Failure, signals};
use crate::compare::iperf3::Contest;
use crate::compare::self_test::{
    self, ALARMS_OF_100, CellSeries, DRIFT, FOUND_OF_100, Findings, SLOWED_BY, SelfTestReport,
};
use crate::compare::trial::SETUPS;
use crate::stats::{Estimate, Interval, Pair, Unusable};
use copycost::message::Spec;
use copycost::scenario::Scenario;
use copycost::send;

/// The message size of the self-test, in bytes: both system calls and copying contribute to the cost of sending it.
const SIZE: usize = 16_384;

/// Where standard error is not a terminal, one progress line for so many cells.
const CELLS_PER_LINE: usize = 10;

/// First guess of how long one cell of each kind takes; the progress bar corrects it.
const CELL: Duration = Duration::from_secs(2);

/// First guess of how long a set-up with iperf3 takes.
const SETUP: Duration = Duration::from_secs(4);

/// Measures a path against itself and against a copy slowed by a known share, and counts false alarms and misses.
pub fn self_test(cells: usize) -> Result<Done, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the self-test failed: {error}"));
    let signals = signals::listen()?;
    let path = send::by_name("onecopy").ok_or_else(|| failed(&"there is no path onecopy"))?;
    let scenario = Scenario::new(path, Spec::new(SIZE).map_err(|error| failed(&error))?, 1);
    let mut progress = Progress::of_steps(cells, CELL);
    let mut interrupted = false;
    let mut go_on = |report: &SelfTestReport| {
        let Findings { equal, slowed, .. } = &report.cpu;
        let message = format!(
            "{} cells of each kind: {} false alarms, {} slowdowns found",
            equal.cells, equal.different, slowed.slower
        );
        progress.begin(&message);
        if equal.cells.is_multiple_of(CELLS_PER_LINE) {
            progress.end(CELLS_PER_LINE, &message);
        }
        interrupted = signals.try_recv().is_ok();
        !interrupted
    };
    let report = self_test::run(&scenario, cells, &mut go_on).map_err(|error| failed(&error))?;
    progress.finish();
    output::print(&summary(&report));
    if interrupted {
        return Ok(Done::CutShort);
    }
    let good = report.cpu.calm() && report.cpu.keen() && report.throughput.calm();
    Ok(if good { Done::Yes } else { Done::AnswerIsNo })
}

fn summary(report: &SelfTestReport) -> String {
    let SelfTestReport { cpu, throughput } = report;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let verdict = match (cpu.calm() && throughput.calm(), cpu.keen()) {
        (true, true) => "the instrument works as it should",
        (false, _) => "the instrument calls equal paths different: do not trust its verdicts on this machine",
        (true, false) => "the instrument misses differences that it should find: run it on a quieter machine",
    };
    let busy = if cpu.keen() && !throughput.keen() {
        "by throughput it misses some because other processes use the CPUs: rely on CPU time\n"
    } else {
        ""
    };
    format!(
        "by CPU time of both ends for each message\n{}by throughput\n{}\
         at most {ALARMS_OF_100} of 100 may be called different, at least {FOUND_OF_100} of 100 must be found\n\
         {verdict} (load {load})\n{busy}",
        series(cpu),
        series(throughput)
    )
}

fn series(findings: &Findings) -> String {
    let line = |what: &str, counted: usize, series: &CellSeries| {
        let (ratio, spread) = series.ratio();
        let (cells, spread) = (series.cells, 100.0 * spread);
        format!("  {what}: {counted} of {cells} (ratio {ratio:.3}, from cell to cell ±{spread:.1} %)\n")
    };
    let drift = format!("  the same under a drift of {:.0} %", 100.0 * DRIFT);
    let slowed = format!("a path slowed by {:.0} %, called slower", 100.0 * SLOWED_BY);
    [
        line("a path against itself, called different", findings.equal.different, &findings.equal),
        line(&drift, findings.equal_drifting.different, &findings.equal_drifting),
        line(&slowed, findings.slowed.slower, &findings.slowed),
        line(&drift, findings.slowed_drifting.slower, &findings.slowed_drifting),
    ]
    .concat()
}

/// Compares copycost's plain `send()` with an installed iperf3.
pub fn iperf3() -> Result<Done, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let signals = signals::listen()?;
    let mut progress = Progress::of_steps(SETUPS, SETUP);
    let mut interrupted = false;
    let mut go_on = |done: usize, result: &str| {
        progress.end(1, &format!("set-up {done}: {result}"));
        interrupted = signals.try_recv().is_ok();
        !interrupted
    };
    let contest = Contest::new().map_err(|error| failed(&error))?;
    let outcome = contest.hold(SETUPS, &mut go_on).map_err(|error| failed(&error))?;
    progress.finish();
    let line = |what: &str, judged: Result<Interval, Unusable>| match judged {
        Ok(Interval { ratio, low, high, .. }) => format!("{what}: {ratio:.3} ({low:.3} to {high:.3})\n"),
        Err(reason) => format!("{what}: unknown: {reason}\n"),
    };
    let text = [
        format!(
            "send() of one 64 KiB field against {}, {} set-ups, paired, {}\n",
            outcome.version,
            outcome.rate.len(),
            outcome.conditions
        ),
        line("throughput, copycost to iperf3", ratio(&outcome.rate)),
        line("CPU time of both ends for each byte, copycost to iperf3", ratio(&outcome.cpu)),
    ];
    output::print(&text.concat());
    Ok(if interrupted { Done::CutShort } else { Done::Yes })
}

fn ratio(pairs: &[Pair]) -> Result<Interval, Unusable> {
    Ok(Estimate::new(pairs)?.interval(0.05))
}
