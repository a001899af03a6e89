//! Claims on fixed records.

use super::*;
use crate::record::Results;
use crate::report::fixture::{counted, full};
use crate::report::set::of_results;

fn verdicts(results: &Results) -> Vec<ClaimVerdict> {
    let set = of_results("", results).remove(0);
    ALL.iter().map(|claim| (claim.check)(&set).verdict).collect()
}

#[test]
fn each_claim_is_told_with_the_cell_that_shows_it() {
    let set = of_results("", &full()).remove(0);
    let lines: Vec<_> = ALL
        .iter()
        .map(|claim| {
            let ClaimFinding { verdict, evidence } = (claim.check)(&set);
            format!("{}: {}: {evidence}", claim.text, verdict.text())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn counters_make_two_more_testable() {
    let mut results = full();
    for record in &mut results.records {
        let (cycles, first) = if record.path == "zerocopy" { (400.0, 4.0) } else { (500.0, 16.0) };
        *record = counted(record.clone(), cycles, first, 2.0);
    }
    let counted = verdicts(&results);
    assert_eq!((counted[2], counted[5]), (ClaimVerdict::Held, ClaimVerdict::Held));
    let plain = verdicts(&full());
    assert_eq!((plain[2], plain[5]), (ClaimVerdict::NotTestable, ClaimVerdict::NotTestable));
}

#[test]
fn nothing_is_held_or_refused_without_figures() {
    assert_eq!(verdicts(&Results::new(crate::report::fixture::conditions())), [ClaimVerdict::NotTestable; 7]);
    let mut one = full();
    one.records.truncate(1);
    assert_eq!(verdicts(&one), [ClaimVerdict::NotTestable; 7]);
}
