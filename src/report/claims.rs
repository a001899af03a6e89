//! What the original experiment set out to show, as predicates over the rows of a set. The only place outside `send`
//! that knows the three paths by name.
//!
//! A claim is held where every cell that decides agrees, not held where one does not, and not testable where the
//! figures are missing. That is about this run alone: its machine, its kernel, its transport.

use super::conditions::why_not_counted;
use super::metric::Metric;
use super::set::{Row, Set};
use super::winner::compared;
use crate::compare::stats::EQUIVALENT_WITHIN;
use crate::send::ORIGINAL;
use crate::units::{ByteSize, significant};

/// One claim.
#[derive(Debug)]
pub struct Claim {
    /// As the original has it.
    pub text: &'static str,
    /// What is tested, where the text leaves it open.
    pub tested: &'static str,
    /// Whether it is so.
    pub check: fn(&Set) -> Finding,
}

/// Whether a claim is held in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// In every cell.
    Held,
    /// At least one cell says otherwise.
    NotHeld,
    /// The figures are missing.
    NotTestable,
}

impl Word {
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
pub struct Finding {
    /// In a word.
    pub word: Word,
    /// The cell that shows it, or what is missing.
    pub evidence: String,
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
                    let order = |test: &Test| {
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

/// What one cell says of a claim.
struct Test {
    /// Above 1 where the claim holds; the further, the more clearly.
    margin: f64,
    /// Whether it holds; `None` where a comparison is undecided.
    holds: Option<bool>,
    says: String,
}

/// The evidence is the test that speaks against the claim most, or for it least.
fn judged(mut tests: Vec<Test>, missing: &str) -> Finding {
    let count = |holds| tests.iter().filter(|test| test.holds == holds).count();
    let (yes, no, open) = (count(Some(true)), count(Some(false)), count(None));
    let word = match (yes, no) {
        (_, 1..) => Word::NotHeld,
        (1.., 0) => Word::Held,
        (0, 0) => Word::NotTestable,
    };
    let shows = |test: &Test| match word {
        Word::NotHeld => test.holds == Some(false),
        Word::Held => test.holds == Some(true),
        Word::NotTestable => true,
    };
    tests.retain(shows);
    let Some(weakest) = tests.into_iter().min_by(|one, other| one.margin.total_cmp(&other.margin)) else {
        return Finding { word, evidence: missing.to_owned() };
    };
    let mut evidence = weakest.says;
    if yes + no + open > 1 {
        evidence += &format!(" (held in {yes} of {}", yes + no + open);
        evidence += &if open > 0 { format!(", undecided in {open})") } else { ")".to_owned() };
    } else if open > 0 {
        evidence += " (undecided)";
    }
    Finding { word, evidence }
}

/// What is missing where a throughput is.
const PATHS: &str = "A path of the three was not measured.";

fn everywhere(set: &Set, missing: &str, test: impl Fn(usize, usize) -> Option<Test>) -> Finding {
    judged(set.cells().into_iter().filter_map(|(size, clients)| test(size, clients)).collect(), missing)
}

fn over(values: &[usize], what: &str, test: impl Fn(usize) -> Option<Test>) -> Finding {
    judged(
        values.iter().filter_map(|value| test(*value)).collect(),
        &format!("Needs all three paths and several {what}."),
    )
}

fn at(size: usize, clients: usize) -> String {
    format!("{} × {clients}", ByteSize(size))
}

fn figure(row: Option<&Row>, metric: Metric) -> Option<f64> {
    row?.figure(metric).map(|figure| figure.value).filter(|value| *value > 0.0)
}

/// Throughputs beside each other: by the comparison's word where there is one, beyond the margin of equivalence
/// otherwise.
fn faster(set: &Set, one: &str, other: &str, size: usize, clients: usize) -> Option<Test> {
    let of = |path| figure(set.row(path, size, clients), Metric::Throughput);
    let (a, b) = (of(one)?, of(other)?);
    let word = |path: &str, reference: &str| {
        let found = compared(set, path, size, clients, "throughput").find(|c| c.reference == reference);
        found.map(|comparison| comparison.word.clone())
    };
    let said = |word: String, yes: &str| (word != "undecided").then(|| word == yes);
    let holds = match (word(one, other), word(other, one)) {
        (Some(word), _) => said(word, "faster"),
        (None, Some(word)) => said(word, "slower"),
        (None, None) => Some(a / b > 1.0 + EQUIVALENT_WITHIN),
    };
    let says = format!("{}: {one} {} GB/s, {other} {}", at(size, clients), significant(a), significant(b));
    Some(Test { margin: a / b, holds, says })
}

fn fewest_cycles(set: &Set, size: usize, clients: usize) -> Option<Test> {
    let of = |path| figure(set.row(path, size, clients), Metric::CyclesPerByte);
    let (zero, one, two) = (of(ZERO)?, of(ONE)?, of(TWO)?);
    let margin = one.min(two) / zero;
    let says = format!(
        "{}: {ZERO} {} cycles per byte, {ONE} {}, {TWO} {}",
        at(size, clients),
        significant(zero),
        significant(one),
        significant(two)
    );
    Some(Test { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), says })
}

fn shrink(set: &Set, clients: usize) -> Option<Test> {
    let ratio = |size: usize| {
        let of = |path| figure(set.row(path, size, clients), Metric::Throughput);
        Some((size, of(ZERO)? / of(ONE)?))
    };
    let ratios: Vec<_> = set.sizes().into_iter().filter_map(ratio).collect();
    let (small, large) = (ratios.first()?, ratios.last().filter(|_| ratios.len() > 1)?);
    let margin = large.1 / small.1;
    let says = format!(
        "{ZERO} reaches {} times {ONE} at {} and {} times at {}, clients {clients}",
        significant(small.1),
        ByteSize(small.0),
        significant(large.1),
        ByteSize(large.0)
    );
    Some(Test { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), says })
}

/// The fewest and the most clients with which a path has the figure at a size.
fn growth(set: &Set, path: &str, size: usize, metric: Metric) -> Option<(usize, usize, f64, f64)> {
    let of = |clients: usize| Some((clients, set.row(path, size, clients)?.figure(metric)?.value));
    let known: Vec<_> = set.clients().into_iter().filter_map(of).collect();
    let (fewest, most) = (known.first()?, known.last().filter(|_| known.len() > 1)?);
    Some((fewest.0, most.0, fewest.1, most.1))
}

fn scales_best(set: &Set, size: usize) -> Option<Test> {
    let speedup = |path| {
        let (fewest, most, from, to) = growth(set, path, size, Metric::Throughput)?;
        (from > 0.0 && to > 0.0).then_some((fewest, most, to / from))
    };
    let (zero, one, two) = (speedup(ZERO)?, speedup(ONE)?, speedup(TWO)?);
    let margin = zero.2 / one.2.max(two.2);
    let says = format!(
        "{}, clients {} to {}: {ZERO} {} times, {ONE} {}, {TWO} {}",
        ByteSize(size),
        zero.0,
        zero.1,
        significant(zero.2),
        significant(one.2),
        significant(two.2)
    );
    Some(Test { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), says })
}

fn first_level_falls_most(set: &Set, size: usize, clients: usize) -> Option<Test> {
    let left = |metric| {
        let of = |path| figure(set.row(path, size, clients), metric);
        Some(of(ZERO)? / of(TWO)?)
    };
    let (first, last) = (left(Metric::FirstLevelMisses)?, left(Metric::LastLevelMisses)?);
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let says = format!(
        "{}: {} of the L1 misses are left, {} of the last level's",
        at(size, clients),
        percent(first),
        percent(last)
    );
    Some(Test { margin: last / first, holds: Some(first < 1.0 && first < last), says })
}

/// Of the three paths, the one whose switches rise least.
fn contention(set: &Set, size: usize) -> Option<Test> {
    let test = |path: &str| {
        let (fewest, most, from, to) = growth(set, path, size, Metric::Switches)?;
        let says = format!(
            "{path}, {}: {} switches a message at clients {fewest}, {} at {most}",
            ByteSize(size),
            significant(from),
            significant(to)
        );
        let margin = to / from.max(f64::MIN_POSITIVE);
        Some(Test { margin, holds: Some(margin > 1.0 + EQUIVALENT_WITHIN), says })
    };
    ORIGINAL.iter().filter_map(|path| test(path)).min_by(|one, other| one.margin.total_cmp(&other.margin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Results;
    use crate::report::fixture::{counted, full};
    use crate::report::set::of_results;

    fn words(results: &Results) -> Vec<Word> {
        let set = of_results("", results).remove(0);
        ALL.iter().map(|claim| (claim.check)(&set).word).collect()
    }

    #[test]
    fn each_claim_is_told_with_the_cell_that_shows_it() {
        let set = of_results("", &full()).remove(0);
        let told: Vec<_> = ALL
            .iter()
            .map(|claim| {
                let Finding { word, evidence } = (claim.check)(&set);
                format!("{}: {}: {evidence}", claim.text, word.text())
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn counters_make_two_more_testable() {
        let mut results = full();
        for record in &mut results.records {
            let (cycles, first) = if record.path == "zerocopy" { (400.0, 4.0) } else { (500.0, 16.0) };
            *record = counted(record.clone(), cycles, first, 2.0);
        }
        let counted = words(&results);
        assert_eq!((counted[2], counted[5]), (Word::Held, Word::Held));
        let plain = words(&full());
        assert_eq!((plain[2], plain[5]), (Word::NotTestable, Word::NotTestable));
    }

    #[test]
    fn nothing_is_held_or_refused_without_figures() {
        assert_eq!(words(&Results::new(crate::report::fixture::conditions())), [Word::NotTestable; 7]);
        let mut one = full();
        one.records.truncate(1);
        assert_eq!(words(&one), [Word::NotTestable; 7]);
    }
}
