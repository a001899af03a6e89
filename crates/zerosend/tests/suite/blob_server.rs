//! The example `blob_server` with the clients that people use.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::child::works;
use crate::common::{content, eventually, skip};

/// A process, killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server.
struct Server {
    _running: Running,
    address: String,
    folder: tempfile::TempDir,
}

impl Server {
    /// With `large`, of 5 MB, `small`, of 1,000 bytes, and `empty`.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, size) in [("large", 5_000_000), ("small", 1000), ("empty", 0)] {
            fs::write(folder.path().join(name), content(size as u64, 0, size)).unwrap();
        }
        let example = std::env::current_exe().unwrap().parent().unwrap().join("../examples/blob_server");
        let mut child = Command::new(example).arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { _running: Running(child), address, folder }
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// What a line of its page of stats says.
    fn stat(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /.stats HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }
}

/// curl with these arguments: how it ended, and what it printed.
fn curl(arguments: &[&str]) -> (Option<i32>, Vec<u8>) {
    let output = Command::new("curl").args(["-sS", "--max-time", "50"]).args(arguments).output().unwrap();
    (output.status.code(), output.stdout)
}

fn has_curl() -> bool {
    let there = works("curl", &["--version"]);
    if !there {
        skip("no curl: the blob server is not tried with it");
    }
    there
}

#[test]
fn curl_gets_files_ranges_and_heads() {
    if !has_curl() {
        return;
    }
    let server = Server::start();
    let (large, small) = (server.url("large"), server.url("small"));
    let whole = content(5_000_000, 0, 5_000_000);
    assert!(curl(&[&large]) == (Some(0), whole.clone()));
    for (range, from, to) in [
        ("0-0", 0, 1),
        ("1000000-2999999", 1_000_000, 3_000_000),
        ("4999990-", 4_999_990, 5_000_000),
        ("-777", 4_999_223, 5_000_000),
        ("4000000-9999999", 4_000_000, 5_000_000),
    ] {
        let (code, bytes) = curl(&["-f", "-r", range, &large]);
        assert!(code == Some(0) && bytes == whole[from..to], "{range}: {} bytes", bytes.len());
        let (_, head) = curl(&["-o", "/dev/null", "-D", "-", "-r", range, &large]);
        let head = String::from_utf8(head).unwrap();
        let wanted = format!("content-range: bytes {from}-{}/5000000", to - 1);
        assert!(head.starts_with("HTTP/1.1 206") && head.contains(&wanted), "{range}: {head}");
    }
    let status = |arguments: &[&str]| {
        let (_, printed) =
            curl(&[&["-o", "/dev/null", "-w", "%{http_code} %{size_download}"], arguments].concat());
        String::from_utf8(printed).unwrap()
    };
    assert_eq!(status(&["-r", "5000000-", &large]), "416 0");
    assert_eq!(status(&["-r", "0-1,5-6", &small]), "200 1000", "several ranges are all of it");
    assert_eq!(status(&[&server.url("empty")]), "200 0");
    assert_eq!(status(&[&server.url("none")]), "404 13");
    assert_eq!(status(&["-X", "POST", &small]), "405 18");
    let (_, head) = curl(&["-I", &large]);
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 5000000"), "{head}");
    // Two on one connection.
    let both = ["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", &small, &large];
    assert_eq!(String::from_utf8(curl(&both).1).unwrap(), "1 0 ");
    // Over loopback the first is asked for by reference, and tells that the kernel copies.
    assert!(server.stat("bytes by reference") > 10_000);
    assert!(server.stat("bytes copied") > 10_000_000);
    let (_, stats) = curl(&[&server.url(".stats")]);
    let stats = String::from_utf8(stats).unwrap();
    assert!(stats.contains("route 127.0.0.1 to 127.0.0.1 copied"), "{stats}");
}

#[test]
fn a_client_that_goes_in_the_middle_costs_nothing() {
    if !has_curl() {
        return;
    }
    let server = Server::start();
    let url = server.url("large");
    for number in 1..=5 {
        let mut slow = Command::new("curl");
        slow.args(["-sS", "--limit-rate", "1k", "-o", "/dev/null", &url]);
        let slow = Running(slow.spawn().unwrap());
        eventually("it is served", || server.stat("files") == number);
        drop(slow);
    }
    assert!(curl(&[&url]) == (Some(0), content(5_000_000, 0, 5_000_000)));
    eventually("nothing is waited for", || server.stat("waiting") == 0);
    assert_eq!(server.stat("reset"), 0);
}

#[test]
fn a_request_that_is_none_is_refused_and_one_in_pieces_is_not() {
    let server = Server::start();
    let said = |pieces: &[&[u8]]| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in pieces {
            stream.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(said(&[b"nonsense\r\n\r\n"]).starts_with("HTTP/1.1 400"));
    let long = vec![b'a'; 20 << 10];
    assert!(said(&[b"GET /", &long]).starts_with("HTTP/1.1 400"));
    let pieces: [&[u8]; 4] = [b"GE", b"T /small HT", b"TP/1.1\r\nConnection: close\r", b"\n\r\n"];
    assert!(said(&pieces).starts_with("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n"));
    // Two at once.
    let twice = b"HEAD /small HTTP/1.1\r\n\r\nHEAD /large HTTP/1.1\r\nConnection: close\r\n\r\n";
    let said = said(&[twice]);
    assert!(
        said.contains("content-length: 1000\r\n") && said.contains("content-length: 5000000\r\n"),
        "{said}"
    );
}

#[test]
fn wrk_finds_no_error() {
    if !works("wrk", &["-v"]) && !Path::new("/usr/bin/wrk").exists() {
        return skip("no wrk: the blob server is not tried with it");
    }
    let server = Server::start();
    for name in ["small", "large"] {
        let output = Command::new("wrk").args(["-t1", "-c8", "-d1s", &server.url(name)]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in")?.0.parse().ok());
        assert!(requests.is_some_and(|requests: u64| requests > 10), "{text}");
        assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    }
    assert!(server.folder.path().exists());
    assert_eq!(server.stat("reset"), 0);
}
