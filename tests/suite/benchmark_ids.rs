//! The ids of the benchmarks: the matrix is whole, the documented filter picks what it says, and no group's name hides in
//! another's. They are read from the file that the bench programs take them from; in the full set the programs list theirs.

#[path = "../../benches/matrix/groups.rs"]
mod groups;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use copycost::message::Spec;
use copycost::recv;
use copycost::scenario::{CLIENTS, SIZES, cell_id, matrix};
use copycost::send;

use crate::common::full;

/// The bench target whose ids are no cells.
const MICRO: &str = "micro";

/// The ids of the cells of a target.
fn ids(target: &str) -> Vec<String> {
    let (_, groups) = groups::TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    groups().iter().flat_map(groups::Group::ids).collect()
}

/// The names of all groups of all targets.
fn group_names() -> BTreeSet<String> {
    let cells = groups::TARGETS.iter().flat_map(|(_, groups)| groups()).map(|group| group.name);
    let calls = send::ORIGINAL.iter().filter_map(|name| send::by_name(name)).map(groups::call);
    cells.chain(calls).chain([groups::PART.to_owned()]).collect()
}

#[test]
fn throughput_has_exactly_the_48_ids() {
    let expected: Vec<String> = send::ORIGINAL
        .iter()
        .flat_map(|path| {
            matrix(&SIZES, &CLIENTS).map(move |(size, clients)| format!("{path}/{size}/{clients}"))
        })
        .collect();
    assert_eq!(expected.len(), 48);
    assert_eq!(ids("throughput"), expected);
}

#[test]
fn the_documented_filter_picks_four_of_all_default_targets() {
    let all = ["throughput", "cost", "latency"].into_iter().flat_map(ids);
    // Every id of `micro` begins with one of its groups' names.
    let picked: Vec<String> = all.filter(|id| id.contains("zerocopy/65536")).collect();
    assert_eq!(picked, CLIENTS.map(|clients| format!("zerocopy/{}", cell_id(65_536, clients))));
    assert!(group_names().iter().all(|name| name == "zerocopy" || !name.ends_with("zerocopy")));
}

#[test]
fn no_group_name_ends_in_another() {
    // Criterion's filter is an unanchored regular expression: `cpu-zerocopy` would match `zerocopy/…`.
    let paths = send::ALL.iter().map(|path| path.name.to_owned());
    let names: BTreeSet<String> = group_names().into_iter().chain(paths).collect();
    for name in &names {
        for other in &names {
            assert!(name == other || !name.ends_with(other.as_str()), "{name} ends in {other}");
        }
    }
    let ids: Vec<String> = groups::TARGETS.iter().flat_map(|(target, _)| ids(target)).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "every id is there once");
}

#[test]
fn paths_has_every_path_beyond_the_three() {
    let spec = Spec::new(1024).unwrap();
    let others = send::ALL.iter().filter(|path| !send::ORIGINAL.contains(&path.name));
    let expected: Vec<String> = others
        .filter(|path| path.nearest(&spec).is_ok())
        .flat_map(|path| {
            matrix(&[1024, 16_384, 65_536], &[1, 8])
                .map(|(size, clients)| format!("{}/{}", path.name, cell_id(size, clients)))
        })
        .collect();
    assert_eq!(ids("paths"), expected);
}

#[test]
fn receive_has_every_receive_path() {
    let ids = ids("receive");
    for path in recv::ALL.iter().filter(|path| (path.probe)(false).is_ok()) {
        let group = format!("recv-{}/", path.name);
        assert!(ids.iter().any(|id| id.starts_with(&group)), "{}: {ids:?}", path.name);
    }
}

/// The names of the bench targets in Cargo.toml, and whether a bare `cargo bench` runs them.
fn targets() -> Vec<(String, bool)> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let sections = manifest.split("[[bench]]").skip(1).map(|section| section.split('[').next().unwrap());
    let name = |section: &str| section.split('"').nth(1).unwrap().to_owned();
    sections.map(|section| (name(section), !section.contains("bench = false"))).collect()
}

#[test]
fn every_target_of_the_manifest_has_its_ids_here() {
    let names: BTreeSet<String> = targets().into_iter().map(|(name, _)| name).collect();
    let known = groups::TARGETS.iter().map(|(name, _)| *name).chain([MICRO]).map(str::to_owned);
    assert_eq!(names, known.collect());
    let by_default = targets().into_iter().filter(|(_, by_default)| *by_default).map(|(name, _)| name);
    assert_eq!(by_default.collect::<Vec<_>>(), ["throughput", "cost", "latency", MICRO]);
}

/// What the bench program of a target lists. In the test profile, whose dependencies are built already.
fn listed(target: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["bench", "--profile", "test", "--bench", target, "--", "--list"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_suffix(": benchmark")).map(str::to_owned).collect()
}

/// In the full set only: it compiles the bench programs.
#[test]
fn the_bench_programs_list_these_ids() {
    if !full() {
        return;
    }
    for (target, _) in groups::TARGETS {
        assert_eq!(listed(target), ids(target), "{target}");
    }
    let micro = listed(MICRO);
    assert!(micro.iter().all(|id| !id.contains("zerocopy/65536")), "{micro:?}");
    let names: BTreeSet<String> =
        micro.iter().filter_map(|id| id.split('/').next()).map(str::to_owned).collect();
    assert!(names.is_subset(&group_names()), "{names:?}");
}

#[test]
fn every_target_is_run_once_where_everything_must_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A packaged crate has none.
    let Ok(script) = fs::read_to_string(folder.join(".ci/run")) else { return };
    let line = script.lines().find(|line| line.starts_with("for target in ")).expect("the loop over targets");
    for (name, _) in targets().into_iter().filter(|(_, by_default)| !by_default) {
        assert!(line.split([' ', ';']).any(|word| word == name), "{name}: {line}");
    }
}
