//! Names that are no UTF-8: of files, of folders, of the program itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::{Command, Output};

use crate::program::{results, secret};

fn latin1(name: &str) -> OsString {
    OsString::from_vec(name.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect())
}

fn output(binary: &Path, folder: &Path, arguments: &[&OsStr]) -> Output {
    Command::new(binary).args(arguments).current_dir(folder).output().unwrap()
}

const RUN: [&str; 9] = ["run", "-p", "onecopy", "-s", "1KiB", "--seconds", "0.05", "--setups", "2"];

#[track_caller]
fn run(binary: &Path, folder: &Path, more: &[&OsStr]) -> Output {
    let words: Vec<_> = RUN.iter().map(OsStr::new).chain(more.iter().copied()).collect();
    let output = output(binary, folder, &words);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output
}

#[test]
fn files_of_any_name_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let binary = assert_cmd::cargo::cargo_bin!("copycost");
    let (json, page) = (latin1("café.json"), latin1("café.html"));
    run(binary, folder.path(), &["-o".as_ref(), &json]);
    let kept = results(&fs::read_to_string(folder.path().join(&json)).unwrap());
    assert_eq!(kept.records.len(), 1);
    assert_eq!(kept.conditions.command.last().unwrap(), "caf\u{fffd}.json", "a record is text");
    run(binary, folder.path(), &["--resume".as_ref(), "-o".as_ref(), &json]);
    let reported = output(binary, folder.path(), &["report".as_ref(), &json, "-o".as_ref(), &page]);
    assert_eq!(reported.status.code(), Some(0), "{reported:?}");
    assert!(folder.path().join(&page).exists());
    let manuals = folder.path().join(latin1("pagés"));
    fs::create_dir(&manuals).unwrap();
    let written = output(binary, folder.path(), &["man".as_ref(), "--folder".as_ref(), manuals.as_os_str()]);
    assert!(written.status.success() && manuals.join("copycost-run.1").exists(), "{written:?}");
}

#[test]
fn what_is_wrong_with_such_a_name_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let binary = assert_cmd::cargo::cargo_bin!("copycost");
    let name = latin1("café");
    secret(folder.path(), "other", b"as long as a token has to be", 0o600);
    for words in [
        &["run", "-o"][..],
        &["run", "--baseline"],
        &["run", "--resume", "-o"],
        &["run", "--with"],
        &["run", "-p"],
        &["run", "--over"],
        &["run", "--over", "localhost:1", "--token-file"],
        &["report"],
        &["man", "--folder"],
        &["serve", "--token-file"],
        &["doctor", "--over"],
        &["completions"],
    ] {
        let words: Vec<_> = words.iter().map(OsStr::new).chain([name.as_os_str()]).collect();
        let refused = output(binary, folder.path(), &words);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.starts_with("error: ") && !error.contains("panicked"), "{words:?}: {error}");
    }
}

#[test]
fn the_program_may_have_any_name_and_lie_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join(latin1("Büro"));
    fs::create_dir(&home).unwrap();
    let binary = home.join(latin1("copycoßt"));
    fs::copy(assert_cmd::cargo::cargo_bin!("copycost"), &binary).unwrap();
    // Huge pages are read from smaps, which names the program; the doctor reads status, which does too.
    let huge = ["--layout", "huge", "--format", "json"].map(OsStr::new);
    let measured = run(&binary, folder.path(), &huge);
    let measured = results(&String::from_utf8_lossy(&measured.stdout));
    assert!(measured.records[0].huge_share.is_some());
    assert!(measured.conditions.command[0].contains("B\u{fffd}ro/copyco\u{fffd}t"));
    let with = ["--with".as_ref(), binary.as_os_str()];
    run(&binary, folder.path(), &with);
    let doctor = output(&binary, folder.path(), &["doctor".as_ref(), "--format".as_ref(), "json".as_ref()]);
    let told: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert!(!told.to_string().contains("valid UTF-8"), "{told}");
    assert_eq!(binary.as_os_str().as_bytes().iter().filter(|byte| **byte >= 0x80).count(), 2);
}
