//! What the original experiment set out to show, as predicates over the rows of a set. The only place outside `send`
//! that knows the three paths by name.
//!
//! A claim is held where every cell that decides agrees, not held where one does not, and not testable where the
//! figures are missing. That is about this run alone: its machine, its kernel, its transport.

mod cells;
#[cfg(test)]
mod tests;

use super::conditions::why_not_counted;
use super::set::RecordSet;
use crate::compare::metric::Metric;
use cells::{
    CellTest, PATHS, contention, everywhere, faster, fewest_cycles, first_level_falls_most, over,
    scales_best, shrink,
};
use copycost::send::ORIGINAL;

/// One claim.
#[derive(Debug)]
pub struct Claim {
    /// As the original has it.
    pub text: &'static str,
    /// What is tested, where the text leaves it open.
    pub tested: &'static str,
    /// Whether it is so.
    pub check: fn(&RecordSet) -> ClaimFinding,
}

/// Whether a claim is held in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// In every cell.
    Held,
    /// At least one cell says otherwise.
    NotHeld,
    /// The figures are missing.
    NotTestable,
}

impl ClaimVerdict {
    /// As it is shown.
    pub fn text(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::NotTestable => "not testable",
        }
    }
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimFinding {
    /// In a word.
    pub word: ClaimVerdict,
    /// The cell that shows it, or what is missing.
    pub evidence: String,
}

impl Claim {
    /// What becomes of it in a set. Where throughput is not the sender's, nothing follows from it.
    pub fn judged(&self, set: &RecordSet) -> ClaimFinding {
        if self.tested.contains("throughput") && set.lead() != Metric::Throughput {
            let evidence = "Throughput is not the sender's here.".to_owned();
            return ClaimFinding { word: ClaimVerdict::NotTestable, evidence };
        }
        (self.check)(set)
    }
}

/// Every claim.
pub const ALL: [Claim; 7] = [
    Claim {
        text: "One gathered send beats one send per field",
        tested: "throughput of onecopy above that of twocopy",
        check: |set| everywhere(set, PATHS, |size, clients| faster(set, ONE, TWO, size, clients)),
    },
    Claim {
        text: "Zero-copy has the highest throughput",
        tested: "throughput of zerocopy above that of both others",
        check: |set| {
            let others = |size, clients| {
                let beside =
                    [ONE, TWO].into_iter().filter_map(|other| faster(set, ZERO, other, size, clients));
                // What speaks against it stands first, then what is undecided.
                beside.min_by(|one, other| {
                    let order = |test: &CellTest| {
                        [Some(false), None, Some(true)].iter().position(|holds| *holds == test.holds)
                    };
                    order(one).cmp(&order(other)).then(one.margin.total_cmp(&other.margin))
                })
            };
            everywhere(set, PATHS, others)
        },
    },
    Claim {
        text: "Zero-copy needs the fewest CPU cycles",
        tested: "cycles per byte of both ends below those of both others",
        check: |set| {
            everywhere(set, &why_not_counted(set), |size, clients| fewest_cycles(set, size, clients))
        },
    },
    Claim {
        text: "The benefits of zero-copy shrink for small messages",
        tested: "its throughput for each of onecopy's is lower at the smallest size than at the largest",
        check: |set| over(&set.clients(), "message sizes", |clients| shrink(set, clients)),
    },
    Claim {
        text: "Zero-copy scales best with threads",
        tested: "its throughput with most clients for each of that with fewest is above that of both others",
        check: |set| over(&set.sizes(), "numbers of clients", |size| scales_best(set, size)),
    },
    Claim {
        text: "The L1 cache shows the largest reduction of misses",
        tested: "from twocopy to zerocopy, L1 misses fall by a larger share than last-level misses",
        check: |set| {
            everywhere(set, &why_not_counted(set), |size, clients| first_level_falls_most(set, size, clients))
        },
    },
    Claim {
        text: "More threads raise contention",
        tested: "context switches for each message rise from the fewest clients to the most",
        check: |set| over(&set.sizes(), "numbers of clients", |size| contention(set, size)),
    },
];

const TWO: &str = ORIGINAL[0];
const ONE: &str = ORIGINAL[1];
const ZERO: &str = ORIGINAL[2];
