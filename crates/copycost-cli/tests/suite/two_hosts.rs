//! Two hosts on one: `serve`, `client` and `run --over` as real processes over loopback, against each other and
//! against plain sockets that know nothing of this crate.
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::child::works;
use crate::common::{LONG, available, eventually, fitting, receivers, skip, spec, taking};
use crate::program::{
    LASTING, LASTING_SIZES, Program, lacking, length, named, received, received_by, results, results_in,
    runs_of, sample, secret, sized,
};
use copycost::message::content;
use copycost::send::{ORIGINAL, Release, SendPath, USUAL};
use copycost_cli::compare::trial::SETUPS;
use copycost_cli::record::{Conditions, Record, Results};

const TOKEN: &[u8] = b"correct horse battery staple\n";

/// `run --over` with JSON on standard output, and short unless `arguments` say otherwise.
fn over(address: SocketAddr, arguments: &[&str]) -> Program {
    let address = address.to_string();
    let usual = length("0.05");
    let seconds: &[&str] = if arguments.contains(&"--seconds") { &[] } else { &usual };
    Program::start(&[&["run", "--over", &address, "--format", "json"], seconds, arguments].concat())
}

fn has_ipv6() -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        skip("this machine has no IPv6 loopback");
    }
    has
}

/// Every cell of the matrix is there, with the figures of both ends.
fn check(results: &Results, paths: &[&SendPath], cells: &[(usize, usize)], congestion_control: &str) {
    assert_eq!(results.failures, []);
    assert_eq!(results.records.len(), paths.len() * cells.len());
    let host = results.conditions.host.as_deref().expect("the host's conditions");
    assert!(host.command.iter().any(|word| word == "serve"), "{host:?}");
    for end in [&results.conditions, host] {
        assert!(!end.kernel.is_empty() && end.cpus > 0 && end.send_buffer_bytes > 0, "{end:?}");
        assert_eq!(end.congestion_control, congestion_control);
    }
    for path in paths {
        for cell in cells {
            let mut of_cell =
                results.records.iter().filter(|r| r.path == path.name && (r.size.bytes, r.clients) == *cell);
            let record = of_cell.next().expect("a record of each cell");
            assert_eq!(record.transport, "loopback");
            assert!(record.messages > 0 && record.throughput_bytes_per_second > 0.0, "{record:?}");
            assert!(record.syscalls_per_message > 0.0, "only the host can count them: {record:?}");
            assert!(record.cpu.sender_ns_per_kib.is_some(), "{record:?}");
            assert!(record.cpu.receiver_ns_per_kib.is_some(), "{record:?}");
            assert!(record.wire.is_some(), "{record:?}");
            let told = path.release == Release::OnCompletion;
            assert_eq!(record.ledger.is_some(), told);
            if let Some(ledger) = &record.ledger {
                assert!(ledger.sends + ledger.plain > 0 && ledger.completed == ledger.sends, "{ledger:?}");
            }
        }
    }
}

#[test]
fn every_path_is_measured_over_ipv4_and_ipv6_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = secret(folder.path(), "token", TOKEN, 0o600);
    let token = token.to_str().unwrap();
    let mut binds = vec!["127.0.0.1"];
    binds.extend(has_ipv6().then_some("::1"));
    for bind in binds {
        let (server, address) =
            Program::serve(&["--bind", bind, "--token-file", token, "--max-clients", "256"]);
        assert_eq!(address.ip().to_string(), bind);
        let file = folder.path().join(format!("{}.json", address.is_ipv6()));
        let file = file.to_str().unwrap();
        let paths = sample(taking(&spec(64, false)));
        let names = named(&paths);
        let cells =
            ["-p", &names, "-s", "64,64KiB", "-c", "3", "--verify", "--token-file", token, "-o", file];
        let printed = results(&over(address, &[&cells[..], &length("0.05")].concat()).finish().good());
        assert_eq!(Some(&printed), results_in(Path::new(file)).as_ref());
        check(&printed, &paths, &[(64, 3), (65536, 3)], &printed.conditions.congestion_control);
        assert!(["cubic", "reno"].contains(&printed.conditions.congestion_control.as_str()));
        let secret = String::from_utf8_lossy(TOKEN);
        assert!(!fs::read_to_string(file).unwrap().contains(secret.trim()), "a secret in the results");
        // Every set-up is a scenario of its own.
        let setups = |record: &Record| {
            let mut of_cell = printed.comparisons.iter().filter(|c| c.size == record.size);
            of_cell.next().expect("a comparison in each cell").setups
        };
        let scenarios: usize = printed.records.iter().map(setups).sum();
        assert_eq!(sized(printed.records.len() * SETUPS, scenarios), scenarios);
        assert_eq!(server.stop().good(), format!("served {scenarios} scenarios\n"));
    }
}

#[test]
fn every_option_of_run_reaches_the_host() {
    let (server, address) = Program::serve(&[]);
    let options = [
        ["--placement", "split"],
        ["--placement", "free"],
        ["--layout", "huge"],
        ["--layout", "page"],
        ["--fields", "headed"],
        ["--fields", "single"],
        ["--buffers", "ring:4"],
        ["--footprint", "l2"],
    ];
    for chosen in runs_of(&options) {
        let cell = [&["-s", "4KiB", "--verify"][..], &length("0.05"), &chosen.concat()].concat();
        let results = results(&over(address, &cell).finish().good());
        assert_eq!(results.records.len(), USUAL.len());
        let value = serde_json::to_value(&results.records[0]).unwrap();
        chosen.iter().for_each(|[flag, chosen]| assert_eq!(value[&flag[2..]], **chosen));
    }
    let more = ["-s", "4KiB", "-p", "onecopy", "--latency", "--pollution", "512KiB", "--counters", "1"];
    let results = results(&over(address, &more).finish().good());
    let record = &results.records[0];
    assert!(
        record.latency_ns.is_some() && record.pollution.is_some() && record.counters.is_some(),
        "{record:?}"
    );
    server.stop().good();
}

#[test]
fn every_receive_path_takes_what_a_host_sends() {
    let (server, address) = Program::serve(&[]);
    let paths = sample(taking(&spec(65_536, false)));
    let names = named(&paths);
    for (receive, verify) in receivers() {
        let verify: &[&str] = if verify { &["--verify"] } else { &[] };
        let cells = ["-p", &names, "-s", "64KiB", "-c", "2", "--receive", receive.name];
        let results =
            results(&over(address, &[&cells[..], &length("0.05"), verify].concat()).finish().good());
        assert_eq!(results.failures, []);
        assert_eq!(results.records.len(), paths.len());
        results.records.iter().for_each(|record| received_by(record, receive));
    }
    server.stop().good();
}

#[test]
fn a_name_is_tried_at_each_of_its_addresses() {
    // `localhost` is 127.0.0.1, ::1 or both, in either order; the host listens on one of them.
    for bind in ["127.0.0.1", "::1"] {
        let known = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).unwrap();
        if !known.into_iter().any(|address| address.ip().to_string() == bind) {
            lacking(&format!("localhost is not {bind} here"));
            continue;
        }
        let (_server, address) = Program::serve(&["--bind", bind]);
        let name = format!("localhost:{}", address.port());
        Program::run(&["run", "--over", &name, "-p", "onecopy", "-s", "64", "--seconds", "0.02"]).good();
        let (_server, address) = Program::serve(&["--bind", bind, "--raw", "onecopy"]);
        let name = format!("localhost:{}", address.port());
        let (bytes, seconds) = received(&Program::run(&["client", &name, "0.1"]).good());
        assert!(bytes > 0 && seconds >= 0.1, "{bytes} bytes in {seconds} s");
    }
}

#[test]
fn results_are_written_after_each_cell_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.json");
    let (server, address) = Program::serve(&[]);
    let output = ["-o", file.to_str().unwrap()];
    let cells = |sizes: &str| {
        over(address, &[&["-p", "onecopy,zerocopy", "-s", sizes, "--resume"], &output[..]].concat())
    };
    const SIZES: [&str; 8] = ["1KiB", "2KiB", "3KiB", "4KiB", "5KiB", "6KiB", "7KiB", "8KiB"];
    let many = SIZES.join(",");
    let long = ["-p", "onecopy,zerocopy", "-s", &many, "--seconds", "0.2"];
    let long = over(address, &[&long[..], &output].concat());
    eventually("the first cell is on disk", || results_in(&file).is_some());
    drop(long);
    // One or more, as the machine was fast enough to notice.
    let early = results_in(&file).unwrap();
    let written = early.records.len() / 2;
    assert!(
        early.records.len() == 2 * written && written < SIZES.len(),
        "written before the last was measured"
    );
    // What is there is not measured again; what is missing is.
    let (sizes, more) = (SIZES[..=written].join(","), SIZES[..=written].join(",") + ",16KiB");
    let after = results(&cells(&sizes).finish().good());
    assert_eq!(after.records[..2 * written], early.records[..]);
    assert_eq!(after.comparisons[..3 * written], early.comparisons[..]);
    let names: Vec<_> = after.records.iter().map(|r| (r.path.as_str(), r.size.bytes)).collect();
    let all = (1..=written + 1).flat_map(|kib| ["onecopy", "zerocopy"].map(|path| (path, kib * 1024)));
    assert_eq!(names, all.collect::<Vec<_>>());
    assert_eq!(results_in(&file).unwrap(), after);
    // Nothing is left to do: the host is not even needed.
    server.stop().good();
    assert_eq!(results(&cells(&sizes).finish().good()), after);
    // It is gone: nothing is lost of what was measured.
    let ended = cells(&more).finish();
    assert!(ended.code == Some(1) && ended.err.contains("does not answer"), "{ended:?}");
    assert_eq!(results_in(&file).unwrap(), after);
}

#[test]
fn what_is_no_result_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let conditions = Conditions { kernel: "x".into(), ..Conditions::default() };
    let mut newer = serde_json::to_value(Results::new(conditions)).unwrap();
    newer["schema"] = 99.into();
    for (text, says) in [
        ("", "not a result of copycost run"),
        ("{", "not a result of copycost run"),
        ("[1, 2]", "not a result of copycost run"),
        ("\u{0}\u{1}", "not a result of copycost run"),
        (&newer.to_string(), "version 99"),
    ] {
        let file = folder.path().join("results.json");
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        Program::run(&["run", "-s", "8", "--seconds", "0.01", "--resume", "-o", file])
            .refused(2, &["--resume", file, says]);
        assert_eq!(fs::read_to_string(file).unwrap(), text, "it is left as it was");
    }
    fs::write(folder.path().join("r.json"), [0xff, 0xfe]).unwrap();
    let file = folder.path().join("r.json");
    Program::run(&["run", "--resume", "-o", file.to_str().unwrap()]).refused(2, &["cannot be read"]);
    let ended = Program::run(&["run", "--resume"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

/// A plain client of a raw server: receives about `bytes`, then closes.
fn plain_client(address: SocketAddr, bytes: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut received = vec![0; bytes];
    stream.read_exact(&mut received).unwrap();
    received
}

/// What a raw server sends first: its one message again and again.
fn expected(size: usize, bytes: usize) -> Vec<u8> {
    let mut message = vec![0; size];
    content(0, 0, &mut message);
    message.into_iter().cycle().take(bytes).collect()
}

#[test]
fn raw_messages_of_every_path_reach_client_and_plain_sockets() {
    for (number, path) in available(&spec(1000, false)).into_iter().enumerate() {
        // Every path, and otherwise than in the full set one of the sizes with each.
        let sizes = [1000, 65536];
        for size in sized(&sizes[..], &sizes[number % 2..][..1]).iter().copied() {
            let (text, layout) = (size.to_string(), fitting(path, spec(size, false)).layout.to_string());
            let (mut server, address) =
                Program::serve(&["--raw", path.name, "--size", &text, "--layout", &layout]);
            let bytes = plain_client(address, 300_000);
            assert!(bytes == expected(size, bytes.len()), "{} {size}: garbled", path.name);
            let line = server.line().unwrap();
            assert!(line.starts_with("127.0.0.1:") && line.contains(" bytes in "), "{line}");
            assert_eq!(line.contains("zero-copy sends"), path.release == Release::OnCompletion, "{line}");
            assert!(!line.contains("ended by"), "that a client has enough is no error: {line}");
            let client = Program::run(&["client", &address.to_string(), "0.1"]);
            assert!(client.err.is_empty(), "no progress where there is no terminal: {client:?}");
            let text = client.good();
            let (bytes, seconds) = received(&text);
            assert!(bytes > 0 && seconds >= 0.1 && text.contains("B/s, CPU "), "{text}");
            let out = server.stop().good();
            assert!(out.lines().last().unwrap().starts_with("served 2 clients, "), "{out}");
        }
    }
}

#[test]
fn raw_serves_many_at_once_and_no_more_than_allowed() {
    let (mut server, address) =
        Program::serve(&["--raw", "zerocopy", "--max-clients", "4", "--layout", "arena"]);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut streams {
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.read_exact(&mut [0; 100_000]).unwrap();
    }
    let mut fifth = TcpStream::connect(address).unwrap();
    fifth.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(fifth.read(&mut [0; 10]).unwrap(), 0, "shown the door");
    assert!(server.line().unwrap().contains("--max-clients"));
    for stream in &mut streams {
        stream.read_exact(&mut [0; 100_000]).unwrap();
    }
    drop(streams.pop());
    assert!(server.line().unwrap().contains(" bytes in "));
    plain_client(address, 100_000);
    drop(streams);
    assert!(server.stop().good().contains("served 6 clients"));
}

/// A server that is stopped finishes the message at hand of every client, also of one that has said something.
#[test]
fn signals_end_a_raw_server_with_whole_messages() {
    const SIZE: usize = 100_001;
    for (signal, path) in [("INT", "twocopy"), ("TERM", "onecopy"), ("TERM", "zerocopy")] {
        let (server, address) = Program::serve(&["--raw", path, "--size", &SIZE.to_string()]);
        let idle = server.threads();
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let mut stream = TcpStream::connect(address).unwrap();
                if client == 1 {
                    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
                }
                stream.set_read_timeout(Some(LONG)).unwrap();
                stream.read_exact(&mut [0; SIZE]).unwrap();
                // Counted and not kept: a server that the signal does not end would fill all memory.
                thread::Builder::new().spawn(move || {
                    Ok::<_, io::Error>(io::copy(&mut stream, &mut io::sink())? as usize + SIZE)
                })
            })
            .collect();
        let client = Program::start(&["client", &address.to_string(), "60"]);
        eventually("all four are served", || server.threads() >= idle + 4);
        server.signal(signal);
        let out = server.finish().good();
        for client in clients {
            let bytes = client.unwrap().join().unwrap().expect("no reset");
            assert_eq!(bytes % SIZE, 0, "{path}: {bytes} bytes are no whole messages");
        }
        let text = client.finish().good();
        let (bytes, _) = received(&text);
        assert!(text.contains("the server ended the connection") && bytes.is_multiple_of(SIZE), "{text}");
        assert_eq!(out.lines().count(), 5, "a line for each client and the summary: {out}");
        assert!(out.lines().last().unwrap().starts_with("served 4 clients"), "{out}");
    }
}

#[test]
fn signals_end_a_host_and_what_is_measured_there() {
    for signal in ["INT", "TERM"] {
        let (server, address) = Program::serve(&[]);
        let idle = server.threads();
        let cell = ["-p", "onecopy,zerocopy", "-s", "64KiB", "-c", "2"];
        let guest = over(address, &[&cell[..], &LASTING].concat());
        // Two control connections with a thread that watches each, and two clients of both.
        eventually("it is being served", || server.threads() >= idle + 8);
        server.signal(signal);
        assert!(server.finish().good().starts_with("served "));
        let guest = guest.finish();
        assert_eq!(guest.code, Some(1), "{guest:?}");
        assert_eq!(results(&guest.out).failures.len(), 2, "{guest:?}");
    }
    // A second signal does not wait for anybody.
    let (server, address) = Program::serve(&["--raw", "onecopy"]);
    let stuck = TcpStream::connect(address).unwrap();
    stuck.peek(&mut [0]).unwrap();
    eventually("the buffers are full", || {
        thread::sleep(Duration::from_millis(50));
        server.waits("serve-")
    });
    server.signal("INT");
    // Signals closer than half a second are one.
    thread::sleep(Duration::from_secs(2));
    server.signal("INT");
    assert_eq!(server.finish().code, Some(130));
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let (mut server, address) = Program::serve(&["--raw", "zerocopy", "--stall", "0.3"]);
    let _stuck = TcpStream::connect(address).unwrap();
    let line = server.line().unwrap();
    assert!(line.contains("ended by: the peer read nothing before the timeout"), "{line}");
    plain_client(address, 100_000);
    server.stop().good();
}

#[test]
fn a_python_client_receives_from_a_raw_server() {
    if !works("python3", &["-c", "pass"]) {
        return skip("no python3: no client in another language");
    }
    let (server, address) = Program::serve(&["--raw", "onecopy", "--size", "4096"]);
    let script = "import socket, sys\n\
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
        left = 1000000\n\
        while left > 0: left -= len(s.recv(65536))\n\
        print('all')\n";
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let output = Command::new("python3").args(["-c", script, &ip, &port]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all\n", "{output:?}");
    server.stop().good();
}

/// A server of the original's kind: sends what it likes to one client until it goes.
fn plain_server(bytes: usize) -> (SocketAddr, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let sender = thread::Builder::new().spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut sent, chunk) = (0, [7; 7919]);
        while sent < bytes {
            let n = chunk.len().min(bytes - sent);
            if stream.write_all(&chunk[..n]).is_err() {
                break;
            }
            sent += n;
        }
        sent
    });
    (address, sender.unwrap())
}

#[test]
fn client_receives_from_any_server() {
    let (address, sender) = plain_server(usize::MAX);
    let text = Program::run(&["client", &address.to_string(), "0.3"]).good();
    let (bytes, seconds) = received(&text);
    assert!(bytes > 0 && seconds >= 0.3 && !text.contains("ended"), "{text}");
    assert!(sender.join().unwrap() > 0);
    // One that ends early is told apart, and all of its bytes are counted.
    let (address, sender) = plain_server(1_234_567);
    let text = Program::run(&["client", &address.to_string(), "30"]).good();
    assert!(text.starts_with("1,234,567 bytes") && text.contains("the server ended"), "{text}");
    assert_eq!(sender.join().unwrap(), 1_234_567);
    // A signal ends it with what there is.
    let (address, _sender) = plain_server(usize::MAX);
    let client = Program::start(&["client", &address.to_string(), "60"]);
    eventually("signals are caught", || client.catches_signals());
    client.signal("INT");
    let ended = client.finish();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let (_, seconds) = received(&ended.out);
    assert!(seconds < 60.0, "it was interrupted, and not over: {seconds} s");
}

/// Passes connections on to `to`. Whenever `reset` is raised, all of them end with an RST on both sides.
struct Proxy {
    address: SocketAddr,
    streams: std::sync::Arc<std::sync::Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, streams) = (listener.local_addr().unwrap(), std::sync::Arc::default());
        let proxy = Self { address, streams: std::sync::Arc::clone(&streams) };
        thread::Builder::new()
            .spawn(move || {
                while let Ok((near, _)) = listener.accept() {
                    let Ok(far) = TcpStream::connect(to) else { continue };
                    for (from, to) in [(&near, &far), (&far, &near)] {
                        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        thread::Builder::new()
                            .spawn(move || {
                                let _ = std::io::copy(&mut from, &mut to);
                                let _ = to.shutdown(std::net::Shutdown::Write);
                            })
                            .unwrap();
                    }
                    streams.lock().unwrap().extend([near, far]);
                }
            })
            .unwrap();
        proxy
    }

    /// Resets every connection by which more than a megabyte would still come, at once.
    fn reset(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let socket = socket2::Socket::from(stream);
            let _ = socket.set_linger(Some(Duration::ZERO));
            // The copying threads hold handles too: only disconnecting resets at once.
            let _ = copycost::internals::sys::socket::Socket::from(socket).disconnect();
        }
    }
}

/// The near ends of the connections to a port of 127.0.0.1 that are established, in the table of this network
/// namespace.
fn established_to(port: u16) -> BTreeSet<String> {
    let peer = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let established = columns.filter(|columns| columns.get(2..4) == Some(&[peer.as_str(), "01"]));
    established.map(|columns| columns[1].to_owned()).collect()
}

/// Sizes of a run that is to be stopped in a set-up: the first is measured by then, and on a machine under load the moment is missed
/// in some of the others.
const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The same, as an argument.
fn sizes() -> String {
    SIZES.map(|kib| format!("{kib}KiB")).join(",")
}

/// Set-ups of half a second for each path.
const LONG_SETUPS: [&str; 4] = ["--seconds", "1", "--setups", "2"];

/// Stops `guest` in a set-up of that length that has all of its connections, `connections` in number, to `port`: less
/// than 0.4 s ago it had others. What ends the connections then ends the set-up; where all is measured, or between two
/// set-ups, `guest` would have nothing to miss, rightly.
fn stop_in_a_set_up(guest: &Program, connections: usize, port: u16) {
    let mut before = (Instant::now(), established_to(port));
    eventually("it is stopped in a set-up", || {
        let now = (Instant::now(), established_to(port));
        if now.1 == before.1 || now.1.len() < connections {
            before = now;
            return false;
        }
        guest.signal("STOP");
        eventually("it has stopped", || guest.is_stopped());
        let in_set_up = before.0.elapsed() < Duration::from_millis(400) && established_to(port) == now.1;
        if !in_set_up {
            before = now;
            guest.signal("CONT");
        }
        in_set_up
    });
}

#[test]
fn a_reset_in_mid_run_ends_the_cell_and_the_next_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    let (server, address) = Program::serve(&["--stall", "2"]);
    let proxy = Proxy::start(address);
    let over = proxy.address.to_string();
    let run = [
        "run",
        "--over",
        &over,
        "-p",
        "onecopy,zerocopy",
        "-s",
        &sizes(),
        "--stall",
        "2",
        "-c",
        "2",
        "-o",
        file.to_str().unwrap(),
    ];
    let guest = Program::start(&[&run[..], &LONG_SETUPS].concat());
    eventually("the first cell is on disk", || results_in(&file).is_some());
    // Of each path a control connection and two clients.
    stop_in_a_set_up(&guest, 6, proxy.address.port());
    let before = results_in(&file).unwrap();
    proxy.reset();
    guest.signal("CONT");
    let ended = guest.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = results_in(&file).unwrap();
    // Of one cell one path or both, and cells before and after.
    let failed = results.failures.first().expect("what was reset failed").size.bytes;
    assert!(
        results.failures.iter().all(|failure| failure.size.bytes == failed && failed > 1024),
        "{:?}",
        results.failures
    );
    assert_eq!(results.records[..before.records.len()], before.records[..]);
    assert_eq!(results.records.len() + results.failures.len(), 2 * SIZES.len());
    assert_eq!(
        results.records.iter().filter(|record| record.size.bytes != failed).count(),
        2 * (SIZES.len() - 1)
    );
    server.stop().good();
}

#[test]
fn a_host_that_is_killed_and_restarted_is_missed_in_one_cell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    let (server, address) = Program::serve(&[]);
    let cells = |resume: &[&str]| {
        let base = ["run", "-p", "onecopy", "-s", &sizes(), "--over"];
        let more = [&address.to_string(), "-o", file.to_str().unwrap()];
        Program::start(&[&base[..], &more[..], &LONG_SETUPS, resume].concat())
    };
    let guest = cells(&[]);
    eventually("the first cell is on disk", || results_in(&file).is_some());
    // A control connection and a client.
    stop_in_a_set_up(&guest, 2, address.port());
    let before = results_in(&file).unwrap();
    server.signal("KILL");
    server.finish();
    let (server, again) = Program::serve_in(&[], &["--port", &address.port().to_string()]);
    assert_eq!(address, again);
    guest.signal("CONT");
    let code = guest.finish().code;
    let results = results_in(&file).unwrap();
    assert_eq!(
        (results.records.len(), results.failures.len(), code),
        (SIZES.len() - 1, 1, Some(1)),
        "{:?}",
        results.failures
    );
    assert_eq!(results.records[0].size, 1024, "what was measured before is kept");
    assert_eq!(results.records[..before.records.len()], before.records[..]);
    assert!(results.failures[0].size.bytes > 1024, "{:?}", results.failures);
    // Resumed, only what failed is measured.
    cells(&["--resume"]).finish().good();
    let mended = results_in(&file).unwrap();
    assert_eq!((mended.records.len(), mended.failures.len()), (SIZES.len(), 0));
    assert_eq!(mended.records[..results.records.len()], results.records[..]);
    server.stop().good();
}

#[test]
fn a_guest_that_is_killed_leaves_the_host_free_for_the_next() {
    let (mut server, address) = Program::serve(&["--max-clients", "2"]);
    let idle = server.threads();
    for _ in 0..3 {
        let guest =
            over(address, &[&["-p", "zerocopy", "-s", LASTING_SIZES, "-c", "2"][..], &LASTING].concat());
        // A control connection with a thread that watches it, and two clients.
        eventually("it is being served", || server.threads() >= idle + 4);
        drop(guest);
    }
    over(address, &["-p", "zerocopy", "-s", "64KiB,4KiB", "-c", "2", "--verify"]).finish().good();
    eventually("its threads are gone", || server.threads() <= idle);
    assert!(server.is_running());
    server.stop().good();
}

/// The order of a next scenario can overtake the end of the one before; within its bound a guest is never refused.
#[test]
fn every_cell_can_use_all_clients_of_a_host() {
    // Every path of a cell is set up at once, with two clients at most.
    let paths = ORIGINAL.len();
    let (server, address) = Program::serve(&["--max-clients", &(2 * paths).to_string()]);
    let held = (server.files(), server.threads());
    let names = ORIGINAL.join(",");
    let (sizes, many) = sized(("1KiB,2KiB,4KiB,8KiB", 4), ("1KiB,2KiB", 2));
    let cells = ["-p", &names, "-s", sizes, "-c", "1,2"];
    let results = results(&over(address, &[&cells[..], &length("0.01")].concat()).finish().good());
    let records = 2 * many * paths;
    assert_eq!((results.records.len(), results.failures.len()), (records, 0), "{:?}", results.failures);
    eventually("what the guest held is free", || (server.files(), server.threads()) == held);
    server.stop().good();
}

#[test]
fn what_cannot_be_reached_is_one_sentence() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = listener.local_addr().unwrap();
    let port = taken.port().to_string();
    for serve in [&["serve", "--port", &port][..], &["serve", "--port", &port, "--raw", "onecopy"]] {
        Program::run(serve).refused(2, &["--port", &port, "in use"]);
    }
    Program::run(&["serve", "--bind", "192.0.2.1", "--insecure-open"]).refused(2, &["--bind", "192.0.2.1"]);
    drop(listener);
    // Nobody there: once, and not for each path and cell.
    let address = taken.to_string();
    let ended = Program::run(&["run", "--over", &address, "-s", "1KiB,4KiB"]);
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    ended.refused(1, &[&address, "does not answer", "refused"]);
    Program::run(&["client", &address, "1"]).refused(1, &[&address, "refused"]);
    // Somebody else there, who speaks first or says nothing.
    let (address, _sender) = plain_server(usize::MAX);
    Program::run(&["run", "--over", &address.to_string()]).refused(1, &["another protocol"]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closing = listener.local_addr().unwrap();
    thread::Builder::new().spawn(move || listener.incoming().for_each(drop)).unwrap();
    Program::run(&["run", "--over", &closing.to_string()])
        .refused(1, &[&closing.to_string(), "the handshake failed"]);
    for verb in [&["run", "--over"][..], &["client"]] {
        let try_one = |host: &str| Program::run(&[verb, &[host]].concat());
        for text in
            ["", "localhost", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65536", "::1:9000", "[::1]", "h:x", ":1"]
        {
            try_one(text).refused(2, &["HOST:PORT", "1 to 65535"]);
        }
        try_one("no-such-host.invalid:9000").refused(2, &["no-such-host.invalid", "cannot be resolved"]);
    }
    for arguments in [
        &["client", "127.0.0.1:1", "0"][..],
        &["client", "127.0.0.1:1", "x"],
        &["serve", "--raw", "none"],
        &["serve", "--raw", "all"],
        &["serve", "--raw", "onecopy", "--size", "7"],
        &["serve", "--raw", "onecopy", "--size", "2GiB"],
        &["serve", "--size", "8"],
        &["serve", "--max-clients", "0"],
        &["serve", "--bind", "nowhere"],
        &["serve", "--port", "65536"],
        &["run", "--token-file", "x"],
    ] {
        Program::run(arguments).refused(2, &[]);
    }
}
