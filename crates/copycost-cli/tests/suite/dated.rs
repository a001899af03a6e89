//! A folder of Criterion with figures of different days and commits: one page, and what is wrong with it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::program::Program;

const HEADER: &str =
    "group,function,value,throughput_num,throughput_type,sample_measured_value,unit,iteration_count";

/// A benchmark as Criterion leaves it, written at `at`, in seconds since 1970.
fn benchmark(folder: &Path, group: &str, size: usize, at: u64) {
    let leaf = folder.join(group).join(size.to_string()).join("1/new");
    fs::create_dir_all(&leaf).unwrap();
    let line = |time: usize| format!("{group},{size},1,{size},bytes,{time},ns,1\n");
    let text = format!("{HEADER}\n{}{}", line(2 * size), line(2 * size + 9));
    fs::write(leaf.join("raw.csv"), text).unwrap();
    let file = File::options().write(true).open(leaf.join("raw.csv")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(at)).unwrap();
}

fn report(folder: &Path, format: &str) -> String {
    Program::run(&["report", folder.to_str().unwrap(), "--format", format]).good()
}

/// 2026-11-30 09:14:00 UTC
const MORNING: u64 = 1_796_030_040;
const DAY: u64 = 86_400;

#[test]
fn figures_of_one_run_have_dates_and_no_note() {
    let folder = tempfile::tempdir().unwrap();
    benchmark(folder.path(), "onecopy", 1024, MORNING);
    benchmark(folder.path(), "onecopy", 4096, MORNING + 60);
    for format in ["table", "markdown", "html", "csv"] {
        let text = report(folder.path(), format);
        assert!(text.contains("2026-11-30 09:14") && text.contains("2026-11-30 09:15"), "{format}: {text}");
        assert!(!text.contains("not from one run"), "{format}: {text}");
    }
}

#[test]
fn figures_of_different_days_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    benchmark(folder.path(), "onecopy", 1024, MORNING - 2 * DAY);
    benchmark(folder.path(), "onecopy", 4096, MORNING);
    for format in ["table", "markdown", "html"] {
        let text = report(folder.path(), format).split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "not from one run",
            "between 2026-11-28 09:14 and 2026-11-30 09:14 UTC",
            "more than an hour apart",
        ] {
            assert!(text.contains(part), "{format}, {part}: {text}");
        }
    }
}

#[test]
fn figures_of_different_commits_and_conditions_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    benchmark(folder.path(), "onecopy", 1024, MORNING);
    benchmark(folder.path(), "twocopy", 1024, MORNING + 300);
    let runs = [(MORNING - 60, "aaa", 65_536), (MORNING + 200, "bbb", 1500)].map(|(began, commit, mtu)| {
        format!("{{\"began\":{began},\"commit\":\"{commit}\",\"conditions\":\"lo with MTU {mtu}\"}}\n")
    });
    fs::write(folder.path().join("copycost-runs.jsonl"), runs.concat()).unwrap();
    let text = report(folder.path(), "markdown");
    assert!(text.contains("from several commits (aaa, bbb)"), "{text}");
    assert!(text.contains("lo with MTU 1500; lo with MTU 65536"), "{text}");
    // Figures of one commit alone are of one run.
    benchmark(folder.path(), "twocopy", 1024, MORNING + 100);
    assert!(!report(folder.path(), "markdown").contains("not from one run"));
}
