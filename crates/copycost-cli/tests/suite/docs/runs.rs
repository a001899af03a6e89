//! Documented commands, run once each where one machine can run them, on less time and less memory than the pages ask for.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use super::commands::{self, Line, lines};
use crate::common::child::{is_root, works};
use crate::program::{Program, length, sized};

/// What needs another host, a job, a person or minutes.
const ELSEWHERE: [&str; 10] = [
    "10.0.0.",
    "token",
    "mpi",
    "/tmp/old",
    "--self-test",
    "--iperf3",
    "h:1",
    "127.0.0.1:9000",
    "client",
    "<",
];

/// Verbs that end by themselves.
const VERBS: [&str; 7] = ["run", "explain", "predict", "report", "list", "doctor", "watch"];

/// The command line as it is run here; `None` where it cannot be.
fn shortened(mut words: Vec<String>) -> Option<Vec<String>> {
    let line = words.join(" ");
    let verb = words.get(1)?.clone();
    let help = words.iter().any(|word| word == "--help");
    if help || !VERBS.contains(&verb.as_str()) || ELSEWHERE.iter().any(|part| line.contains(part)) {
        return None;
    }
    let measures = ["run", "explain", "predict"].contains(&verb.as_str());
    // Without what decides how long it takes, and with less of it instead.
    for flag in ["--budget", "--seconds", "--precision"] {
        if let Some(place) = words.iter().position(|word| word == flag) {
            words.drain(place..place + 2);
        }
    }
    for word in &mut words {
        match word.as_str() {
            "cold" => "l2".clone_into(word),
            "4242" => *word = std::process::id().to_string(),
            _ => {}
        }
    }
    let time: &[&str] = match verb.as_str() {
        "run" if line.contains("--crossover") => &["--budget", "2s"],
        "run" => &["--seconds", "0.05", "--setups", "2"],
        "explain" => &["--seconds", "0.2"],
        "predict" => &["--budget", "4s"],
        "watch" => &["--seconds", "1"],
        _ => &[],
    };
    words.extend(time.iter().map(ToString::to_string));
    (measures || !time.is_empty() || ["report", "list", "doctor"].contains(&verb.as_str())).then_some(words)
}

#[test]
fn every_documented_command_runs() {
    let lab = is_root() && works("ip", &["netns", "list"]);
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let result = folder.path().join("result.json");
    let cell = ["run", "-p", "onecopy,zerocopy", "-s", "4KiB", "-o", result.to_str().unwrap()];
    Program::run(&[&cell[..], &length("0.1")].concat()).good();
    for name in ["before.json", "after.json", "hot.json", "cold.json", "scale.json"] {
        fs::copy(&result, folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("access.csv"), "512,1\n16KiB,2\n64+448,1\n9000,3\n700,4\n").unwrap();
    let all: BTreeSet<Vec<String>> = super::pages()
        .iter()
        .flat_map(|(_, text)| lines(text))
        .filter_map(|Line { words, .. }| commands::of_copycost(&words))
        .filter_map(shortened)
        .filter(|words| lab || !words.iter().any(|word| word == "lab"))
        .filter(|words| !words.iter().any(|word| word == "target/criterion"))
        .collect();
    assert!(all.len() >= 30, "only {} commands were found", all.len());
    // What `watch` finds by its name and by its port is this process.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    // In the fast set a few of them: other tests run every flag.
    for words in all.iter().step_by(sized(1, 16)) {
        let began = Instant::now();
        let here_instead = |word: &'_ String| match word.as_str() {
            "nginx" => name.to_owned(),
            "8080" => port.clone(),
            word => word.to_owned(),
        };
        let arguments: Vec<String> = words[1..].iter().map(here_instead).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = Program::start_in(&["env", "-C", here], &arguments).finish();
        eprintln!("{:.1} s: {}", began.elapsed().as_secs_f64(), words.join(" "));
        // 3: measured, and the answer is no.
        let refused = ended.code == Some(1) && ended.err.contains("cannot be watched");
        assert!(matches!(ended.code, Some(0 | 3)) || refused, "{words:?}: {ended:?}");
        for file in
            arguments.windows(2).filter(|pair| pair[0] == "-o").map(|pair| Path::new(here).join(pair[1]))
        {
            assert!(fs::metadata(&file).unwrap().len() > 100, "{words:?} wrote no {}", file.display());
        }
    }
}
