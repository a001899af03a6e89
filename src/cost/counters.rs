//! The perf counters of the calling thread. They are opened once and count only between `start` and `stop`.
//!
//! The original experiment compares cycles, cache misses and context switches with message size. Each value
//! is the difference of two reads, because `PERF_EVENT_IOC_RESET` does not reset the times and some counts.
//!
//! A context switch or a migration happens in kernel mode, so a counter that excludes the kernel opens
//! without an error and then counts nothing (docs/tuning.md, "CPU time"). Such counters are not used:
//! switches and page faults come from `getrusage(RUSAGE_THREAD)`, which needs no privilege, and migrations
//! are missing.

use std::fmt;
use std::marker::PhantomData;

use super::counts::{Count, CounterScope, Counts, events};
use super::missing::Missing;
use super::opener::{CounterReach, Opener, Perf};
use super::slot::{CounterSlot, CounterSource};
use crate::sys::rusage::{Usage, thread_usage};

/// From this share of the time on, in percent, a counter counts as not multiplexed. Several counters start
/// and stop some microseconds apart, which is a fraction of a percent of a millisecond.
const RAN_THROUGHOUT: f64 = 99.5;

/// The counters of the thread that opened them. They stay on this thread, because getrusage is per thread.
pub struct Counters {
    slots: Vec<CounterSlot>,
    /// The scope when the counters were opened; a run may turn out to be multiplexed.
    scope: CounterScope,
    usage: Option<Usage>,
    not_send: PhantomData<*mut ()>,
}

impl Counters {
    /// Opens the counters that the machine has. For a counter that it lacks, the counts have the reason.
    pub fn open() -> Counters {
        Counters::open_with(&Perf)
    }

    /// Like [`Counters::open`], from another source of events.
    pub fn open_with(opener: &dyn Opener) -> Counters {
        let mut reach = CounterReach::Kernel;
        let mut slots: Vec<CounterSlot> = events(opener.last_level())
            .into_iter()
            .map(|event| CounterSlot::open(opener, event, &mut reach))
            .collect();
        let scope = scope(&mut slots, reach, opener.paranoid());
        Counters { slots, scope, usage: None, not_send: PhantomData }
    }

    /// The scope when the counters were opened; a run may turn out to be multiplexed.
    pub fn scope(&self) -> &CounterScope {
        &self.scope
    }

    /// Starts the counters. If one fails, [`Counters::stop`] gives the reason.
    pub fn start(&mut self) {
        self.usage = thread_usage().ok();
        for slot in &mut self.slots {
            slot.start();
        }
    }

    /// Stops the counters and returns what they counted since [`Counters::start`], or the reasons if they
    /// were not started.
    pub fn stop(&mut self) -> Counts {
        let before = self.usage.take();
        // All are disabled before the first is read, so that no counter counts the reading of another.
        for slot in &mut self.slots {
            slot.disable();
        }
        let usage = before.zip(thread_usage().ok());
        let mut least_share = 100.0_f64;
        let mut counts = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let event = slot.event;
            let (value, share) = slot.stop(usage.as_ref());
            if let Some(share) = share.filter(|_| event.is_hardware()) {
                least_share = least_share.min(share);
            }
            counts.push(Count { event, value });
        }
        let scope = after_run(self.scope.clone(), &counts, least_share);
        // One slot was made for each event of the array, so the lengths agree.
        let counts = counts.try_into().expect("one count for each event");
        Counts { scope, threads: 1, counts }
    }
}

/// The scope of the opened counters. Without any hardware event the reason is the machine's, not the event's.
fn scope(slots: &mut [CounterSlot], reach: CounterReach, paranoid: Option<i32>) -> CounterScope {
    let hardware = |slot: &&mut CounterSlot| slot.event.is_hardware();
    let mut absent: Option<Missing> = None;
    for slot in slots.iter_mut().filter(hardware) {
        match &slot.source {
            CounterSource::Missing(Missing::EventUnsupported(_)) => {
                absent.get_or_insert(Missing::NoPmu);
            }
            CounterSource::Missing(reason) => {
                absent.get_or_insert_with(|| reason.clone());
            }
            _ if reach == CounterReach::UserOnly => {
                return CounterScope::UserOnly { paranoid, percent: None };
            }
            _ => return CounterScope::UserKernel,
        }
    }
    let reason = absent.unwrap_or(Missing::NoPmu);
    for slot in slots.iter_mut().filter(hardware) {
        slot.source = CounterSource::Missing(reason.clone());
    }
    CounterScope::SoftwareOnly(reason)
}

/// The scope of one run: multiplexed if an event ran for part of the time, software only if none ran at all.
fn after_run(scope: CounterScope, counts: &[Count], least_share: f64) -> CounterScope {
    let mut hardware = counts.iter().filter(|count| count.event.is_hardware());
    let counted = hardware.clone().any(|count| count.value.is_ok());
    if let (false, Some(Err(reason))) = (counted, hardware.next().map(|first| &first.value)) {
        return match reason {
            Missing::NotMeasured => CounterScope::None(Missing::NotMeasured),
            reason => CounterScope::SoftwareOnly(reason.clone()),
        };
    }
    let shared = (least_share < RAN_THROUGHOUT).then(|| least_share.round().clamp(1.0, 99.0) as u8);
    match (scope, shared) {
        (CounterScope::UserKernel, Some(percent)) => CounterScope::Multiplexed { percent },
        (CounterScope::UserOnly { paranoid, .. }, percent) => CounterScope::UserOnly { paranoid, percent },
        (scope, _) => scope,
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("scope", &self.scope).finish_non_exhaustive()
    }
}
