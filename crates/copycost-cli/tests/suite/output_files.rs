//! What `-o` names stays what it is: links, modes, owners, mount points; and what cannot be written is refused first.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::child::{is_root, works};
use crate::common::skip;
use crate::program::{Ended, Program, results, results_in};

const CELLS: [&str; 9] = ["run", "-p", "onecopy", "-s", "1KiB,2KiB", "--seconds", "0.05", "--setups", "2"];

/// A user without privileges.
const USER: u32 = 65_534;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, "as it was").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn run_in(wrapper: &[&str], output: &Path) -> Ended {
    Program::start_in(wrapper, &[&CELLS[..], &["-o", output.to_str().unwrap()]].concat()).finish()
}

#[track_caller]
fn whole(file: &Path) {
    assert_eq!(results_in(file).unwrap().records.len(), 2);
}

#[track_caller]
fn written(file: &Path) {
    run_in(&[], file).good();
    whole(file);
}

#[test]
fn the_file_behind_a_link_is_written() {
    let folder = Folder::new();
    let real = folder.file("real.json", 0o644);
    for (link, to) in [("a.json", "real.json"), ("b.json", "a.json"), ("c.json", "nowhere.json")] {
        symlink(to, folder.path(link)).unwrap();
    }
    written(&folder.path("b.json"));
    whole(&real);
    written(&folder.path("c.json"));
    whole(&folder.path("nowhere.json"));
    for link in ["a.json", "b.json", "c.json"] {
        assert!(folder.path(link).is_symlink(), "{link}");
    }
    // What is read again goes the same way.
    let link = folder.path("b.json");
    let link = link.to_str().unwrap();
    let before = fs::metadata(&real).unwrap().ino();
    let resumed = Program::run(&[&CELLS[..], &["--resume", "-o", link, "--format", "json"]].concat()).good();
    assert_eq!(results(&resumed), results_in(&real).unwrap());
    assert_eq!(fs::metadata(&real).unwrap().ino(), before, "nothing was left to be measured");
    symlink("loop.json", folder.path("loop.json")).unwrap();
    run_in(&[], &folder.path("loop.json")).refused(2, &["--output", "cannot be written"]);
    assert_eq!(folder.names().len(), 6, "no temporary file is left: {:?}", folder.names());
}

#[test]
fn every_verb_that_writes_a_file_follows_links_and_keeps_modes() {
    let folder = Folder::new();
    let results = folder.path("r.json");
    written(&results);
    folder.file("real.html", 0o640);
    symlink("real.html", folder.path("link.html")).unwrap();
    let (results, page) = (results.to_str().unwrap().to_owned(), folder.path("link.html"));
    Program::run(&["report", &results, "-o", page.to_str().unwrap()]).good();
    folder.file("manual", 0o640);
    symlink("manual", folder.path("copycost-run.1")).unwrap();
    Program::run(&["man", "--folder", folder.0.path().to_str().unwrap()]).good();
    for (link, real) in [("link.html", "real.html"), ("copycost-run.1", "manual")] {
        assert!(folder.path(link).is_symlink(), "{link}");
        let metadata = fs::metadata(folder.path(real)).unwrap();
        assert!(metadata.len() > 100 && metadata.mode() & 0o777 == 0o640, "{metadata:?}");
    }
}

#[test]
fn mode_owner_and_second_names_stay() {
    let folder = Folder::new();
    let file = folder.file("private.json", 0o600);
    if is_root() {
        std::os::unix::fs::chown(&file, Some(USER), Some(USER)).unwrap();
    }
    let before = fs::metadata(&file).unwrap();
    written(&file);
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    let one = folder.file("one.json", 0o644);
    fs::hard_link(&one, folder.path("two.json")).unwrap();
    written(&one);
    whole(&folder.path("two.json"));
    let long = folder.path(&format!("{}.json", "x".repeat(250)));
    written(&long);
    assert_eq!(folder.names().len(), 4, "no temporary file is left: {:?}", folder.names());
}

#[test]
fn a_mount_point_is_written_in_place() {
    if !is_root() || !works("unshare", &["-m", "true"]) {
        return skip("a bind mount needs root and unshare");
    }
    let folder = Folder::new();
    let (source, target) = (folder.file("source.json", 0o644), folder.file("target.json", 0o644));
    let mount = r#"mount --bind "$1" "$2" && shift 2 && exec "$@""#;
    let wrapper =
        ["unshare", "-m", "sh", "-c", mount, "sh", source.to_str().unwrap(), target.to_str().unwrap()];
    run_in(&wrapper, &target).good();
    whole(&source);
    assert_eq!(fs::read_to_string(&target).unwrap(), "as it was", "outside nothing is mounted");
    // A file system that is read only but for this file.
    let mount = r#"mount --bind "$1" "$1" && mount --bind "$2" "$2" && mount -o remount,bind,ro "$1" && shift 2 && exec "$@""#;
    let whole_folder = folder.0.path().to_str().unwrap();
    let wrapper = ["unshare", "-m", "sh", "-c", mount, "sh", whole_folder, target.to_str().unwrap()];
    run_in(&wrapper, &target).good();
    whole(&target);
    run_in(&wrapper, &folder.path("new.json")).refused(2, &["--output", "Read-only file system"]);
    assert_eq!(folder.names(), ["source.json", "target.json"]);
}

#[test]
fn a_folder_that_may_not_be_written_to_does_not_matter_to_a_file_that_may() {
    if !is_root() || !works("setpriv", &["--version"]) {
        return skip("another user needs root and setpriv");
    }
    let folder = Folder::new();
    let file = folder.file("open.json", 0o666);
    fs::set_permissions(folder.0.path(), Permissions::from_mode(0o555)).unwrap();
    // The program lies where another user may not look.
    let copy = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let binary = copy.path().join("copycost");
    fs::copy(assert_cmd::cargo::cargo_bin!("copycost"), &binary).unwrap();
    let user = USER.to_string();
    let run = |output: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&binary).args(CELLS);
        command.arg("-o").arg(output).output().unwrap()
    };
    let done = run(&file);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    whole(&file);
    for (name, mode) in [("new.json", None), ("closed.json", Some(0o644))] {
        mode.map(|mode| folder.file(name, mode));
        let refused = run(&folder.path(name));
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: ") && error.contains("Permission denied"), "{error}");
    }
    assert_eq!(fs::read_to_string(folder.path("closed.json")).unwrap(), "as it was");
}

#[test]
fn what_is_no_file_is_refused_before_anything_is_measured() {
    let folder = Folder::new();
    let pipe = folder.path("pipe.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("/dev/null", folder.path("null.json")).unwrap();
    symlink("/dev/stdout", folder.path("stdout.json")).unwrap();
    fs::create_dir(folder.path("folder.json")).unwrap();
    folder.file("file", 0o644);
    for name in ["pipe.json", "null.json", "stdout.json", "folder.json"] {
        run_in(&[], &folder.path(name)).refused(2, &["--output", name, "not a regular file"]);
    }
    for name in ["missing/a.json", "file/a.json", "a.json/"] {
        run_in(&[], &folder.path(name)).refused(2, &["--output", name, "cannot be written"]);
    }
    run_in(&[], Path::new("/dev/stdout")).refused(2, &["--output", "must end in .json"]);
    assert_eq!(folder.names().len(), 5, "{:?}", folder.names());
}

/// One file that fails keeps no other from being written.
#[test]
fn a_full_disk_under_one_file_does_not_matter_to_another() {
    if !is_root() || !works("unshare", &["-m", "true"]) {
        return skip("a file system of its own needs root and unshare");
    }
    let folder = Folder::new();
    fs::create_dir(folder.path("small")).unwrap();
    let small = folder.path("small");
    let (full, other) = (folder.path("small/a.html"), folder.path("b.json"));
    let mount = r#"mount -t tmpfs -o size=4k small "$1" && shift && exec "$@""#;
    let wrapper = ["unshare", "-m", "sh", "-c", mount, "sh", small.to_str().unwrap()];
    let files = ["-o", full.to_str().unwrap(), "-o", other.to_str().unwrap()];
    let ended = Program::start_in(&wrapper, &[&CELLS[..], &files].concat()).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("a.html") && ended.err.contains("No space left"), "{ended:?}");
    assert!(!results_in(&other).unwrap().records.is_empty());
}

#[test]
fn a_wide_table_is_no_json() {
    let run = |format: &str| Program::run(&[&CELLS[..], &["--wide", "--format", format]].concat());
    for format in ["json", "csv", "markdown", "html"] {
        run(format).refused(2, &["--wide", "--format table"]);
    }
    assert!(run("table").good().contains("ns/KiB send"));
}
