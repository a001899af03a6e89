//! Which sets are joined and which stay apart.

use super::*;
use crate::report::fixture::{full, record};

fn labels(sets: &[RecordSet]) -> Vec<&str> {
    sets.iter().map(|set| set.label.as_str()).collect()
}

#[test]
fn files_with_other_cells_are_joined_and_files_with_the_same_stand_side_by_side() {
    let (mut small, mut large) = (full(), full());
    small.records.retain(|record| record.size == 1024);
    large.records.retain(|record| record.size == 65_536);
    large.conditions.command.push("-s 64KiB".into());
    let sets =
        side_by_side([of_results("a.json", &small), of_results("b.json", &large)].into_iter().flatten());
    assert_eq!(labels(&sets), [""]);
    assert_eq!((sets[0].rows.len(), sets[0].commands.len()), (12, 2));
    assert_eq!(sets[0].commands[1], "copycost run '-s 64KiB'");

    let sets =
        side_by_side([of_results("a.json", &full()), of_results("x/b.json", &full())].into_iter().flatten());
    assert_eq!(labels(&sets), ["a", "b"]);
    let sets =
        side_by_side([of_results("a.json", &full()), of_results("x/a.json", &full())].into_iter().flatten());
    assert_eq!(labels(&sets), ["a.json", "x/a.json"]);
    large.conditions.kernel = "7.0".into();
    let sets =
        side_by_side([of_results("a.json", &small), of_results("b.json", &large)].into_iter().flatten());
    assert_eq!(labels(&sets), ["a", "b"], "another kernel is another run");
}

#[test]
fn settings_of_one_file_are_sets_of_their_own() {
    let mut results = full();
    let split = Record { placement: "split".into(), ..record("onecopy", 1024, 1e9, None) };
    results.records.push(split);
    let sets = side_by_side(of_results("a.json", &results));
    assert_eq!(labels(&sets), ["paired", "split"]);
    assert!(sets[1].comparisons.is_empty());
}

#[test]
fn paths_stand_in_the_order_of_the_list_and_unknown_ones_last() {
    let mut results = full();
    results.records.insert(0, record("of-a-later-version", 1024, 1e9, None));
    let sets = side_by_side(of_results("", &results));
    assert_eq!(sets[0].paths(), ["twocopy", "onecopy", "zerocopy", "of-a-later-version"]);
}
