//! The command as a user types it: real processes, real connections, and one clear sentence for what is wrong.
use copycost::message::Footprint;
use copycost::workload::published;
use copycost_cli::compare::metric::Metric;
use copycost_cli::stats::Judgement;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assert_cmd::Command;
use copycost::recv;
use copycost::send::{self, Release};
use copycost_cli::record::{Record, Results};

use crate::common::{eventually, spec, taking};
use crate::program::{Program, length, named, results_in, runs_of, sample, sized};
use crate::small_cache::SmallCache;

// A machine under load is slow, not broken: every path of every cell is set up eight times in a debug build.
fn copycost(arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("copycost"));
    command.args(arguments).timeout(Duration::from_secs(240)).assert()
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
        (&["run", "--precision", "0%"], ["--precision", "0.01% to 50%"]),
        (&["run", "--precision", "two"], ["--precision", "0.01% to 50%"]),
        (&["run", "--budget", "0.5s"], ["--budget", "1s to 24h"]),
        (&["run", "--budget", "1day"], ["--budget", "1s to 24h"]),
        (&["run", "--budget", "30s", "--seconds", "1"], ["--budget", "--seconds"]),
        (&["run", "--quick", "--budget", "30s"], ["--quick", "--budget"]),
        (&["run", "--reference", "nocopy"], ["--reference", "twocopy, onecopy, zerocopy"]),
        (&["run", "--reference", "all"], ["--reference", "one path"]),
        (&["run", "-p", "twocopy", "--reference", "onecopy"], ["--reference", "not among the paths"]),
        (&["run", "--crossover", "onecopy"], ["--crossover", "PATH:PATH"]),
        (&["run", "--crossover", "onecopy:nocopy"], ["--crossover", "zerocopy"]),
        (&["run", "--crossover", "onecopy:onecopy"], ["--crossover", "itself"]),
        (&["run", "--crossover", "onecopy:twocopy:8MiB"], ["--crossover", "4MiB"]),
        (&["run", "--crossover", "onecopy:twocopy", "--fields", "300,24KiB"], ["--crossover", "--fields"]),
        (&["run", "--fail-on-regression", "5%"], ["--with", "--baseline"]),
        (&["run", "--fail-on-regression", "5x", "--baseline", "x"], ["--fail-on-regression", "0.01% to 50%"]),
        (&["run", "--baseline", missing], ["--baseline", "cannot be read"]),
        (&["run", "--baseline", "Cargo.toml"], ["--baseline", "not a result of copycost run"]),
        (&["run", "--with", missing], ["--with", "cannot serve"]),
        (&["run", "--with", "/bin/true"], ["--with", "ended without a word"]),
        (&["run", "--with", "/bin/echo"], ["--with", "not where it listens"]),
        (&["run", "--with", "x", "--over", "localhost:1"], ["--with", "--over"]),
        (&["run", "--receive", "eat"], ["--receive", "recv, trunc, mapped"]),
        (&["run", "--receive", "trunc", "--verify"], ["trunc", "--verify"]),
        (&["run", "-p", "sendfile"], ["sendfile", "--layout memfd"]),
        (
            &["run", "-p", "sendfile", "--layout", "memfd", "--buffers", "ring:2"],
            ["sendfile", "--buffers constant"],
        ),
        (&["run", "-p", "vmsplice"], ["vmsplice", "--layout page, arena, huge or memfd"]),
        (
            &["run", "-p", "vmsplice", "--layout", "page", "--buffers", "ring:2"],
            ["vmsplice", "--buffers constant"],
        ),
        (&["run", "--over", "localhost:1", "-p", "sendfile"], ["sendfile", "--layout memfd"]),
        (&["run", "--crossover", "vmsplice:onecopy"], ["vmsplice", "--layout page"]),
        (&["serve", "--raw", "sendfile", "--port", "0"], ["sendfile", "--layout memfd"]),
        (&["completions", "cmd"], ["cmd", "bash"]),
        (&["doctor", "--self-test", "--iperf3"], ["--self-test", "--iperf3"]),
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
    assert!(text(&assert.get_output().stderr).contains("not a regular file"));
    assert!(taken.is_dir());
}

#[test]
fn list_shows_every_path() {
    let table = text(&copycost(&["list"]).success().get_output().stdout);
    let json = copycost(&["list", "--format", "json"]).success();
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&json.get_output().stdout).unwrap();
    let sends = send::ALL.iter().map(|path| ("send", path.name));
    let receives = recv::ALL.iter().map(|path| ("receive", path.name));
    let mixes = published::ALL.iter().map(|mix| ("mix", mix.name));
    let paths: Vec<_> = sends.chain(receives).chain(mixes).collect();
    assert_eq!(entries.len(), paths.len());
    for ((family, path), entry) in paths.into_iter().zip(entries) {
        assert!(table.contains(path), "{table}");
        assert_eq!((&entry["family"], &entry["path"]), (&family.into(), &path.into()));
        assert_eq!(entry["available"], entry["reason"].is_null());
        assert_eq!(family == "mix", entry["source"].is_string());
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn run_writes_every_form_and_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, table) = (file("a.json"), file("b.csv"), file("c.txt"));
    let sample = sample(taking(&spec(64, false)));
    let names = named(&sample);
    let arguments = ["run", "-p", &names, "-s", "64,4KiB", "-c", "1,3", "--verify"];
    let outputs = ["-o", &json, "-o", &csv, "-o", &table, "--format", "json"];
    let assert = copycost(&[&arguments[..], &length("0.2"), &outputs[..]].concat()).success();
    let printed: Results = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let saved: Results = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(printed, saved);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let fresh = |record: &Record| record.measured_at.is_some_and(|at| (now - 3600..=now).contains(&at));
    assert!(saved.records.iter().all(fresh), "{saved:?}");
    assert_eq!(saved.failures, []);
    for (size, clients) in [(64, 1), (64, 3), (4096, 1), (4096, 3)] {
        let paths: Vec<_> =
            saved.records.iter().filter(|r| (r.size.bytes, r.clients) == (size, clients)).collect();
        assert_eq!(
            paths.iter().map(|record| record.path.as_str()).collect::<Vec<_>>(),
            sample.iter().map(|path| path.name).collect::<Vec<_>>()
        );
        for record in paths {
            // Beside a load a small message may wait for 40 ms twice, and no whole one arrives.
            assert!(record.throughput_bytes_per_second > 0.0 && record.bytes > 0, "{record:?}");
            assert!(
                (record.bytes as f64 / record.seconds / record.throughput_bytes_per_second - 1.0).abs()
                    < 1e-6
            );
            let told = send::by_name(&record.path).unwrap().release == Release::OnCompletion;
            assert_eq!(record.ledger.is_some(), told);
            assert_eq!(record.ledger.is_some(), record.verdict.is_some());
        }
    }
    assert_eq!(saved.records.len(), 4 * sample.len());
    let lines = fs::read_to_string(csv).unwrap().lines().count();
    assert_eq!(lines, saved.records.len() + 1);
    assert!(fs::read_to_string(table).unwrap().contains("4 KiB"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn all_is_every_path_that_takes_the_message() {
    let run = ["run", "-p", "all", "-s", "4KiB", "-c", "2", "--verify", "--format", "json"];
    let results = results(&copycost(&[&run[..], &length("0.05")].concat()).success());
    assert_eq!(results.failures, []);
    let names: Vec<_> = results.records.iter().map(|record| record.path.as_str()).collect();
    assert_eq!(names, taking(&spec(4096, false)).iter().map(|path| path.name).collect::<Vec<_>>());
}

#[test]
fn the_form_of_the_json_is_as_documented() {
    let output = copycost(&[
        "run",
        "-p",
        "onecopy,zerocopy",
        "-s",
        "1KiB",
        "--seconds",
        "0.05",
        "--setups",
        "2",
        "--format",
        "json",
    ])
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
    let conditions = [
        ["--placement", "split"],
        ["--placement", "free"],
        ["--layout", "huge"],
        ["--layout", "memfd"],
        ["--receive", "mapped"],
        ["--fields", "headed"],
        ["--buffers", "ring:4"],
        ["--footprint", "l2"],
    ];
    for chosen in runs_of(&conditions) {
        let cell = ["run", "-s", "4KiB", "--verify", "--format", "json"];
        let assert = copycost(&[&cell[..], &length("0.02"), &chosen.concat()].concat()).success();
        let results: Results = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        let value = serde_json::to_value(&results.records[0]).unwrap();
        chosen.iter().for_each(|[flag, chosen]| assert_eq!(value[&flag[2..]], **chosen));
    }
}

#[test]
fn a_pipe_gets_a_line_for_each_cell_and_no_bar() {
    let assert = copycost(&["run", "-s", "1KiB,4KiB", "--seconds", "0.05", "--setups", "2"]).success();
    let lines = text(&assert.get_output().stderr);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("4 paths in 2 cells, 2 set-ups each: about "), "{lines:?}");
    for (line, size) in lines[1..].iter().zip(["1 KiB, 1 client: ", "4 KiB, 1 client: "]) {
        assert!(line.starts_with(size) && line.contains("onecopy") && line.contains("2 set-ups"), "{line}");
    }
    let table = text(&assert.get_output().stdout);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

fn results(assert: &assert_cmd::assert::Assert) -> Results {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

#[test]
fn every_path_is_compared_with_the_reference_by_every_metric() {
    let run = ["run", "-s", "4KiB", "--seconds", "0.05", "--reference", "twocopy", "--format", "json"];
    let results = results(&copycost(&run).success());
    let named: Vec<_> = results
        .comparisons
        .iter()
        .map(|c| (c.path.as_str(), c.reference.as_str(), *c.metric.known().unwrap()))
        .collect();
    let of = |path| {
        [Metric::Throughput, Metric::Demand, Metric::SenderDemand].map(|metric| (path, "twocopy", metric))
    };
    assert_eq!(named, [of("onecopy"), of("zerocopy"), of("flatten")].concat());
    for comparison in &results.comparisons {
        assert_eq!(comparison.setups, 8);
        assert!(comparison.word.known().is_some(), "{comparison:?}");
        if let (Some(low), Some(ratio), Some(high)) = (comparison.low, comparison.ratio, comparison.high) {
            assert!(0.0 < low && low <= ratio && ratio <= high, "{comparison:?}");
        }
    }
    assert!(results.verdict.iter().any(|sentence| sentence.contains("Not shown: what zero copy saves")));
}

#[test]
fn a_budget_ends_and_says_what_was_not_reached() {
    let run = ["run", "-p", "onecopy,twocopy", "-s", "1KiB,4KiB", "--budget", "2s", "--precision", "0.01%"];
    let results = results(&copycost(&[&run[..], &["--format", "json"]].concat()).success());
    assert_eq!((results.records.len(), results.comparisons.len()), (4, 6));
    let told = |note: &Option<String>| {
        // On a machine under load a window may be over before anything has come.
        let says = ["0.01", "between", "moved no data"];
        note.as_deref().is_some_and(|note| says.iter().any(|part| note.contains(part)))
    };
    assert!(results.comparisons.iter().all(|c| told(&c.note)), "{:?}", results.comparisons);
}

#[test]
fn a_crossover_is_looked_for_hot_and_cold() {
    let small = SmallCache::new();
    let cell = ["run", "-p", "onecopy", "-s", "1KiB"];
    // With the caches of this machine up to 64 cold set-ups of four times the last-level cache each, which has been 480
    // MiB: single fields are a quarter of the allocations, and what remains takes two to three minutes there.
    let search = ["--crossover", "onecopy:twocopy:2KiB", "--fields", "single", "--format", "json"];
    let run = Program::start_in(&small.wrapper(), &[&cell[..], &length("0.01"), &search].concat());
    let ended = run.finish_within(Duration::from_secs(900));
    for footprint in ["hot", "cold"] {
        for size in ["1 KiB", "2 KiB"] {
            let look = format!("crossover, {size}, 1 client, {footprint}: ");
            assert!(ended.err.contains(&look), "{look} in {ended:?}");
        }
    }
    let results: Results = serde_json::from_str(&ended.good()).unwrap();
    // What is found depends on the machine; what is told has the right form.
    for crossover in &results.crossovers {
        assert_eq!((crossover.path.as_str(), crossover.against.as_str()), ("onecopy", "twocopy"));
        assert_eq!(crossover.most, 2048);
        assert!([Footprint::Hot, Footprint::Cold].map(|known| crossover.footprint.is(known)).contains(&true));
        assert!(crossover.low.is_some() || crossover.high.is_some());
    }
}

#[test]
fn a_build_beside_itself_is_compared_path_by_path() {
    let this = assert_cmd::cargo::cargo_bin!("copycost").to_str().unwrap().to_owned();
    let run = ["run", "-p", "onecopy,twocopy", "-s", "4KiB", "--seconds", "0.05", "--with", &this];
    let results = results(&copycost(&[&run[..], &["--format", "json"]].concat()).success());
    let paths: Vec<_> = results.records.iter().map(|record| record.path.as_str()).collect();
    assert_eq!(paths, ["onecopy", "onecopy@OLD", "twocopy", "twocopy@OLD"]);
    assert!(results.comparisons.iter().all(|c| c.reference == format!("{}@OLD", c.path)));
    assert_eq!(results.comparisons.len(), 6);
}

#[test]
fn a_regression_against_a_baseline_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("before.json");
    let run = ["run", "-p", "onecopy,twocopy", "-s", "1KiB", "--seconds", "0.1", "--format", "json"];
    let mut before = results(&copycost(&run).success());
    // The earlier run is made to have found twocopy a hundred times as fast as it is.
    for comparison in &mut before.comparisons {
        let factor = if comparison.metric.is(Metric::Throughput) { 100.0 } else { 0.01 };
        for value in [&mut comparison.ratio, &mut comparison.low, &mut comparison.high] {
            *value = value.map(|value| value * factor);
        }
    }
    before.conditions.kernel = "1.0".to_owned();
    fs::write(&file, serde_json::to_string(&before).unwrap()).unwrap();
    let against = ["--baseline", file.to_str().unwrap()];
    let fail = ["--fail-on-regression", "50%"];
    let assert = copycost(&[&run[..], &against, &fail].concat()).code(3);
    let now = results(&assert);
    assert!(text(&assert.get_output().stderr).contains("regression: twocopy"));
    assert!(
        now.comparisons.iter().any(|c| c.reference == "twocopy@BASELINE" && c.word.is(Judgement::Slower))
    );
    assert!(now.verdict.iter().any(|sentence| sentence.contains("kernel: 1.0 there")), "{:?}", now.verdict);
    copycost(&[&run[..], &against].concat()).success();
}

#[test]
fn an_interrupted_run_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    // It watches the idle machine for two seconds first, and so has measured nothing when the signal comes.
    let early = Program::start(&["run", "-p", "onecopy", "-s", "1KiB", "--seconds", "3600"]);
    // Until signals are caught, the signal itself ends it.
    eventually("signals are caught", || early.catches_signals());
    early.signal("INT");
    let cells = ["run", "-p", "onecopy", "-s", "1KiB,2KiB,4KiB,8KiB,16KiB,32KiB,64KiB", "--seconds", "0.5"];
    let output = ["-o", file.to_str().unwrap(), "--format", "json"];
    let late = Program::start(&[&cells[..], &output].concat());
    eventually("the first cell is on disk", || results_in(&file).is_some());
    late.signal("INT");
    let late = late.finish();
    assert!(late.err.contains("note: interrupted"), "{late:?}");
    assert_eq!(late.code, Some(130), "{late:?}");
    let results: Results = serde_json::from_str(&late.out).unwrap();
    assert_eq!(results.records[0].size, 1024);
    assert!(results.records.len() < 7, "{} records", results.records.len());
    let early = early.finish();
    assert_eq!(early.code, Some(130), "{early:?}");
    assert!(early.out.is_empty(), "{early:?}");
}

/// What was finished is printed, and the sentence names the file.
#[test]
fn a_file_that_can_no_longer_be_written_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let cells = ["run", "-p", "onecopy", "-s", "1KiB,2KiB,4KiB,8KiB,16KiB,32KiB", "--seconds", "0.2"];
    let run = Program::start(&[&cells[..], &["-o", file.to_str().unwrap(), "--format", "json"]].concat());
    eventually("the first cell is on disk", || results_in(&file).is_some());
    fs::remove_dir_all(folder.path()).unwrap();
    let ended = run.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("a.json' was not written: "), "{ended:?}");
    let printed: Results = serde_json::from_str(&ended.out).unwrap();
    assert!((1..=6).contains(&printed.records.len()), "{} records", printed.records.len());
}

/// Cells come and go and leave no file open: the last ones have as many as the first, at most.
#[test]
fn the_last_cells_have_no_more_files_open_than_the_first() {
    let count = sized(16, 8);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let sizes: Vec<_> = (1..=count).map(|kib| format!("{kib}KiB")).collect();
    let cells = ["run", "-p", "onecopy,zerocopy", "-s", &sizes.join(",")];
    let output = ["-o", file.to_str().unwrap()];
    let mut run = Program::start(&[&cells[..], &length("0.05"), &output].concat());
    let (mut first, mut last) = (0, 0);
    while run.is_running() {
        let finished = results_in(&file).map_or(0, |results| results.records.len() / 2);
        let most = (0..20).map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            run.files()
        });
        let most = most.max().unwrap();
        if finished < count / 2 {
            first = first.max(most);
        } else if finished >= count - 2 {
            last = last.max(most);
        }
    }
    run.finish().good();
    assert!(0 < last && last <= first, "{last} open files, {first} at first");
}

#[test]
fn a_cell_to_which_a_path_comes_is_measured_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let file = file.to_str().unwrap();
    let run = |paths: &str| {
        let run = [
            "run",
            "-p",
            paths,
            "-s",
            "1KiB",
            "--seconds",
            "0.02",
            "--resume",
            "-o",
            file,
            "--format",
            "json",
        ];
        results(&copycost(&run).success())
    };
    let alone = run("onecopy");
    let both = run("onecopy,twocopy");
    assert_ne!(both.records[0], alone.records[0], "ratios are of paths that took turns");
    assert_eq!((both.records.len(), both.comparisons.len()), (2, 3));
    assert_eq!(run("onecopy,twocopy"), both);
}

#[test]
fn completions_and_manual_come_from_the_same_definitions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&copycost(&["completions", shell]).success().get_output().stdout);
        assert!(script.contains("fail-on-regression"), "{shell}");
    }
    assert!(text(&copycost(&["man"]).success().get_output().stdout).contains("copycost"));
    let folder = tempfile::tempdir().unwrap();
    copycost(&["man", "--folder", folder.path().to_str().unwrap()]).success();
    assert!(fs::read_to_string(folder.path().join("copycost-run.1")).unwrap().contains("crossover"));
}

/// Each field of a byte on a page of its own, as many messages as a cache does not hold: hundreds of gibibytes a client.
#[test]
fn what_would_take_all_memory_is_refused() {
    let pages = ["-p", "onecopy", "-s", "8", "-c", "1024", "--layout", "page", "--footprint", "cold"];
    let refused = copycost(&[&["run"][..], &pages].concat()).failure().code(1);
    let error = text(&refused.get_output().stderr);
    let out = text(&refused.get_output().stdout);
    assert!((error + &out).contains("--footprint"), "{out}");
}
