//! Output that nobody reads, or that has no room: it ends nothing and loses nothing.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::{Program, results, sized};

const CELLS: [&str; 9] =
    ["run", "-p", "onecopy", "-s", "1KiB,2KiB,4KiB", "--seconds", "0.05", "--setups", "2"];

fn copycost(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("copycost"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A disk that is full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[track_caller]
fn all_there(file: &Path) {
    assert_eq!(results(&fs::read_to_string(file).unwrap()).records.len(), 3);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_that_nobody_watches_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (json, csv) = (folder.path().join("a.json"), folder.path().join("a.csv"));
    let files = ["-o", json.to_str().unwrap(), "-o", csv.to_str().unwrap()];
    for (out, err) in [(closed(), closed()), (closed(), full()), (Stdio::null(), closed())] {
        let status = copycost(&[&CELLS[..], &files].concat()).stdout(out).stderr(err).status().unwrap();
        assert_eq!(status.code(), Some(0));
        all_there(&json);
        assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 4);
        fs::remove_file(&json).unwrap();
        fs::remove_file(&csv).unwrap();
    }
}

/// What was asked for has not arrived; everything else has.
#[test]
fn a_full_disk_behind_standard_output_is_told_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let arguments = [&CELLS[..], &["--format", "json", "-o", json.to_str().unwrap()]].concat();
    let output = copycost(&arguments).stdout(full()).stderr(Stdio::piped()).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.lines().last().unwrap().starts_with("error: standard output was not written: "), "{error}");
    all_there(&json);
    // With nowhere to say so either, the exit code does.
    let status = copycost(&arguments).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn no_verb_panics_where_its_output_goes_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let json = json.to_str().unwrap();
    Program::run(&[&CELLS[..], &["-o", json]].concat()).good();
    for verb in [
        &["list"][..],
        &["list", "--format", "json"],
        &["doctor"],
        &["man"],
        &["completions", "zsh"],
        &["report", json],
        &["report", json, "--format", "html"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["run", "-p", sized("all", "onecopy,zerocopy"), "-s", "64", "--seconds", "0.05", "--setups", "2"],
    ] {
        let output =
            |out: Stdio, err: Stdio| -> Output { copycost(verb).stdout(out).stderr(err).output().unwrap() };
        // What the doctor finds on this machine is its own affair.
        let usual = output(Stdio::null(), Stdio::null()).status.code();
        assert!(matches!(usual, Some(0 | 3)), "{verb:?}");
        assert_eq!(output(closed(), closed()).status.code(), usual, "{verb:?}");
        let failed = output(full(), Stdio::piped());
        assert_eq!(failed.status.code(), Some(1), "{verb:?}");
        assert!(text(&failed.stderr).contains("standard output was not written"), "{verb:?}: {failed:?}");
        assert_eq!(output(full(), full()).status.code(), Some(1), "{verb:?}");
    }
    for wrong in [&["run", "-s", "0"][..], &["frob"], &["report", "/nonexistent"]] {
        let status = copycost(wrong).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{wrong:?}");
    }
}

/// A server whose log is full serves on.
#[test]
fn a_server_that_nobody_listens_to_serves() {
    let folder = tempfile::tempdir().unwrap();
    let token = crate::program::secret(folder.path(), "token", b"a token of some length", 0o600);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let arguments = ["serve", "--port", &port, "--token-file", token.to_str().unwrap()];
    let mut server = copycost(&arguments).stdout(full()).stderr(closed()).spawn().unwrap();
    let address = format!("127.0.0.1:{port}");
    crate::common::eventually("it listens", || std::net::TcpStream::connect(&address).is_ok());
    let over = ["--over", &address, "--token-file", token.to_str().unwrap()];
    Program::run(&[&CELLS[..], &over].concat()).good();
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(1), "its own lines were lost, and it says so");
}
