//! One event of a thread: the source of its count, and the scaling of a multiplexed count.

use std::io;

use super::missing::{Measured, Missing};
use super::opener::{CounterReach, Event, OpenCounter, Opener, Reading};
use crate::sys::rusage::Usage;

pub(super) struct CounterSlot {
    pub(super) event: Event,
    pub(super) source: CounterSource,
}

pub(super) enum CounterSource {
    /// A perf event; `start` is its reading at the start of the run.
    Perf {
        tally: Box<dyn OpenCounter>,
        start: Option<Reading>,
    },
    /// The thread's resource usage.
    Usage(fn(&Usage) -> u64),
    Missing(Missing),
}

impl CounterSlot {
    /// Opens `event` with as much reach as this user may have. Sets `reach` if that excludes the kernel.
    pub(super) fn open(opener: &dyn Opener, event: Event, reach: &mut CounterReach) -> CounterSlot {
        let mut event = event;
        let mut opened = open(opener, event);
        if event == Event::LlcLoadMisses && matches!(opened, Err(Missing::EventUnsupported(_))) {
            // Not every CPU (and no virtual PMU) has the load event. The generic one is nearest.
            if let Ok(generic) = open(opener, Event::CacheMisses) {
                (event, opened) = (Event::CacheMisses, Ok(generic));
            }
        }
        let source = match (opened, event) {
            (Ok((tally, got)), _) if event.is_hardware() || got == CounterReach::Kernel => {
                if got == CounterReach::UserOnly {
                    *reach = CounterReach::UserOnly;
                }
                CounterSource::Perf { tally, start: None }
            }
            (_, Event::ContextSwitches) => CounterSource::Usage(Usage::switches),
            (_, Event::PageFaults) => CounterSource::Usage(Usage::faults),
            (Ok(_), _) => CounterSource::Missing(Missing::KernelOnly {
                event: event.name(),
                paranoid: opener.paranoid(),
            }),
            (Err(reason), _) => CounterSource::Missing(reason),
        };
        CounterSlot { event, source }
    }

    pub(super) fn start(&mut self) {
        if let CounterSource::Perf { tally, start } = &mut self.source {
            *start = match tally.enable().and_then(|()| tally.read()) {
                Ok(reading) => Some(reading),
                Err(error) => {
                    self.source = CounterSource::Missing(Missing::os("starting a counter", &error));
                    return;
                }
            };
        }
    }

    pub(super) fn disable(&mut self) {
        if let CounterSource::Perf { tally, .. } = &mut self.source
            && let Err(error) = tally.disable()
        {
            self.source = CounterSource::Missing(Missing::os("stopping a counter", &error));
        }
    }

    /// The value since the start, and the share of the time in which it counted, in percent.
    pub(super) fn stop(&mut self, usage: Option<&(Usage, Usage)>) -> (Measured<u64>, Option<f64>) {
        match &mut self.source {
            CounterSource::Missing(reason) => (Err(reason.clone()), None),
            CounterSource::Usage(count) => {
                let value = usage.map(|(before, after)| count(after) - count(before));
                (value.ok_or(Missing::NotMeasured), None)
            }
            CounterSource::Perf { tally, start } => match (start.take(), tally.read()) {
                (None, _) => (Err(Missing::NotMeasured), None),
                (_, Err(error)) => (Err(Missing::os("reading a counter", &error)), None),
                (Some(before), Ok(after)) => difference(self.event, before, after),
            },
        }
    }
}

/// Scales a count of part of the time up to the whole time, as perf-stat does.
fn difference(event: Event, before: Reading, after: Reading) -> (Measured<u64>, Option<f64>) {
    let count = after.count.wrapping_sub(before.count);
    let enabled = after.enabled_ns.saturating_sub(before.enabled_ns);
    let running = after.running_ns.saturating_sub(before.running_ns);
    if running == 0 {
        return (Err(Missing::NeverScheduled(event.name())), None);
    }
    let share = running as f64 / enabled.max(running) as f64 * 100.0;
    let scaled = u128::from(count) * u128::from(enabled.max(running)) / u128::from(running);
    (Ok(u64::try_from(scaled).unwrap_or(u64::MAX)), Some(share))
}

/// Opens `event` including the kernel or, if that is refused, without it.
pub(super) fn open(opener: &dyn Opener, event: Event) -> Measured<(Box<dyn OpenCounter>, CounterReach)> {
    let refused = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM));
    let error = match opener.open(event, CounterReach::Kernel) {
        Ok(tally) => return Ok((tally, CounterReach::Kernel)),
        Err(error) if refused(&error) => match opener.open(event, CounterReach::UserOnly) {
            Ok(tally) => return Ok((tally, CounterReach::UserOnly)),
            Err(error) => error,
        },
        Err(error) => error,
    };
    Err(Missing::of_perf(&error, event.name(), opener.paranoid()))
}
