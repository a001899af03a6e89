//! Which messages are alike: by size, to a power of two, and by how they are divided.

use super::contest::Objective;
use super::decisions::Way;

/// Below this by reference is not thought of: to pin pages and to be notified costs more than to copy so few bytes
/// ("generally only effective at writes over around 10 KB", Documentation/networking/msg_zerocopy.rst).
const SMALLEST_BY_REFERENCE: usize = 8 << 10;

/// From here on messages start by reference where the kernel does not copy them: those that lie in one piece, for in the lab
/// (huge, one field, hot, one client, two CPUs) `zerocopy` needs 0.68 (±5.1 %) of the sender's CPU time of `onecopy` at this size,
/// 0.96 (±2.3 %) at 16 KiB and 1.35 (±6.2 %) at 8 KiB; and where CPU time is the objective others too: fields on the heap take more
/// pages and an iovec each, and move fewer bytes so (with 1, 2, 4 and 8 clients 1.06, 0.81, 0.57 and 0.75 of `onecopy`, ±15 %), but
/// need less of the sender's CPU time (0.60, 0.48, 0.69 and 0.49, ±4 % and with 4 clients ±15 %). At 16 KiB either may be right: on
/// the heap by reference needs 0.69 to 1.08 of it on one machine, and on another 1.1 to 2.0 hot and 0.9 to 1.2 cold.
const REFERENCE_FROM: usize = 32 << 10;

/// Up to here messages start with `flatten`. Of several pieces it moves 1.3 to 1.4 times as much at 1 KiB, and at 16 KiB 1.06
/// times (hot). Of one piece it moves 1.10, 1.03 and 0.95 times as much at 1, 4 and 16 KiB hot (±8 %), and 1.10, 1.06 and 1.09
/// times cold (±4 %), for memcpy reads what no cache holds faster than the kernel does: so it is thought of at every size. In the
/// lab at 16 KiB it needs 0.77 to 0.96 of the CPU time hot, and 0.99 to 1.08 cold.
const FLATTEN_UP_TO: usize = 16 << 10;

/// Messages of 2^9 bytes and fewer are one class, and so are those of 2^23 and more.
const POWERS: (u32, u32) = (9, 23);

/// How a message is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Division {
    /// Not: it lies in one piece.
    One,
    /// In pieces that are all small, or all large, as `hybrid` tells them.
    Alike,
    /// In small pieces and large ones.
    Mixed,
}

/// Messages that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    power: u32,
    division: Division,
}

impl Class {
    const DIVISIONS: [Division; 3] = [Division::One, Division::Alike, Division::Mixed];

    /// Of a message of so many bytes.
    #[inline]
    pub(super) fn of(size: usize, division: Division) -> Self {
        Self { power: size.max(1).ilog2().clamp(POWERS.0, POWERS.1), division }
    }

    /// Each, in the order of its index.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let class = |power| Self::DIVISIONS.map(|division| Self { power, division });
        (POWERS.0..=POWERS.1).flat_map(class)
    }

    /// From 0.
    #[inline]
    pub(super) fn index(self) -> usize {
        (self.power - POWERS.0) as usize * Self::DIVISIONS.len() + self.division as usize
    }

    /// The smallest of its messages, in bytes.
    pub(super) fn smallest(self) -> usize {
        1 << self.power
    }

    /// Whether any way by reference is thought of.
    #[inline]
    pub(super) fn thinks_of_reference(self) -> bool {
        self.smallest() >= SMALLEST_BY_REFERENCE
    }

    /// The ways that are thought of, where by reference is `open` or not.
    pub(super) fn ways(self, open: bool) -> [bool; Way::COUNT] {
        let by_reference = open && self.thinks_of_reference();
        let mut ways = [false; Way::COUNT];
        ways[Way::Gather as usize] = true;
        ways[Way::Flatten as usize] = true;
        ways[Way::Reference as usize] = by_reference;
        ways[Way::Hybrid as usize] = by_reference && self.division == Division::Mixed;
        ways
    }

    /// The usual way until something is known.
    pub(super) fn start(self, objective: Objective, open: bool) -> Way {
        let by_reference = open
            && self.smallest() >= REFERENCE_FROM
            && (self.division == Division::One || objective == Objective::Demand);
        match self.division {
            Division::Mixed if by_reference => Way::Hybrid,
            _ if by_reference => Way::Reference,
            _ if self.smallest() <= FLATTEN_UP_TO => Way::Flatten,
            _ => Way::Gather,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_an_index_and_starts_with_a_way_that_it_thinks_of() {
        for (index, class) in Class::all().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(Class::of(class.smallest(), class.division), class);
            for open in [false, true] {
                for objective in Objective::ALL {
                    assert!(class.ways(open)[class.start(*objective, open) as usize], "{class:?}");
                }
            }
        }
        assert_eq!(Class::of(0, Division::One).index(), 0);
        assert_eq!(Class::of(usize::MAX, Division::Mixed).index(), Class::all().count() - 1);
    }
}
