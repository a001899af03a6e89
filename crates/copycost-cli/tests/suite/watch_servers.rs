//! `copycost watch` on real servers from Debian's packages: every byte that they send, and by which calls.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::child::works;
use crate::common::{LONG, eventually, skip};
use crate::program::Program;
use crate::watch::{WITH_TRACEFS, perf_events, sees_sends};

/// A server, killed with its children on drop.
struct Server(Child);

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A master ends its workers.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    eventually("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Asks for a file so many times on one connection. Returns the bytes of all answers.
fn get(port: u16, file: &str, times: usize) -> u64 {
    let mut stream = BufReader::new(connect(port));
    let mut received = 0;
    for _ in 0..times {
        write!(stream.get_mut(), "GET /{file} HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            received += stream.read_line(&mut line).unwrap() as u64;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        received += length as u64;
    }
    received
}

/// What is seen of the sends of `target` while `load` runs, every one of them, and what `load` returns.
fn seen<T>(target: &[&str], load: impl FnOnce() -> T) -> (Value, T) {
    let flags = ["--seconds", "60", "--full", "--format", "json"];
    let watcher = Program::start_in(&WITH_TRACEFS, &[&["watch"], target, &flags].concat());
    eventually("events are open", || perf_events(watcher.pid()) > 2);
    thread::sleep(Duration::from_millis(300));
    let result = load();
    thread::sleep(Duration::from_millis(300));
    watcher.signal("INT");
    let ended = watcher.finish();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let seen: Value = serde_json::from_str(&ended.out).unwrap();
    (seen["sends"].clone(), result)
}

/// The figure `name` of a call.
fn of_call(sends: &Value, call: &str, name: &str) -> u64 {
    let kinds = sends["kinds"].as_array().unwrap();
    let kind = kinds.iter().find(|kind| kind["call"] == call);
    kind.unwrap_or_else(|| panic!("no {call}: {sends}"))[name].as_u64().unwrap()
}

fn calls(sends: &Value) -> Vec<&str> {
    sends["kinds"].as_array().unwrap().iter().filter_map(|kind| kind["call"].as_str()).collect()
}

fn bytes(sends: &Value) -> u64 {
    sends["kinds"].as_array().unwrap().iter().filter_map(|kind| kind["bytes"].as_u64()).sum()
}

fn has(program: &str, version: &str) -> bool {
    let there = works(program, &[version]);
    if !there {
        skip(&format!("no {program}"));
    }
    there
}

fn nginx(folder: &Path, port: u16, directives: &str) -> Server {
    let at = folder.display();
    let file = folder.join("nginx.conf");
    let text = format!(
        "user root; daemon off; worker_processes 1; pid {at}/pid; error_log {at}/errors; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         {directives} server {{ listen 127.0.0.1:{port}; root {at}; }} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    Server::start("nginx", &["-c", file.to_str().unwrap(), "-e", &format!("{at}/errors")])
}

#[test]
fn nginx_with_and_without_sendfile() {
    const TIMES: u64 = 200;
    if !sees_sends() || !has("nginx", "-v") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), vec![b'x'; 65_536]).unwrap();
    for sendfile in [false, true] {
        let port = free_port();
        let word = if sendfile { "on" } else { "off" };
        let _server = nginx(folder.path(), port, &format!("sendfile {word};"));
        drop(connect(port));
        let target = ["--port", &port.to_string()];
        let (sends, received) = seen(&target, || get(port, "file", TIMES as usize));
        assert_eq!((bytes(&sends), sends["lost"].as_u64()), (received, Some(0)), "sendfile {word}: {sends}");
        assert_eq!(of_call(&sends, "writev", "failed"), 0);
        if sendfile {
            // The header by writev, then the file. A part that found no room is sent again.
            assert_eq!(calls(&sends), ["writev", "sendfile"], "{sends}");
            assert_eq!(of_call(&sends, "writev", "calls"), TIMES, "{sends}");
            assert!(of_call(&sends, "sendfile", "calls") >= TIMES, "{sends}");
            assert_eq!(of_call(&sends, "sendfile", "bytes"), TIMES * 65_536, "{sends}");
        } else {
            // Two buffers of 32 KiB.
            assert_eq!(calls(&sends), ["writev"], "{sends}");
            assert!(of_call(&sends, "writev", "calls") >= 2 * TIMES, "{sends}");
            assert!((32_769..34_000).contains(&of_call(&sends, "writev", "largest")), "{sends}");
        }
    }
}

#[test]
fn redis_sends_values() {
    const TIMES: usize = 300;
    if !sees_sends() || !has("redis-server", "--version") {
        return;
    }
    let port = free_port();
    let text = port.to_string();
    let server = Server::start("redis-server", &["--port", &text, "--bind", "127.0.0.1", "--save", ""]);
    let mut stream = connect(port);
    let value = vec![b'v'; 16_384];
    stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16384\r\n").unwrap();
    stream.write_all(&value).unwrap();
    stream.write_all(b"\r\n").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    let (sends, received) = seen(&[&server.0.id().to_string()], || {
        let mut received = 0;
        for _ in 0..TIMES {
            stream.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").unwrap();
            // $16384, the value, and two line ends.
            let mut answer = vec![0; 8 + 16_384 + 2];
            stream.read_exact(&mut answer).unwrap();
            received += answer.len() as u64;
        }
        received
    });
    assert_eq!((bytes(&sends), sends["connections"].as_u64()), (received, Some(1)), "{sends}");
    assert_eq!(of_call(&sends, calls(&sends)[0], "p50"), 16_394, "{sends}");
}

#[test]
fn iperf3_with_and_without_sendfile() {
    if !sees_sends() || !has("iperf3", "--version") {
        return;
    }
    for (flags, call, largest) in [(&[][..], "write", 131_072), (&["-Z"], "sendfile", 65_536)] {
        let port = free_port().to_string();
        let _server = Server::start("iperf3", &["-s", "-1", "-B", "127.0.0.1", "-p", &port]);
        thread::sleep(Duration::from_millis(500));
        let client =
            Server::start("iperf3", &[&["-c", "127.0.0.1", "-p", &port, "-t", "20"], flags].concat());
        let (sends, ()) = seen(&[&client.0.id().to_string()], || thread::sleep(Duration::from_secs(1)));
        // What it says to its server goes by write, over another connection.
        assert!(of_call(&sends, call, "calls") > 100, "{sends}");
        assert_eq!(of_call(&sends, call, "largest"), largest, "{sends}");
        assert!(calls(&sends).iter().all(|seen| [call, "write"].contains(seen)), "{sends}");
    }
}
