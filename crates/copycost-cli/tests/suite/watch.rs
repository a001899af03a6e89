//! `copycost watch` on real processes: one whose receive buffers are hit, one whose are not, one that is not there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::common::child::{is_root, works};
use crate::common::{eventually, skip};
use crate::program::{LASTING, Program, lacking, sample};
use copycost::message::Spec;
use copycost::send::{self, SendPath};
use serde_json::Value;

/// A run of copycost over loopback that receives at this offset, and what is seen of it.
fn watched(offset: &str) -> Option<Value> {
    let cell = ["run", "-p", "onecopy,twocopy", "-s", "64KiB", "--receive-offset", offset];
    let run = Program::start(&[&cell[..], &LASTING].concat());
    thread::sleep(Duration::from_millis(500));
    let pid = run.pid().to_string();
    let seen = Program::run(&["watch", &pid, "--seconds", "1.5", "--format", "json"]);
    if seen.code == Some(1) && seen.err.contains("cannot be watched") {
        skip(&seen.err);
        return None;
    }
    Some(serde_json::from_str(&seen.good()).unwrap())
}

#[test]
fn a_receiver_that_is_hit_is_told_from_one_that_is_not() {
    let (Some(hit), Some(control)) = (watched("16"), watched("64")) else { return };
    let percent = |seen: &Value, name: &str| seen[name].as_f64();
    for seen in [&hit, &control] {
        assert!(seen["samples"].as_u64().unwrap() > 100 && seen["threads"].as_u64().unwrap() >= 3, "{seen}");
    }
    if !cfg!(target_arch = "x86_64") {
        assert_eq!(percent(&hit, "hazardous_percent"), None);
        return;
    }
    // What the sender copies begins anywhere in the kernel's pages: now and then it is hit too.
    let of_receiver = |seen: &Value| -> f64 {
        let places = seen["places"].as_array().unwrap();
        places
            .iter()
            .filter(|place| place["direction"] == "out of the kernel")
            .filter_map(|p| p["percent"].as_f64())
            .sum()
    };
    let [hits, misses] = [&hit, &control].map(of_receiver);
    assert!(percent(&hit, "hazardous_percent").unwrap() >= hits, "{hit}");
    assert!(percent(&control, "copying_percent").unwrap() > 1.0, "{control}");
    assert!(hits > 1.0 && misses < hits / 5.0, "{hits} % and {misses} %: {hit} {control}");
    let place = &hit["places"][0];
    assert_eq!((&place["direction"], &place["distance"]), (&"out of the kernel".into(), &16.into()), "{hit}");
    let frames = place["frames"].as_array().unwrap();
    assert!(frames.iter().any(|frame| frame.as_str().unwrap().starts_with("tcp_recvmsg")), "{hit}");
}

/// Processes that come and go, and one that ends while it is watched.
#[test]
fn children_are_watched_until_the_last_has_ended() {
    let burn = "for i in 1 2 3 4 5 6 7 8; do timeout 0.5 sh -c 'while :; do :; done'; done";
    let mut shell = std::process::Command::new("sh").args(["-c", burn]).spawn().unwrap();
    let seen = Program::run(&["watch", &shell.id().to_string(), "--seconds", "30"]);
    shell.wait().unwrap();
    if seen.code == Some(1) && seen.err.contains("cannot be watched") {
        return skip(&seen.err);
    }
    let text = seen.good();
    assert!(text.contains("The process ended while it was watched"), "{text}");
    assert!(text.contains("No hazardous copying") || text.contains("no registers"), "{text}");
}

/// Runs the rest of the command in a mount namespace of its own, in which the kernel's list of tracepoints is mounted.
pub const WITH_TRACEFS: [&str; 6] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount -t tracefs nodev /sys/kernel/tracing 2>/dev/null; exec \"$@\"",
    "sh",
];

/// Whether sends can be seen; false with the reason printed.
pub fn sees_sends() -> bool {
    if !is_root() || !works("unshare", &["-m", "true"]) {
        skip("mounting tracefs needs root and unshare");
        return false;
    }
    let mut sleeper = std::process::Command::new("sleep").arg("20").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let seen =
        Program::start_in(&WITH_TRACEFS, &["watch", &pid, "--seconds", "0.1", "--format", "json"]).finish();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let seen: Value = serde_json::from_str(&seen.good()).unwrap();
    match seen["sends_missing"].as_str() {
        Some(why) => lacking(why),
        None => return true,
    }
    false
}

/// The perf events that a program has open.
pub fn perf_events(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    links.filter(|link| link.to_string_lossy().contains("perf_event")).count()
}

/// The calls by which a send path sends.
fn calls_of(path: &SendPath) -> &'static [&'static str] {
    match path.name {
        "twocopy" | "flatten" | "more" => &["send"],
        "sendfile" => &["sendfile"],
        "vmsplice" => &["splice"],
        "uring-send" | "uring-sendmsg" => &["io_uring send"],
        "uring-sendzc" | "uring-fixed" => &["io_uring send_zc"],
        _ => &["send", "sendmsg"],
    }
}

/// Every byte and every call of a server is seen, by whatever call it sends, while a client receives so many.
#[test]
fn a_full_recording_sees_every_byte_of_every_call() {
    const BYTES: usize = 64 << 20;
    // What is in the buffers of both ends when the client leaves.
    const BUFFERED: u64 = 8 << 20;
    if !sees_sends() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut known: Vec<&[&str]> = Vec::new();
    for path in sample(send::ALL.iter().collect()) {
        // One path of each call.
        if known.contains(&calls_of(path)) {
            continue;
        }
        known.push(calls_of(path));
        let Ok(spec) = path.nearest(&Spec::new(65_536).unwrap()) else { continue };
        if (path.probe)(&spec).is_err() {
            continue;
        }
        let layout = spec.layout.to_string();
        let (server, address) = Program::serve(&["--raw", path.name, "--size", "64KiB", "--layout", &layout]);
        let trace = folder.path().join("trace.csv");
        let file = trace.to_str().unwrap();
        let pid = server.pid().to_string();
        let flags = ["--seconds", "60", "--full", "--record", file, "--format", "json"];
        let watcher = Program::start_in(&WITH_TRACEFS, &[&["watch", &pid][..], &flags].concat());
        // A ring for each CPU and for the samples of a thread, and the events.
        eventually("events are open", || perf_events(watcher.pid()) > 2);
        thread::sleep(Duration::from_millis(300));
        let mut client = TcpStream::connect(address).unwrap();
        let mut received = 0;
        let mut buffer = vec![0; 1 << 20];
        while received < BYTES {
            received += client.read(&mut buffer).unwrap();
        }
        drop(client);
        thread::sleep(Duration::from_millis(200));
        server.stop();
        let seen: Value = serde_json::from_str(&watcher.finish().good()).unwrap();
        let sends = &seen["sends"];
        let kinds: Vec<&Value> = sends["kinds"].as_array().unwrap().iter().collect();
        let bytes: u64 = kinds.iter().filter_map(|kind| kind["bytes"].as_u64()).sum();
        let calls: Vec<&str> = kinds.iter().filter_map(|kind| kind["call"].as_str()).collect();
        assert!(calls.iter().all(|call| calls_of(path).contains(call)), "{}: {calls:?}", path.name);
        assert_eq!(sends["connections"], 1, "{}: {sends}", path.name);
        if sends["lost"] == 0 {
            let all = received as u64..=received as u64 + BUFFERED;
            assert!(all.contains(&bytes), "{}: {bytes} of {received}: {sends}", path.name);
            let text = std::fs::read_to_string(&trace).unwrap();
            let sizes =
                text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<u64>().unwrap());
            assert_eq!(sizes.sum::<u64>(), bytes, "{}", path.name);
        }
    }
    // The last trace is one that a run can send.
    let trace = folder.path().join("trace.csv");
    let flags = ["-p", "onecopy", "--seconds", "0.1", "--setups", "2", "--format", "json"];
    Program::run(&[&["run", "--trace", trace.to_str().unwrap()][..], &flags].concat()).good();
}

/// Bursts see the rate and the sizes of a server whose threads live for one answer each.
#[test]
fn bursts_show_rates_and_sizes() {
    if !sees_sends() || !works("python3", &["--version"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), vec![7; 65_536]).unwrap();
    let script = "import http.server,sys\nserver=http.server.ThreadingHTTPServer(('127.0.0.1',0),http.server.SimpleHTTPRequestHandler)\n\
                  print(server.server_port,flush=True)\nserver.serve_forever()";
    let mut server = std::process::Command::new("python3")
        .args(["-c", script])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    let flags = ["--seconds", "2", "--format", "json"];
    let watcher = Program::start_in(&WITH_TRACEFS, &[&["watch", "--port", line.trim()][..], &flags].concat());
    eventually("events are open", || perf_events(watcher.pid()) > 2);
    let mut asked = 0;
    let mut watcher = watcher;
    while watcher.is_running() {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"GET /file HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.len() > 65_536);
        asked += 1;
    }
    let seen: Value = serde_json::from_str(&watcher.finish().good()).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let sends = &seen["sends"];
    assert!(asked > 20 && sends["bursts"].as_u64().unwrap() > 5, "{asked}: {sends}");
    let [kind] = sends["kinds"].as_array().unwrap().as_slice() else { panic!("{sends}") };
    // The header and the file of each answer.
    assert_eq!((kind["call"].as_str(), kind["largest"].as_u64()), (Some("send"), Some(65_536)), "{sends}");
    let (low, high) =
        (kind["calls_per_second_low"].as_f64().unwrap(), kind["calls_per_second_high"].as_f64().unwrap());
    assert!(low <= high && kind["p50"].as_u64().unwrap() >= 100, "{sends}");
    let histogram = kind["histogram"].as_array().unwrap();
    assert!(histogram.iter().any(|group| group[0] == 65_536), "{sends}");
}

#[test]
fn what_cannot_be_watched_is_one_sentence() {
    // Beyond the largest number that the kernel gives (/proc/sys/kernel/pid_max).
    Program::run(&["watch", "4194305"]).refused(2, &["there is no process 4194305"]);
    Program::run(&["watch", "0"]).refused(2, &["PID"]);
    Program::run(&["watch"]).refused(2, &["PID"]);
    Program::run(&["watch", "--name", "no such program"]).refused(2, &["no process named 'no such program'"]);
    Program::run(&["watch", "--port", "1"]).refused(2, &["port 1"]);
    Program::run(&["watch", "--cgroup", "no/such"]).refused(2, &["control group 'no/such'"]);
    let nowhere = ["watch", "1", "--record", "/no/such/folder/trace.csv"];
    Program::run(&nowhere).refused(1, &["/no/such/folder/trace.csv", "cannot be written"]);
    if !is_root() || !works("setpriv", &["--version"]) {
        return skip("becoming another user needs root");
    }
    let wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let ended = Program::start_in(&wrapper, &["watch", "1"]).finish();
    ended.refused(1, &["process 1 cannot be watched", "perf_event_paranoid"]);
}
