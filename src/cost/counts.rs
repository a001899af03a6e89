//! The values of a thread's counters, their scope, and their sum over threads.
//!
//! A sum has the worst scope of its parts. A value that one part lacks is missing in the sum, because a
//! partial sum would look like a small count.

use std::fmt;

use super::missing::{Measured, Missing, paranoid_text};
use super::opener::Event;

/// How many events every [`Counts`] lists.
pub const EVENTS: usize = 7;

/// How far the hardware counts reach; the worst comes last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum CounterScope {
    /// User and kernel mode, for the whole run.
    UserKernel,
    /// Events shared the hardware, so values are scaled up. The share is that of the event that counted
    /// least.
    Multiplexed {
        /// Share of the time counted, in percent, 1 to 99.
        percent: u8,
    },
    /// User mode only: the counts exclude the kernel, where the copies happen.
    UserOnly {
        /// `/proc/sys/kernel/perf_event_paranoid`, where it could be read.
        paranoid: Option<i32>,
        /// As in [`CounterScope::Multiplexed`], if the events also shared the hardware.
        percent: Option<u8>,
    },
    /// Software events only.
    SoftwareOnly(Missing),
    /// No counts.
    None(Missing),
}

impl CounterScope {
    /// The scope of a sum of both.
    pub fn worst(self, other: CounterScope) -> CounterScope {
        if self.rank() >= other.rank() { self } else { other }
    }

    /// The kind, then the share of the time that was not counted.
    fn rank(&self) -> (u8, u8) {
        match self {
            CounterScope::UserKernel => (0, 0),
            CounterScope::Multiplexed { percent } => (1, 100 - percent.min(&100)),
            CounterScope::UserOnly { percent, .. } => (2, 100 - percent.unwrap_or(100).min(100)),
            CounterScope::SoftwareOnly(_) => (3, 0),
            CounterScope::None(_) => (4, 0),
        }
    }
}

impl fmt::Display for CounterScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CounterScope::UserKernel => f.write_str("user+kernel"),
            CounterScope::Multiplexed { percent } => write!(f, "multiplexed {percent} %"),
            CounterScope::UserOnly { paranoid, percent } => {
                write!(f, "user-only ({})", paranoid_text(*paranoid))?;
                percent.map_or(Ok(()), |share| write!(f, ", multiplexed {share} %"))
            }
            CounterScope::SoftwareOnly(reason) => write!(f, "software only: {reason}"),
            CounterScope::None(reason) => write!(f, "none: {reason}"),
        }
    }
}

/// One event and how often it happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Count {
    /// The event.
    pub event: Event,
    /// How often it happened, scaled up if the scope is multiplexed.
    pub value: Measured<u64>,
}

/// The counts of one thread between start and stop, or of several threads together.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// How far the hardware counts reach.
    pub scope: CounterScope,
    /// How many threads are in the sum. With many clients only some threads are counted, so the bytes given
    /// to [`Counts::per_kib`] must be those of the same threads.
    pub threads: u32,
    /// Cycles, instructions, first-level misses, last-level misses, context switches, migrations, page faults.
    pub counts: [Count; EVENTS],
}

impl Counts {
    /// The counts of a thread that was not counted.
    pub fn missing(last_level: Event, reason: Missing) -> Counts {
        Counts {
            counts: events(last_level).map(|event| Count { event, value: Err(reason.clone()) }),
            scope: CounterScope::None(reason),
            threads: 0,
        }
    }

    /// The value of `event`.
    ///
    /// # Errors
    /// The reason why there is none; [`Missing::NotMeasured`] for an event that is not in the list.
    pub fn get(&self, event: Event) -> Measured<u64> {
        let count = self.counts.iter().find(|count| count.event == event);
        count.map_or(Err(Missing::NotMeasured), |count| count.value.clone())
    }

    /// The sum of both: the worst scope, and values only where both have one.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        let mut others = other.counts.into_iter();
        Counts {
            scope: self.scope.worst(other.scope),
            threads: self.threads.saturating_add(other.threads),
            counts: self.counts.map(|count| match others.next() {
                Some(other) => count.and(other),
                None => count,
            }),
        }
    }

    /// Events per KiB moved by the threads counted.
    ///
    /// # Errors
    /// As [`Counts::get`]; [`Missing::NothingMoved`] when `bytes` is 0.
    pub fn per_kib(&self, event: Event, bytes: u64) -> Measured<f64> {
        self.per(event, bytes as f64 / 1024.0)
    }

    /// Events per message moved by the threads counted.
    ///
    /// # Errors
    /// As [`Counts::get`]; [`Missing::NothingMoved`] when `messages` is 0.
    pub fn per_message(&self, event: Event, messages: u64) -> Measured<f64> {
        self.per(event, messages as f64)
    }

    fn per(&self, event: Event, units: f64) -> Measured<f64> {
        let value = self.get(event)?;
        if units == 0.0 {
            return Err(Missing::NothingMoved);
        }
        Ok(value as f64 / units)
    }
}

impl Count {
    fn and(self, other: Count) -> Count {
        let value = match (self.value, other.value) {
            _ if self.event != other.event => Err(Missing::MixedEvents),
            (Ok(a), Ok(b)) => Ok(a.saturating_add(b)),
            (Err(reason), _) | (_, Err(reason)) => Err(reason),
        };
        Count { event: self.event, value }
    }
}

/// The events of a [`Counts`], in order.
pub fn events(last_level: Event) -> [Event; EVENTS] {
    [
        Event::Cycles,
        Event::Instructions,
        Event::L1dLoadMisses,
        last_level,
        Event::ContextSwitches,
        Event::CpuMigrations,
        Event::PageFaults,
    ]
}
