//! Properties: whatever the kernel merges, splits, reorders or wraps, every id is counted exactly once.

use super::*;
use proptest::prelude::*;

fn control(level: i32, kind: i32, error: [u8; EXTENDED_ERROR]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(HEADER + EXTENDED_ERROR + 16).to_ne_bytes());
    bytes.extend_from_slice(&level.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&error);
    bytes.extend_from_slice(&[0; 16]); // the offender's address, which the kernel appends
    bytes
}

fn extended_error(errno: u32, origin: u8, code: u8, info: u32, data: u32) -> [u8; EXTENDED_ERROR] {
    let mut bytes = [0; EXTENDED_ERROR];
    bytes[..4].copy_from_slice(&errno.to_ne_bytes());
    bytes[4] = origin;
    bytes[6] = code;
    bytes[8..12].copy_from_slice(&info.to_ne_bytes());
    bytes[12..].copy_from_slice(&data.to_ne_bytes());
    bytes
}

const FAMILIES: [(i32, i32); 2] = [(libc::SOL_IP, libc::IP_RECVERR), (libc::SOL_IPV6, libc::IPV6_RECVERR)];

#[test]
fn a_notification_is_read_in_both_address_families() {
    for (level, kind) in FAMILIES {
        let bytes = control(level, kind, extended_error(0, 5, 1, 7, 9));
        let read = Completion::parse(&bytes, false).unwrap();
        assert_eq!(read, Completion { low: 7, high: 9, copied: true });
        assert_eq!(read.count(), 3);
    }
}

#[test]
fn another_control_message_before_it_is_passed_over() {
    let mut bytes = (HEADER + 4).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    bytes.extend_from_slice(&1i32.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]); // four bytes of data, four of padding
    bytes.extend(control(libc::SOL_IP, libc::IP_RECVERR, extended_error(0, 5, 0, 1, 1)));
    assert_eq!(Completion::parse(&bytes, false), Ok(Completion { low: 1, high: 1, copied: false }));
}

#[test]
fn what_is_no_completion_is_told_apart() {
    let (level, kind) = FAMILIES[0];
    let good = control(level, kind, extended_error(0, 5, 0, 1, 1));
    assert_eq!(Completion::parse(&good, true), Err(Garbled::Truncated));
    assert_eq!(Completion::parse(&[], false), Err(Garbled::NoError));
    assert_eq!(Completion::parse(&good[..HEADER + 4], false), Err(Garbled::Truncated));
    let icmp = control(level, kind, extended_error(libc::ECONNREFUSED as u32, 2, 0, 0, 0));
    assert_eq!(Completion::parse(&icmp, false), Err(Garbled::Foreign { origin: 2, errno: 111 }));
    let failed = control(level, kind, extended_error(5, 5, 0, 0, 0));
    assert_eq!(Completion::parse(&failed, false), Err(Garbled::Foreign { origin: 5, errno: 5 }));
    let other = control(libc::SOL_SOCKET, kind, extended_error(0, 5, 0, 1, 1));
    assert_eq!(Completion::parse(&other, false), Err(Garbled::NoError));
}

#[test]
fn a_range_over_the_wrap_is_mapped() {
    let mut tracker = Tracker::starting_at(u32::MAX - 1);
    (0..4).for_each(|id| assert_eq!(tracker.issue(id), id));
    let mut released = Vec::new();
    let range = Completion { low: u32::MAX - 1, high: 1, copied: false };
    tracker.complete(range, |id, _| released.push(id)).unwrap();
    assert_eq!(released, [0, 1, 2, 3]);
    assert_eq!(tracker.outstanding(), 0);
}

#[test]
fn an_id_told_twice_or_never_sent_is_a_stray_and_counted_once() {
    let mut tracker = Tracker::default();
    (0..3u64).for_each(|id| assert_eq!(tracker.issue(id), id));
    let one = |low, high| Completion { low, high, copied: true };
    tracker.complete(one(1, 1), |_, _| {}).unwrap();
    assert_eq!(tracker.complete(one(0, 1), |_, _| {}), Err(Garbled::Stray { low: 0, high: 1, strays: 1 }));
    assert_eq!(tracker.complete(one(0, 0), |_, _| {}), Err(Garbled::Stray { low: 0, high: 0, strays: 1 }));
    assert_eq!(tracker.complete(one(1, 5), |_, _| {}), Err(Garbled::Stray { low: 1, high: 5, strays: 4 }));
    assert_eq!(tracker.tally(), Tally { issued: 3, completed: 3, copied: 3, merged_ranges: 2 });
    assert!(tracker.complete(one(9, 8), |_, _| {}).is_err(), "all ids at once end too");
}

/// Cuts 0..n into ranges and reorders them by the given keys.
fn ranges(n: u64, cuts: &[bool], keys: &[u32]) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut low = 0;
    for id in 0..n {
        if id + 1 == n || cuts[id as usize % cuts.len()] {
            ranges.push((low, id));
            low = id + 1;
        }
    }
    let mut keyed: Vec<_> = ranges.into_iter().enumerate().collect();
    keyed.sort_by_key(|(i, _)| keys[i % keys.len()]);
    keyed.into_iter().map(|(_, range)| range).collect()
}

proptest! {
    #[test]
    fn merges_splits_reorderings_and_wraps_lose_and_double_nothing(
        first in prop_oneof![Just(0u32), (u32::MAX - 300)..=u32::MAX, any::<u32>()],
        n in 1u64..400,
        cuts in proptest::collection::vec(any::<bool>(), 1..40),
        keys in proptest::collection::vec(any::<u32>(), 1..40),
        copied in proptest::collection::vec(any::<bool>(), 1..20),
        early in 0u64..400,
    ) {
        // The kernel completes some sends while later ones are still being issued.
        let mut tracker = Tracker::starting_at(first);
        let early = early.min(n);
        (0..early).for_each(|id| assert_eq!(tracker.issue(id), id));
        let mut seen = vec![0u32; n as usize];
        let mut marked = 0;
        let mut issued = early;
        for (i, (low, high)) in ranges(n, &cuts, &keys).into_iter().enumerate() {
            while issued <= high {
                tracker.issue(issued);
                issued += 1;
            }
            let copied = copied[i % copied.len()];
            marked += if copied { high - low + 1 } else { 0 };
            let wire = |id: u64| first.wrapping_add(id as u32);
            let completion = Completion { low: wire(low), high: wire(high), copied };
            tracker.complete(completion, |id, holds| {
                assert_eq!(id, holds);
                seen[id as usize] += 1;
            }).unwrap();
        }
        prop_assert!(seen.iter().all(|count| *count == 1));
        let tally = tracker.tally();
        prop_assert_eq!((tally.issued, tally.completed, tally.copied), (n, n, marked));
        prop_assert_eq!(tracker.outstanding(), 0);
    }

    #[test]
    fn any_range_at_all_is_answered_and_nothing_is_released_twice(
        n in 0u64..64,
        told in proptest::collection::vec((any::<u32>(), 0u32..200, any::<bool>()), 0..20),
    ) {
        let mut tracker = Tracker::starting_at(u32::MAX - 20);
        (0..n).for_each(|id| assert_eq!(tracker.issue(id), id));
        let mut released = std::collections::BTreeSet::new();
        for (low, length, near) in told {
            // Half of them where the outstanding ids are, the others anywhere.
            let low = if near { (u32::MAX - 20).wrapping_add(low % 80) } else { low };
            let completion = Completion { low, high: low.wrapping_add(length), copied: false };
            let _ = tracker.complete(completion, |id, _| assert!(released.insert(id)));
        }
        prop_assert_eq!(released.len() as u64 + tracker.outstanding(), n);
        prop_assert_eq!(tracker.take_outstanding().count() as u64, n - released.len() as u64);
        prop_assert_eq!(tracker.outstanding(), 0);
    }

    #[test]
    fn any_control_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..96), truncated: bool) {
        let _ = Completion::parse(&bytes, truncated);
    }
}
