//! `copycost report` as a user types it: real files in, whole files out, and one sentence for what cannot be read.
use std::fs;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;

/// The command in `folder`, so that sentences name short paths.
fn report(folder: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("copycost"));
    command.current_dir(folder).arg("report").args(arguments).timeout(Duration::from_secs(60)).assert()
}

fn error(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

fn printed(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

/// A result at `size`, as text.
fn results(size: usize, kernel: &str) -> String {
    crate::results::results(kernel, &[size], &[1]).to_string()
}

/// A benchmark as Criterion leaves it.
fn benchmark(folder: &Path, id: [&str; 3], time: f64) {
    let [group, function, value] = id;
    let leaf = folder.join(group).join(function).join(value).join("new");
    fs::create_dir_all(&leaf).unwrap();
    let lines = [time, time * 1.01, time * 0.99]
        .map(|time| format!("{group},{function},{value},1024,bytes,{time},ns,1"));
    let header =
        "group,function,value,throughput_num,throughput_type,sample_measured_value,unit,iteration_count";
    fs::write(leaf.join("raw.csv"), format!("{header}\n{}\n", lines.join("\n"))).unwrap();
}

#[test]
fn one_run_is_written_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.json"), results(1024, "6.18")).unwrap();
    let outputs = ["a.html", "a.md", "a.csv", "a.txt", "a.json"];
    let arguments: Vec<_> =
        ["run.json"].into_iter().chain(outputs.iter().flat_map(|name| ["-o", name])).collect();
    let assert = report(folder.path(), &arguments).success();
    assert_eq!(printed(&assert), "", "files were asked for");
    for (name, says) in
        outputs.iter().zip(["<!DOCTYPE html>", "## copycost", "Impl,Size", "onecopy", "\"schema\": 1"])
    {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains(says) && text.contains("twocopy"), "{name}: {text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6, "no temporary file is left");
    let text = printed(&report(folder.path(), &["run.json"]).success());
    assert!(text.contains("472 MB/s ████████") && !text.contains('\u{1b}'), "{text}");
    assert!(printed(&report(folder.path(), &["run.json", "--format", "json"]).success()).starts_with('{'));
}

#[test]
fn runs_stand_side_by_side_and_parts_of_a_run_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old.json"), results(1024, "6.1")).unwrap();
    fs::write(folder.path().join("new.json"), results(1024, "6.18")).unwrap();
    fs::write(folder.path().join("large.json"), results(65_536, "6.18")).unwrap();
    let text = printed(&report(folder.path(), &["new.json", "new.json"]).success());
    assert!(!text.contains("new\n"), "one file twice is one file: {text}");
    let text = printed(&report(folder.path(), &["old.json", "new.json"]).success());
    assert!(text.starts_with("old\n") && text.contains("\nnew\n"), "{text}");
    let text = printed(&report(folder.path(), &["new.json", "large.json"]).success());
    assert!(text.contains("64 KiB") && !text.contains("large\n"), "{text}");
    let assert = report(folder.path(), &["old.json", "new.json", "-o", "both.json"]).code(2);
    assert!(error(&assert).contains("JSON holds one run"), "{}", error(&assert));
}

#[test]
fn criterions_folder_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let criterion = folder.path().join("criterion");
    benchmark(&criterion, ["onecopy", "1024", "1"], 1024.0);
    benchmark(&criterion, ["twocopy", "1024", "1"], 2048.0);
    benchmark(&criterion, ["onecopy-latency", "1024", "1"], 15_000.0);
    benchmark(&criterion, ["of another bench", "x", "1"], 1.0);
    let text = printed(&report(folder.path(), &["criterion"]).success());
    assert!(text.contains("1.00 GB/s") && text.contains("500 MB/s") && text.contains("15.0"), "{text}");
    fs::write(folder.path().join("run.json"), results(1024, "6.1")).unwrap();
    report(folder.path(), &["criterion", "run.json", "-o", "both.html"]).success();
    let page = fs::read_to_string(folder.path().join("both.html")).unwrap();
    assert!(page.contains("onecopy · criter") && page.contains("onecopy · run"));
}

#[test]
fn what_cannot_be_read_is_one_sentence_and_no_file_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let whole = results(1024, "6.18");
    fs::write(path("truncated.json"), &whole[..whole.len() / 2]).unwrap();
    fs::write(path("newer.json"), whole.replace("\"schema\":1", "\"schema\":2")).unwrap();
    fs::write(path("other.json"), "{\"name\": \"x\"}").unwrap();
    fs::write(path("list.json"), "[1]").unwrap();
    fs::write(path("typed.json"), whole.replace("\"size\":1024", "\"size\":\"large\"")).unwrap();
    fs::write(path("nothing.json"), "").unwrap();
    fs::write(path("binary.json"), [0xff, 0xfe, 0]).unwrap();
    fs::create_dir(path("empty")).unwrap();
    benchmark(&path("foreign"), ["fib", "20", "1"], 1.0);
    benchmark(&path("damaged"), ["onecopy", "1024", "1"], -1.0);
    fs::write(path("kept.html"), "as it was").unwrap();
    for (input, says) in [
        ("truncated.json", "is not a complete JSON file"),
        ("newer.json", "use a newer copycost"),
        ("other.json", "is not a result of copycost run"),
        ("list.json", "is not a result of copycost run"),
        ("typed.json", "is not a result of copycost run"),
        ("nothing.json", "is not a complete JSON file"),
        ("binary.json", "cannot be read"),
        ("missing.json", "cannot be read"),
        ("empty", "holds no Criterion benchmark"),
        ("foreign", "holds no benchmark of copycost, only others such as fib"),
        ("damaged", "is damaged"),
    ] {
        let assert = report(folder.path(), &[input, "-o", "kept.html", "-o", "new.csv"]).code(2);
        let error = error(&assert);
        assert!(error.starts_with(&format!("error: '{input}' ")) && error.contains(says), "{input}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(fs::read_to_string(path("kept.html")).unwrap(), "as it was");
        assert!(!path("new.csv").exists());
    }
    let assert = report(folder.path(), &["empty", "-o", "x.pdf"]).code(2);
    assert!(error(&assert).starts_with("error: "));
    report(folder.path(), &[]).code(2);
}

/// What `copycost explain` and `copycost predict` have written is written in every form, narrow enough for a terminal.
#[test]
fn what_was_explained_and_predicted_is_written_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("e.json"), include_str!("recorded/explained.json")).unwrap();
    fs::write(folder.path().join("p.json"), include_str!("recorded/predicted.json")).unwrap();
    let written = |file: &str, format: &str| {
        let name = format!("{file}.{format}");
        report(folder.path(), &[&format!("{file}.json"), "-o", &name]).success();
        fs::read_to_string(folder.path().join(name)).unwrap()
    };
    for (file, format, says) in [
        (
            "e",
            "md",
            &["| end | class | onecopy | zerocopy | zerocopy - onecopy |", "| sender | pin and unpin |", "+"]
                [..],
        ),
        ("e", "csv", &["path,size,clients", "zerocopy,65536,1", "pin and unpin"]),
        ("p", "md", &["| ns for each |", "What a KiB costs here", "Predicted for 64 + 65472 bytes, hot"]),
        ("p", "csv", &["held_out", "single,heap,hot", "both ends"]),
    ] {
        let text = written(file, format);
        says.iter().for_each(|part| assert!(text.contains(part), "{part} in {file}.{format}: {text}"));
        assert!(!text.contains("original experiment"), "there are no cells to claim anything of: {text}");
    }
    for file in ["e", "p"] {
        let text = written(file, "txt");
        let long = text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{text}");
        let lines: Vec<_> = written(file, "csv").lines().map(|line| line.matches(',').count()).collect();
        assert!(lines.len() > 10, "{lines:?}");
    }
    // Of both in one report the table has cells of neither, and says the first kind.
    report(folder.path(), &["e.json", "p.json", "-o", "both.csv", "-o", "both.md"]).success();
    let both = fs::read_to_string(folder.path().join("both.md")).unwrap();
    assert!(both.contains("| end | class |") && both.contains("| ns for each |"), "{both}");
}
