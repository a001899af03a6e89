//! Which calls the kernel still refers to memory for. Pure, so that merges, reorderings and the wrap of the ids can be tested
//! to exhaustion.
//!
//! The kernel's rules (Documentation/networking/msg_zerocopy.rst; net/core/skbuff.c): every call by reference that returned more than
//! 0 takes one id of a 32-bit counter, which wraps; a report names an inclusive range of ids; ranges may be merged and may come in
//! any order.

use std::collections::VecDeque;

use crate::report::{Outcome, Report};

/// The calls by reference of one connection. Reports may come in any order; calls are released in their order.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// Calls that are not released, from `base` on.
    calls: VecDeque<Call>,
    /// The id of the first of them, counted without a wrap.
    base: u64,
    /// Bytes of all calls that are not released.
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    bytes: usize,
    /// The position in the stream after its last byte.
    end: u64,
    /// For one that was reported out of order.
    reported: Option<Outcome>,
}

/// A range that names an id which is not in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inconsistent;

/// Calls that fit into the queue of a connection that was idle: enough that a steady stream does not allocate, and half a KiB.
const KEPT: usize = 24;

impl Ids {
    /// A call sent `bytes` by reference, up to `end` in the stream. Its id.
    #[inline]
    pub(crate) fn issue(&mut self, bytes: usize, end: u64) -> u64 {
        let id = self.base + self.calls.len() as u64;
        self.calls.push_back(Call { bytes, end, reported: None });
        self.bytes += bytes;
        id
    }

    /// Calls up to this one, exclusive, are released.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// How many calls are not released.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// How many bytes they sent.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes what was reported, with what became of a call that ends there. Nothing is noted of a range that is inconsistent.
    pub(crate) fn note(
        &mut self,
        report: Report,
        outcome: impl Fn(u64) -> Outcome,
    ) -> Result<(), Inconsistent> {
        // Relative to the base modulo 2^32. What is in flight lies from 0 on, and is far below 2^31.
        let first = report.low.wrapping_sub(self.base as u32) as usize;
        let count = usize::try_from(report.count()).map_err(|_| Inconsistent)?;
        if first >= self.calls.len() || count > self.calls.len() - first {
            return Err(Inconsistent);
        }
        if self.calls.range(first..first + count).any(|call| call.reported.is_some()) {
            return Err(Inconsistent);
        }
        self.calls.range_mut(first..first + count).for_each(|call| call.reported = Some(outcome(call.end)));
        Ok(())
    }

    /// Releases the oldest call if it was reported: what became of it.
    pub(crate) fn release(&mut self) -> Option<Outcome> {
        let Call { bytes, reported: Some(outcome), .. } = *self.calls.front()? else { return None };
        self.calls.pop_front();
        self.base += 1;
        self.bytes -= bytes;
        Some(outcome)
    }

    /// Gives back what the queue has grown to.
    pub(crate) fn shrink(&mut self) {
        self.calls.shrink_to(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(low: u32, high: u32) -> Report {
        Report { low, high, copied: false }
    }

    fn by_reference(_: u64) -> Outcome {
        Outcome::ByReference
    }

    fn issue(ids: &mut Ids, calls: u32, bytes: usize) {
        for _ in 0..calls {
            ids.issue(bytes, 0);
        }
    }

    /// Releases what can be released: how many.
    fn released(ids: &mut Ids) -> usize {
        std::iter::from_fn(|| ids.release()).count()
    }

    #[test]
    fn calls_are_released_in_their_order() {
        let mut ids = Ids::default();
        assert_eq!([ids.issue(10, 10), ids.issue(20, 30), ids.issue(30, 60)], [0, 1, 2]);
        // The last was not acknowledged.
        ids.note(report(1, 2), |end| if end > 30 { Outcome::Aborted } else { Outcome::ByReference }).unwrap();
        assert_eq!((released(&mut ids), ids.bytes(), ids.in_flight()), (0, 60, 3));
        ids.note(report(0, 0), |_| Outcome::Copied).unwrap();
        let outcomes = [ids.release(), ids.release(), ids.release(), ids.release()];
        assert_eq!(
            outcomes,
            [Some(Outcome::Copied), Some(Outcome::ByReference), Some(Outcome::Aborted), None]
        );
        assert_eq!((ids.bytes(), ids.in_flight(), ids.base()), (0, 0, 3));
    }

    #[test]
    fn what_is_not_in_flight_is_inconsistent_and_nothing_of_it_is_noted() {
        let mut ids = Ids::default();
        issue(&mut ids, 4, 1);
        ids.note(report(1, 1), by_reference).unwrap();
        for (low, high) in [(4, 4), (3, 4), (0, 1), (1, 1), (u32::MAX, 0), (0, u32::MAX), (2, 1)] {
            assert_eq!(ids.note(report(low, high), by_reference), Err(Inconsistent), "{low} to {high}");
        }
        assert_eq!(released(&mut ids), 0);
        ids.note(report(0, 0), by_reference).unwrap();
        assert_eq!(released(&mut ids), 2);
    }

    #[test]
    fn an_idle_queue_keeps_little() {
        let mut ids = Ids::default();
        issue(&mut ids, 1000, 1);
        ids.note(report(0, 999), by_reference).unwrap();
        assert_eq!(released(&mut ids), 1000);
        ids.shrink();
        assert!(ids.calls.capacity() <= 2 * KEPT, "{}", ids.calls.capacity());
    }

    proptest! {
        /// Whatever ranges the calls are reported in, in whatever order, and wherever the counter stands: each is released
        /// once, in order, and never before it was reported.
        #[test]
        fn every_call_is_released_once_and_not_early(
            base in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 20), any::<u32>().prop_map(u64::from)],
            cuts in proptest::collection::vec(1u32..8, 1..20),
            order in any::<u64>(),
        ) {
            let mut ids = Ids { base, ..Ids::default() };
            let mut ranges = Vec::new();
            for cut in &cuts {
                let low = (ids.base + ids.calls.len() as u64) as u32;
                issue(&mut ids, *cut, 3);
                ranges.push(report(low, low.wrapping_add(cut - 1)));
            }
            let total: u64 = cuts.iter().map(|cut| u64::from(*cut)).sum();
            let mut reported = vec![false; total as usize];
            let mut done = 0;
            let mut seed = order;
            while !ranges.is_empty() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let range = ranges.swap_remove((seed >> 33) as usize % ranges.len());
                let first = range.low.wrapping_sub(base as u32) as usize;
                reported[first..first + range.count() as usize].fill(true);
                ids.note(range, by_reference).unwrap();
                done += released(&mut ids);
                let free = reported.iter().take_while(|reported| **reported).count();
                prop_assert_eq!(done, free);
                prop_assert_eq!(ids.bytes(), 3 * (total as usize - done));
                prop_assert_eq!(ids.base(), base + done as u64);
            }
            prop_assert_eq!(done as u64, total);
        }
    }
}
