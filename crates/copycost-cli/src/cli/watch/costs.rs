//! What the CPU time of processes went into, by the classes of `copycost explain`.

use serde::Serialize;

use crate::profile::classes::Class;
use crate::report::screen::Screen;
use crate::watch::WatchResult;
use crate::watch::zero_copy::ZeroCopySigns;
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
    let table = screen.listed(header, classes.into_iter().map(row), 1);
    format!(
        "\n{table}\n{}",
        zero_copy(seen).map_or_else(String::new, |sentence| screen.wrapped("", &sentence))
    )
}

/// Whether zero copy is asked for, and whether it is real; `None` where no sample shows it.
fn zero_copy(seen: &WatchResult) -> Option<String> {
    let ZeroCopySigns { asked, copied, notified } = seen.zero_copy;
    if asked == 0 && copied == 0 && notified == 0 {
        return None;
    }
    let percent = |samples: u64| format!("{} %", significant(100.0 * seen.counts.share(samples)));
    let real = match copied {
        0 => "No sample shows that the kernel copies after all (skb_copy_ubufs).".to_owned(),
        copied => format!(
            "The kernel copies after all: {} of the CPU time is in skb_copy_ubufs. It does so for clients on this host, for \
             devices that cannot gather, and for packet taps.",
            percent(copied)
        ),
    };
    let notified = match notified {
        0 => "No sample shows that notifications are read.".to_owned(),
        notified => format!("Reading notifications takes {}.", percent(notified)),
    };
    let asked = match asked {
        0 => String::new(),
        asked => format!(", which takes {} for pinning pages", percent(asked)),
    };
    Some(format!("It asks for zero copy{asked}. {real} {notified}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::SampleCounts;

    #[test]
    fn zero_copy_is_said_to_be_real_or_not() {
        let of = |asked, copied, notified| {
            let counts = SampleCounts { samples: 1000, ..SampleCounts::default() };
            let zero_copy = ZeroCopySigns { asked, copied, notified };
            super::zero_copy(&WatchResult { counts, zero_copy, ..WatchResult::default() })
        };
        assert_eq!(of(0, 0, 0), None);
        let copied = of(50, 170, 20).unwrap();
        assert!(
            copied.contains("takes 5.00 % for pinning") && copied.contains("17.0 % of the CPU time"),
            "{copied}"
        );
        let real = of(50, 0, 0).unwrap();
        assert!(
            real.contains("No sample shows that the kernel copies") && real.contains("are read"),
            "{real}"
        );
    }
}
