//! The ids of the benchmarks, as the bench programs themselves list them: the matrix is whole, the documented filter
//! picks what it says, and no group's name hides in another's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use copycost::message::Spec;
use copycost::recv;
use copycost::scenario::{CLIENTS, SIZES, cell_id, matrix};
use copycost::send;

/// The bench targets that a bare `cargo bench` runs.
const DEFAULT_TARGETS: [&str; 4] = ["throughput", "cost", "latency", "micro"];

/// Those that run by name only and whose ids Criterion lists.
const NAMED_TARGETS: [&str; 3] = ["layout", "paths", "receive"];

/// What `cargo bench -- ARGUMENTS --list` prints. In the test profile, whose dependencies are built already.
fn listed(target: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["bench", "--profile", "test", "--bench", target, "--"]).args(arguments).arg("--list");
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_suffix(": benchmark")).map(str::to_owned).collect()
}

fn groups(ids: &[String]) -> BTreeSet<&str> {
    ids.iter().filter_map(|id| id.split('/').next()).collect()
}

#[test]
fn throughput_has_exactly_the_48_ids() {
    let expected: Vec<String> = send::ORIGINAL
        .iter()
        .flat_map(|path| {
            matrix(&SIZES, &CLIENTS).map(move |(size, clients)| format!("{path}/{}", cell_id(size, clients)))
        })
        .collect();
    assert_eq!(expected.len(), 48);
    assert_eq!(listed("throughput", &[]), expected);
}

#[test]
fn the_documented_filter_picks_four_of_all_default_targets() {
    let picked: Vec<String> =
        DEFAULT_TARGETS.iter().flat_map(|target| listed(target, &["zerocopy/65536"])).collect();
    assert_eq!(picked, CLIENTS.map(|clients| format!("zerocopy/{}", cell_id(65_536, clients))));
}

#[test]
fn no_group_name_ends_in_another() {
    // Criterion's filter is an unanchored regular expression: `cpu-zerocopy` would match `zerocopy/…`.
    let targets = DEFAULT_TARGETS.iter().chain(&NAMED_TARGETS);
    let ids: Vec<String> = targets.flat_map(|target| listed(target, &[])).collect();
    let names: BTreeSet<&str> =
        groups(&ids).into_iter().chain(send::ALL.iter().map(|path| path.name)).collect();
    for name in &names {
        for other in &names {
            assert!(name == other || !name.ends_with(other), "{name} ends in {other}");
        }
    }
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
    assert_eq!(listed("paths", &[]), expected);
}

#[test]
fn receive_has_every_receive_path() {
    let ids = listed("receive", &[]);
    let listed = groups(&ids);
    for path in recv::ALL.iter().filter(|path| (path.probe)(false).is_ok()) {
        assert!(listed.contains(format!("recv-{}", path.name).as_str()), "{}: {listed:?}", path.name);
    }
}

#[test]
fn every_target_is_run_once_where_everything_must_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(script) = fs::read_to_string(folder.join(".ci/run")) else { return };
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let benches = manifest.split("[[bench]]").skip(1);
    let mut by_name = benches.filter(|bench| bench.split('[').next().unwrap().contains("bench = false"));
    let line = script.lines().find(|line| line.starts_with("for target in ")).expect("the loop over targets");
    assert!(by_name.clone().count() >= NAMED_TARGETS.len());
    assert!(
        by_name.all(|bench| {
            let name = bench.split('"').nth(1).unwrap();
            line.split([' ', ';']).any(|word| word == name)
        }),
        "{line}"
    );
}
