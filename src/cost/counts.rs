//! The values of a thread's counters, their scope, and their sum over threads.
//!
//! A sum keeps the worst scope of its parts and loses a value that one part lacks: a partial sum would look
//! like a small count.

use std::fmt;

use super::missing::{Measured, Missing, paranoid_text};
use super::opener::Event;

/// How many events every [`Counts`] lists.
pub const EVENTS: usize = 7;

/// How far the hardware counts reach; the worst comes last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum CounterScope {
    /// Everything, all the time.
    UserKernel,
    /// Events shared the hardware: values are scaled up from the given share of the time, the worst event's.
    Multiplexed {
        /// Share of the time counted, in percent, 1 to 99.
        percent: u8,
    },
    /// The kernel, where the copies happen, is not in the counts.
    UserOnly {
        /// `/proc/sys/kernel/perf_event_paranoid`, where it could be read.
        paranoid: Option<i32>,
        /// As in [`CounterScope::Multiplexed`], if the events shared the hardware besides.
        percent: Option<u8>,
    },
    /// No hardware counter; the software events are there.
    SoftwareOnly(Missing),
    /// Nothing.
    None(Missing),
}

impl CounterScope {
    /// The scope of a sum of both.
    pub fn worst(self, other: CounterScope) -> CounterScope {
        if self.rank() >= other.rank() { self } else { other }
    }

    /// Kind first, then the share that was not counted.
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
    /// What was counted.
    pub event: Event,
    /// How often, scaled where the scope says multiplexed.
    pub value: Measured<u64>,
}

/// The counts of one thread between start and stop, or of several threads together.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// How far the hardware counts reach.
    pub scope: CounterScope,
    /// How many threads are in the sum. With many clients only a sample of threads is counted, and the bytes
    /// given to [`Counts::per_kib`] must be those of the same threads.
    pub threads: u32,
    /// Cycles, instructions, first-level misses, last-level misses, context switches, migrations, page faults.
    pub counts: [Count; EVENTS],
}

impl Counts {
    /// Counts of a thread that was not counted.
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

    /// Both together: worst scope, and values only where both have one.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        let mut theirs = other.counts.into_iter();
        Counts {
            scope: self.scope.worst(other.scope),
            threads: self.threads.saturating_add(other.threads),
            counts: self.counts.map(|mine| match theirs.next() {
                Some(other) => mine.and(other),
                None => mine,
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
            (Ok(mine), Ok(theirs)) => Ok(mine.saturating_add(theirs)),
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
