//! What the CPU time of processes went into, by the classes of `copycost explain`.

use serde::Serialize;

use crate::profile::classes::Class;
use crate::report::screen::Screen;
use crate::watch::WatchResult;
use copycost::units::significant;

/// A class of functions.
#[derive(Debug, Serialize)]
pub(super) struct ClassReport {
    class: String,
    /// The share of the CPU time, in percent.
    percent: f64,
    /// CPU time for each send; null where the number of sends is not known.
    us_per_send: Option<f64>,
}

/// The classes that have samples, in the order of `copycost explain`.
pub(super) fn classes(seen: &WatchResult) -> Vec<ClassReport> {
    let per_send = us_per_send(seen);
    let report = |class: &Class| {
        let share = seen.breakdown.share(*class).filter(|share| *share > 0.0)?;
        Some(ClassReport {
            class: class.to_string(),
            percent: 100.0 * share,
            us_per_send: per_send.map(|us| us * share),
        })
    };
    Class::ALL.iter().filter_map(report).collect()
}

/// The CPU time for each send, in µs: what all threads spent, divided by the sends of all threads.
fn us_per_send(seen: &WatchResult) -> Option<f64> {
    let sends = seen.sends.as_ref()?.as_ref().ok()?;
    let rate = sends.sends() as f64 / sends.recorded().as_secs_f64();
    (rate > 0.0 && rate.is_finite()).then(|| 1e6 * seen.cpus() / rate)
}

/// The table of classes; empty without samples.
pub(super) fn text(seen: &WatchResult, screen: Screen) -> String {
    let classes = classes(seen);
    if classes.is_empty() {
        return String::new();
    }
    let per_send = us_per_send(seen).is_some();
    let mut header = vec!["CPU time", "%"];
    header.extend(per_send.then_some("µs/send"));
    let row = |class: ClassReport| {
        let figures = [Some(format!("{:.1}", class.percent)), class.us_per_send.map(significant)];
        [class.class].into_iter().chain(figures.into_iter().flatten()).collect::<Vec<_>>()
    };
    format!("\n{}\n", screen.listed(header, classes.into_iter().map(row), 1))
}
