//! The command as a user types it: real processes, real connections, and one clear sentence for what is wrong.
#![cfg(feature = "cli")]

use std::fs;
use std::time::Duration;

use assert_cmd::Command;
use copycost::record::Results;
use copycost::send;

fn copycost(arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("copycost"));
    command.args(arguments).timeout(Duration::from_secs(60)).assert()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bad_input_is_refused_with_the_flag_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/x.json");
    let missing = missing.to_str().unwrap();
    for (arguments, says) in [
        (&["run", "-s", "0"][..], ["--size", "8 bytes"]),
        (&["run", "--size", "7"], ["--size", "8 bytes"]),
        (&["run", "-s", "2GiB"], ["--size", "1 GiB"]),
        (&["run", "-s", "64KB"], ["--size", "KiB"]),
        (&["run", "-p", "nocopy"], ["--path", "twocopy, onecopy, zerocopy"]),
        (&["run", "-p", "onecopy,"], ["--path", "twocopy"]),
        (&["run", "-c", "0"], ["--clients", "1 to 1024"]),
        (&["run", "-c", "1025"], ["--clients", "1 to 1024"]),
        (&["run", "--seconds", "0"], ["--seconds", "0.001 to 3600"]),
        (&["run", "--seconds", "NaN"], ["--seconds", "0.001 to 3600"]),
        (&["run", "--placement", "near"], ["--placement", "paired, split, free"]),
        (&["run", "--layout", "pile"], ["--layout", "heap, page, arena, huge"]),
        (&["run", "--fields", "odd"], ["--fields", "even, headed, single"]),
        (&["run", "--buffers", "ring:0"], ["--buffers", "1 to 65536"]),
        (&["run", "--footprint", "warm"], ["--footprint", "hot, l2, llc, cold"]),
        (&["run", "--format", "xml"], ["--format", "table, json, csv"]),
        (&["run", "-o", "x"], ["--output", ".json, .csv, .txt, .md or .html"]),
        (&["run", "-o", missing], ["--output", "x.json"]),
        (&["list", "--format", "csv"], ["--format", "json"]),
    ] {
        let assert = copycost(arguments).code(2);
        let error = text(&assert.get_output().stderr);
        assert!(error.starts_with("error: "), "{arguments:?}: {error}");
        says.iter().for_each(|part| assert!(error.contains(part), "{arguments:?}: {part} in {error}"));
        assert!(assert.get_output().stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_no_file_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken.json");
    fs::create_dir(&taken).unwrap();
    let assert = copycost(&["run", "-o", taken.to_str().unwrap()]).code(2);
    assert!(text(&assert.get_output().stderr).contains("no regular file"));
    assert!(taken.is_dir());
}

#[test]
fn list_shows_every_path() {
    let table = text(&copycost(&["list"]).success().get_output().stdout);
    let json = copycost(&["list", "--format", "json"]).success();
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(entries.len(), send::ALL.len());
    for (path, entry) in send::ALL.iter().zip(entries) {
        assert!(table.contains(path.name), "{table}");
        assert_eq!(entry["path"], path.name);
        assert_eq!(entry["available"], entry["reason"].is_null());
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn run_writes_every_form_and_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, table) = (file("a.json"), file("b.csv"), file("c.txt"));
    let arguments = ["run", "-p", "all", "-s", "64,4KiB", "-c", "1,3", "--seconds", "0.05", "--verify"];
    let outputs = ["-o", &json, "-o", &csv, "-o", &table, "--format", "json"];
    let assert = copycost(&[&arguments[..], &outputs[..]].concat()).success();
    let printed: Results = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let saved: Results = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(printed, saved);
    assert_eq!(saved.failures, []);
    for (size, clients) in [(64, 1), (64, 3), (4096, 1), (4096, 3)] {
        let paths: Vec<_> = saved.records.iter().filter(|r| (r.size, r.clients) == (size, clients)).collect();
        assert!(paths.len() >= 2);
        for record in paths {
            assert!(record.throughput_bytes_per_second > 0.0 && record.messages > 0);
            assert!(
                (record.bytes as f64 / record.seconds / record.throughput_bytes_per_second - 1.0).abs()
                    < 1e-6
            );
            assert_eq!(record.ledger.is_some(), record.path == "zerocopy");
            assert_eq!(record.ledger.is_some(), record.verdict.is_some());
        }
    }
    let lines = fs::read_to_string(csv).unwrap().lines().count();
    assert_eq!(lines, saved.records.len() + 1);
    assert!(fs::read_to_string(table).unwrap().contains("4 KiB"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn the_form_of_the_json_is_as_documented() {
    let output =
        copycost(&["run", "-p", "onecopy,zerocopy", "-s", "1KiB", "--seconds", "0.02", "--format", "json"])
            .success();
    let value: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(value["schema"], 1);
    assert!(value["conditions"]["kernel"].is_string());
    let records = value["records"].as_array().unwrap();
    for record in records {
        for field in [
            "path",
            "size",
            "clients",
            "layout",
            "fields",
            "buffers",
            "footprint",
            "placement",
            "receive",
            "transport",
            "clock",
            "seconds",
            "context_switches_per_message",
            "messages",
            "bytes",
            "throughput_bytes_per_second",
            "syscalls_per_message",
            "ledger",
            "verdict",
        ] {
            assert!(record.get(field).is_some(), "{field}");
        }
    }
    assert!(records[0]["ledger"].is_null() && records[0]["verdict"].is_null());
    if let Some(zerocopy) = records.get(1) {
        let ledger = &zerocopy["ledger"];
        for field in ["sends", "completed", "copied", "enobufs", "fallbacks", "undrained"] {
            assert!(ledger[field].is_u64(), "{field}");
        }
        assert_eq!(zerocopy["verdict"], "copied", "loopback copies every zero-copy send");
        assert_eq!(ledger["completed"], ledger["copied"]);
    }
}

#[test]
fn every_condition_can_be_chosen() {
    for arguments in [
        ["--placement", "split"],
        ["--placement", "free"],
        ["--layout", "huge"],
        ["--fields", "headed"],
        ["--buffers", "ring:4"],
        ["--footprint", "l2"],
    ] {
        let cell = ["run", "-s", "4KiB", "--seconds", "0.02", "--verify", "--format", "json"];
        let assert = copycost(&[&cell[..], &arguments[..]].concat()).success();
        let results: Results = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        let value = serde_json::to_value(&results.records[0]).unwrap();
        assert_eq!(value[&arguments[0][2..]], arguments[1]);
    }
}

#[test]
fn a_pipe_gets_no_progress_bar() {
    let assert = copycost(&["run", "-s", "1KiB", "--seconds", "0.02"]).success();
    assert!(assert.get_output().stderr.is_empty(), "{}", text(&assert.get_output().stderr));
    let table = text(&assert.get_output().stdout);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}
