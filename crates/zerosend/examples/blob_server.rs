//! Serves the files of a folder from memory over HTTP/1.1, by reference: `blob_server FOLDER [ADDRESS]`.
//!
//! The idea to take along: each file is an `Arc<[u8]>` that any number of responses refer to at the same time. A response is a header that
//! is copied and a range of the file that is not; both are one payload. Nobody counts references: the sender keeps the
//! `Arc` until the kernel is done, also when the client goes away in the middle.
//!
//! Whether it is really sent by reference is the policy's to decide: between containers of a machine the kernel copies anyhow, and
//! after one try it is copied at once. It answers GET and HEAD, single ranges, and `/.stats`. It prints where it listens.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use zerosend::tokio::Stream;
use zerosend::{Payload, ProcessStats, RouteStats, Segment, process_stats, routes};

/// The longest request that is read.
const LONGEST: usize = 16 << 10;
/// How long a client may take for a request, and between two.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many clients are served at once; others wait to be accepted.
const CLIENTS: usize = 1024;

/// What is served, and what was.
struct Site {
    files: HashMap<String, Arc<[u8]>>,
    requests: AtomicU64,
    files_sent: AtomicU64,
}

/// What a client asks for.
struct Request {
    method: String,
    target: String,
    range: Option<String>,
    keep_alive: bool,
    /// How many bytes of the buffer it was.
    len: usize,
}

fn load(folder: &Path) -> io::Result<HashMap<String, Arc<[u8]>>> {
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
            files.insert(name, std::fs::read(entry.path())?.into());
        }
    }
    Ok(files)
}

/// The request at the beginning of `bytes`; `None` where its end has not come yet.
fn parse(bytes: &[u8]) -> Result<Option<Request>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(bytes)? else { return Ok(None) };
    let header = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let connection = header("connection").unwrap_or_default().to_ascii_lowercase();
    Ok(Some(Request {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        range: header("range").map(str::to_owned),
        keep_alive: if request.version == Some(1) {
            connection != "close"
        } else {
            connection == "keep-alive"
        },
        len,
    }))
}

/// The part of `len` bytes that a Range header asks for (RFC 9110, 14.2). `None`: all, as for what is not understood and for
/// several ranges. `Err`: none of it is there.
fn range_of(header: &str, len: usize) -> Option<Result<(usize, usize), ()>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    if last.contains(',') {
        return None;
    }
    let (first, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (len.saturating_sub(suffix.parse().ok()?), len),
        (first, "") => (first.parse().ok()?, len),
        (first, last) => (first.parse().ok()?, last.parse::<usize>().ok()?.saturating_add(1).min(len)),
    };
    Some(if first < end { Ok((first, end)) } else { Err(()) })
}

impl Site {
    /// The response to a request.
    fn answer(&self, request: &Request) -> Payload {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return simple("405 Method Not Allowed", "allow: GET, HEAD\r\n", "only GET and HEAD\n", request);
        }
        if request.target == "/.stats" {
            return simple("200 OK", "", &self.stats(), request);
        }
        let Some(file) = self.files.get(request.target.trim_start_matches('/')) else {
            return simple("404 Not Found", "", "no such file\n", request);
        };
        let len = file.len();
        let (status, first, end) = match request.range.as_deref().and_then(|range| range_of(range, len)) {
            None => ("200 OK", 0, len),
            Some(Ok((first, end))) => ("206 Partial Content", first, end),
            Some(Err(())) => {
                let size = format!("content-range: bytes */{len}\r\n");
                return simple("416 Range Not Satisfiable", &size, "", request);
            }
        };
        let mut header = head(status, end - first, request);
        header += "accept-ranges: bytes\r\ncontent-type: application/octet-stream\r\n";
        if status.starts_with("206") {
            let _ = write!(header, "content-range: bytes {first}-{}/{len}\r\n", end - 1);
        }
        header += "\r\n";
        let payload = Payload::new().copied(header);
        if request.method == "HEAD" {
            return payload;
        }
        self.files_sent.fetch_add(1, Ordering::Relaxed);
        payload.by_reference(Segment::from(Arc::clone(file)).range(first..end))
    }

    fn stats(&self) -> String {
        let ProcessStats { connections, total, dropped, .. } = process_stats();
        let mut text = String::new();
        for (name, count) in [
            ("requests", self.requests.load(Ordering::Relaxed)),
            ("files", self.files_sent.load(Ordering::Relaxed)),
            ("connections", connections),
            ("bytes by reference", total.bytes_by_reference),
            ("bytes copied", total.bytes_copied),
            ("bytes in flight", total.in_flight_bytes as u64),
            ("refused for want of memory", total.enobufs),
            ("dropped senders", dropped.taken_over),
            ("of them closed", dropped.closed),
            ("broken", dropped.broken),
            ("reset", dropped.reset),
            ("waiting", dropped.waiting as u64),
        ] {
            let _ = writeln!(text, "{name} {count}");
        }
        for route in routes() {
            let RouteStats { local, peer, answer, .. } = route;
            let _ = writeln!(text, "route {local} to {peer} {answer}");
        }
        text
    }
}

fn head(status: &str, length: usize, request: &Request) -> String {
    let connection = if request.keep_alive { "keep-alive" } else { "close" };
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: {connection}\r\n")
}

fn simple(status: &str, headers: &str, body: &str, request: &Request) -> Payload {
    let body_of_get = if request.method == "HEAD" { "" } else { body };
    let head = head(status, body.len(), request);
    Payload::new().copied(format!("{head}{headers}content-type: text/plain\r\n\r\n{body_of_get}"))
}

/// One client, request after request.
async fn serve(site: &Site, stream: TcpStream) -> io::Result<()> {
    let mut stream = Stream::new(stream)?;
    let (mut buffer, mut keep_alive) = (Vec::new(), true);
    while keep_alive {
        let request = loop {
            match parse(&buffer) {
                Ok(Some(request)) => break request,
                Ok(None) if buffer.len() < LONGEST => {}
                _ => {
                    let bad = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.send(Payload::new().copied(bad)).await?;
                    return Ok(());
                }
            }
            let read = timeout(PATIENCE, stream.read_buf(&mut buffer)).await.map_err(io::Error::other)?;
            if read? == 0 {
                return Ok(());
            }
        };
        buffer.drain(..request.len);
        keep_alive = request.keep_alive;
        // Its receipt is dropped: the file is shared, and nobody waits to have it back.
        stream.send(site.answer(&request)).await?;
    }
    // The stream is dropped: what was sent arrives all the same.
    Ok(())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "blob_server FOLDER [ADDRESS]");
    let folder = arguments.next().ok_or_else(usage)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let files = load(Path::new(&folder))?;
    let site = Arc::new(Site { files, requests: AtomicU64::new(0), files_sent: AtomicU64::new(0) });
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let permit = Arc::clone(&clients).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            let _ = serve(&site, stream).await;
            drop(permit);
        });
    }
}
