//! The claims of the original experiment as predicates over the rows of a set. Outside `send`, only this module knows
//! the three paths by name.
//!
//! A claim is held if every decided cell supports it, not held if one contradicts it, and not testable if the figures
//! are missing. The result holds only for this run: its machine, its kernel, its transport.

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

/// A claim of the original experiment, with its test.
#[derive(Debug)]
pub struct Claim {
    /// The claim in the words of the original experiment.
    pub text: &'static str,
    /// The exact condition that is tested.
    pub tested: &'static str,
    /// Tests the claim on a set.
    pub check: fn(&RecordSet) -> ClaimFinding,
}

/// The result of testing a claim in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// Every decided cell supports the claim.
    Held,
    /// At least one cell contradicts the claim.
    NotHeld,
    /// The figures for a test are missing.
    NotTestable,
}

impl ClaimVerdict {
    /// The label in reports.
    pub fn text(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::NotTestable => "not testable",
        }
    }
}

/// The result of testing a claim, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimFinding {
    /// Whether the claim is held.
    pub verdict: ClaimVerdict,
    /// The decisive cell, or the figures that are missing.
    pub evidence: String,
}

impl Claim {
    /// Tests the claim on a set. A claim about throughput is not testable if the sender does not determine the
    /// throughput.
    pub fn evaluate(&self, set: &RecordSet) -> ClaimFinding {
        if self.tested.contains("throughput") && set.lead() != Metric::Throughput {
            let evidence = "Throughput is not the sender's here.".to_owned();
            return ClaimFinding { verdict: ClaimVerdict::NotTestable, evidence };
        }
        (self.check)(set)
    }
}

/// Every claim, in the order of the reports.
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
                let tests =
                    [ONE, TWO].into_iter().filter_map(|other| faster(set, ZERO, other, size, clients));
                // Tests against the claim come first, then undecided ones.
                tests.min_by(|one, other| {
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
