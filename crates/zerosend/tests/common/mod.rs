//! What the tests of both binaries share.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "../../../../tests/common/child.rs"]
pub mod child;
#[path = "../../../../tests/common/rules.rs"]
pub mod rules;

use std::fmt::Debug;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zerosend::{Limits, Options, Policy, Sender};

#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use rules::{full, skip};

/// A machine under load is slow, not broken: nothing in these tests takes a tenth of this.
pub const LONG: Duration = Duration::from_secs(60);

/// How many times [`LONG`] is waited for: more than once under valgrind.
pub fn patience() -> u32 {
    std::env::var("COPYCOST_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Asks until `yes`, for [`LONG`] at most.
#[track_caller]
pub fn eventually(what: &str, mut yes: impl FnMut() -> bool) {
    let until = Instant::now() + LONG * patience();
    while !yes() {
        assert!(Instant::now() < until, "{what}: not so after {LONG:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Both ends of a connection over loopback: the one that was accepted, and the one that connected.
pub fn pair() -> (TcpStream, TcpStream) {
    pair_at(Ipv4Addr::LOCALHOST)
}

/// The same at an address of this host, for a test that wants a route of its own.
pub fn pair_at(address: Ipv4Addr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(LONG * patience())).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (server, client)
}

/// A sender by reference, whatever the kernel makes of it.
pub fn always<S: Into<OwnedFd> + From<OwnedFd> + Debug>(socket: S) -> Sender {
    always_within(socket, Limits::default())
}

/// The same with these limits.
pub fn always_within<S: Into<OwnedFd> + From<OwnedFd> + Debug>(socket: S, limits: Limits) -> Sender {
    Sender::with_options(socket, Options { policy: Policy::Always, limits }).unwrap()
}

/// Says, past the harness that captures it, what this kernel lacks. Unlike a skip it never fails: a machine for tests cannot be made
/// to have it.
pub fn lacking(what: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("skipped: {what}\n").as_bytes());
}

/// Bytes in which each place has its own: byte `at` of a stream with this seed.
pub fn byte(seed: u64, at: usize) -> u8 {
    let mut x = seed ^ (at as u64 / 8).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> (8 * (at % 8))) as u8
}

/// The bytes `at` to `at + len` of a stream.
pub fn content(seed: u64, at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|at| byte(seed, at)).collect()
}

/// `work` in another thread.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().spawn(work).unwrap()
}

/// Reads to the end of the stream in another thread.
pub fn reader(mut stream: TcpStream) -> JoinHandle<io::Result<Vec<u8>>> {
    let read = move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map(|_| bytes)
    };
    spawn(read)
}
