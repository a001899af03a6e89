//! What the integration tests share: a server with clients made by hand, a deadline for everything that could
//! hang, and the rule for what a plain machine cannot test.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod child;
pub mod forgetful;
mod rules;
pub mod slow;

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::placement::ThreadPlacement;
use copycost::internals::protocol::{Ask, Hello, Ticket};
use copycost::internals::server::{
    Handlers, SenderFailure, SenderReport, Server, Service, ServiceGuard, WorkerEvent, WorkerUpdate,
};
use copycost::internals::sys::socket::{SendFlags, Socket};
use copycost::message::{Buffers, Spec, content};
use copycost::recv::{self, ReceivePath};
use copycost::rig::{Rig, RigError, Sample, Work};
use copycost::scenario::Scenario;
use copycost::send::{self, Budget, Release, SendPath, SenderConfig};
use crossbeam::channel::{Receiver, unbounded};

pub use rules::{full, lock_is_bounded, skip, take_turn_with_locked_memory};

/// A figure in KiB of a process, by its id or `self`, such as VmRSS.
pub fn status_kib(process: impl fmt::Display, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let figure = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
    let figure = status.lines().find_map(figure).unwrap();
    figure.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Every send path that this machine has, for messages of `spec` or of the nearest that the path takes.
pub fn available(spec: &Spec) -> Vec<&'static SendPath> {
    take_turn_with_locked_memory();
    let there =
        |path: &&SendPath| path.nearest(spec).map_err(|why| skip(&format!("{}: {why}", path.name))).is_ok();
    paths().into_iter().filter(there).collect()
}

/// Every send path; or the one that `COPYCOST_PATH` names, for whoever is writing it.
pub fn paths() -> Vec<&'static SendPath> {
    match std::env::var("COPYCOST_PATH") {
        Ok(name) => {
            vec![send::by_name(&name).unwrap_or_else(|| panic!("COPYCOST_PATH: there is no path {name}"))]
        }
        Err(_) => send::ALL.iter().collect(),
    }
}

/// The paths that wait for the kernel, and so have something to keep account of.
pub fn waiting() -> Vec<&'static SendPath> {
    let mut paths = available(&spec(8, true));
    paths.retain(|path| path.release == Release::OnCompletion);
    paths
}

/// Those of them that take messages of exactly `spec`.
pub fn taking(spec: &Spec) -> Vec<&'static SendPath> {
    let mut paths = available(spec);
    paths.retain(|path| (path.probe)(spec).is_ok());
    paths
}

/// Of `paths`, where it does not matter which: in the full set all, in the fast one a path of each [`Release`]. Another
/// `turn` takes the next one of each, so that tests with different turns reach all.
pub fn representatives(paths: Vec<&'static SendPath>, turn: usize) -> Vec<&'static SendPath> {
    if full() {
        return paths;
    }
    let mut kinds: Vec<Release> = Vec::new();
    for path in &paths {
        if !kinds.contains(&path.release) {
            kinds.push(path.release);
        }
    }
    let of_kind =
        |kind: &Release| paths.iter().copied().filter(|path| path.release == *kind).collect::<Vec<_>>();
    kinds.iter().map(|kind| rotated(&of_kind(kind), turn)).collect()
}

/// In the full set all of a dimension; in the fast one its value number `turn`, counted round. With the sum of the other
/// dimensions' numbers as its turn, each of its values meets each of theirs.
pub fn one_or_all<T: Copy>(all: &[T], turn: usize) -> Vec<T> {
    if full() { all.to_vec() } else { vec![rotated(all, turn)] }
}

fn rotated<T: Copy>(all: &[T], turn: usize) -> T {
    all[turn % all.len()]
}

/// Does `work` for all `paths` at the same time, each on a thread of its own: for what waits more than it computes. Each
/// locks `locked` bytes at most; where that is bounded, only so many run at a time as have room together.
pub fn at_once(
    paths: Vec<&'static SendPath>,
    locked: usize,
    work: impl Fn(&'static SendPath) + Clone + Send + 'static,
) {
    // Of 8 MiB, which is what a user has by default, a part is for io_uring itself.
    const ROOM: usize = 6 << 20;
    let start = |path: &'static SendPath| {
        let work = work.clone();
        thread::Builder::new().spawn(move || within(path.name, move || work(path))).unwrap()
    };
    let at_a_time = if lock_is_bounded() { ROOM / locked } else { paths.len() };
    for paths in paths.chunks(at_a_time.max(1)) {
        let running: Vec<_> = paths.iter().copied().map(start).collect();
        let results: Vec<_> = running.into_iter().map(thread::JoinHandle::join).collect();
        for result in results {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

/// Runs all `children` at the same time.
pub fn all_pass(children: Vec<child::Wanted>) {
    thread::scope(|scope| {
        let start =
            |child: child::Wanted| thread::Builder::new().spawn_scoped(scope, || child.run()).unwrap();
        let running: Vec<_> = children.into_iter().map(start).collect();
        for child in running {
            child.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// Measures ever longer windows until something is received in one: in a short one a machine under load moves nothing.
pub fn window_with_bytes(rig: &mut Rig) -> Sample {
    let until = Instant::now() + LONG;
    let mut length = Duration::from_millis(30);
    loop {
        let sample = rig.run(Work::Window(length)).unwrap();
        if sample.bytes > 0 {
            return sample;
        }
        assert!(Instant::now() < until, "nothing was received for {LONG:?}");
        length *= 2;
    }
}

/// Every receive path that this machine has, and whether every byte that it receives can be checked.
pub fn receivers() -> Vec<(&'static ReceivePath, bool)> {
    let there = |path: &&ReceivePath| {
        (path.probe)(false).map_err(|why| skip(&format!("--receive {}: {why}", path.name))).is_ok()
    };
    recv::ALL.iter().filter(there).map(|path| (path, (path.probe)(true).is_ok())).collect()
}

/// `spec`, or the nearest that `path` takes.
pub fn fitting(path: &SendPath, spec: Spec) -> Spec {
    path.nearest(&spec).unwrap_or(spec)
}

/// A machine under load is slow, not broken: nothing in these tests takes a tenth of this.
pub const LONG: Duration = Duration::from_secs(60);

/// How many times [`LONG`] is waited for: more than once under valgrind, which slows everything by far more.
pub(crate) fn patience() -> u32 {
    std::env::var("COPYCOST_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// The result of `work`, which must be there before [`LONG`] is over.
pub fn within<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let worker = thread::Builder::new().spawn(move || done.send(work()).is_ok()).unwrap();
    match result.recv_timeout(LONG * patience()) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: still not over after {LONG:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("the worker sends before it ends"),
        },
    }
}

/// Asks until `yes`, for [`LONG`] at most.
pub fn eventually(what: &str, mut yes: impl FnMut() -> bool) {
    let until = Instant::now() + LONG * patience();
    while !yes() {
        assert!(Instant::now() < until, "{what}: not so after {LONG:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The size in even heap fields, in a ring of four or constant.
pub fn spec(size: usize, ring: bool) -> Spec {
    let buffers = if ring { Buffers::Ring(4) } else { Buffers::Constant };
    Spec { buffers, ..Spec::new(size).unwrap() }
}

/// A verified scenario, of the nearest message that the path takes.
pub fn verified(path: &'static SendPath, spec: Spec, clients: usize) -> Scenario {
    Scenario { verify: true, ..Scenario::new(path, fitting(path, spec), clients) }
}

/// Options whose waits end after `stall`.
pub fn impatient(stall: Duration) -> ConnectionOptions {
    ConnectionOptions { stall_timeout: stall, ..ConnectionOptions::for_this_machine() }
}

/// The text of the error of a rig's end; panics on every other outcome.
pub fn end_of<T: std::fmt::Debug>(result: Result<T, RigError>) -> String {
    match result {
        Err(error @ RigError::EndFailed { .. }) => error.to_string(),
        other => panic!("no end failed: {other:?}"),
    }
}

/// A server whose clients are made by hand.
pub struct Host {
    _offered: ServiceGuard,
    pub path: &'static SendPath,
    pub server: Server,
    pub news: Receiver<WorkerUpdate>,
    pub ticket: Ticket,
    pub options: ConnectionOptions,
    pub spec: Spec,
}

impl Host {
    /// Serves `clients` clients on IPv4 loopback, with the nearest message that the path takes; `change` may change
    /// the service before.
    pub fn start(
        path: &'static SendPath,
        spec: Spec,
        clients: usize,
        change: impl FnOnce(&mut Service),
    ) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), path, spec, clients, change)
    }

    /// The same on another address.
    pub fn start_at(
        address: SocketAddr,
        path: &'static SendPath,
        spec: Spec,
        clients: usize,
        change: impl FnOnce(&mut Service),
    ) -> Self {
        let spec = fitting(path, spec);
        let mut service = Service {
            path,
            spec,
            workload: None,
            deck_seed: 0,
            verify: true,
            placements: vec![ThreadPlacement::default(); clients],
            sender_config: SenderConfig::within(Budget { bytes: 1 << 20, notifications: 64, pages: None }),
            counted_threads: 0,
            pollution_table: None,
            idle_steps: 0,
            ticket: Ticket::new().unwrap(),
            options: ConnectionOptions::for_this_machine(),
            drain_timeout: Duration::from_secs(5),
        };
        change(&mut service);
        let (ticket, options) = (service.ticket, service.options);
        let (news_to, news) = unbounded();
        let listener = connection::listen(address, &options).unwrap();
        let server = Server::start(listener, options, Handlers::default()).unwrap();
        let offered = server.registry().register(service, news_to);
        Self { _offered: offered, path, server, news, ticket, options, spec }
    }

    /// A connection that has said nothing yet.
    pub fn stranger(&self) -> Guest {
        self.stranger_at(self.server.address())
    }

    /// The same, by another address of the server.
    pub fn stranger_at(&self, address: SocketAddr) -> Guest {
        // A guest waits long, whatever the server does.
        let options = ConnectionOptions { stall_timeout: LONG, ..self.options };
        Guest { socket: connection::connect(address, &options).unwrap(), spec: self.spec, at: 0 }
    }

    /// A client that has said hello and is let in.
    pub fn guest(&self, client: u32) -> Guest {
        let guest = self.stranger();
        guest.hello(client, self.ticket);
        self.await_ready(client);
        guest
    }

    /// Waits until the server has seated a client.
    pub fn await_ready(&self, client: u32) {
        let news = self.next_news();
        assert!(
            matches!(news.event, WorkerEvent::Ready { .. }) && news.client == client as usize,
            "{news:?}"
        );
    }

    /// The next news.
    pub fn next_news(&self) -> WorkerUpdate {
        self.news.recv_timeout(LONG).expect("no news")
    }

    /// The report of the next run that ends; panics on a failure.
    pub fn report(&self) -> SenderReport {
        match self.next_news() {
            WorkerUpdate { event: WorkerEvent::Report(report), .. } => *report,
            other => panic!("not a report: {other:?}"),
        }
    }

    /// The failure of `client`, which is told next.
    pub fn failure(&self, client: usize) -> SenderFailure {
        match self.next_news() {
            WorkerUpdate { event: WorkerEvent::Failed(failure), client: failed } if failed == client => {
                failure
            }
            other => panic!("not a failure of client {client}: {other:?}"),
        }
    }
}

/// A client made by hand.
pub struct Guest {
    pub socket: Socket,
    spec: Spec,
    /// Bytes of the stream read so far.
    at: usize,
}

impl Guest {
    pub fn hello(&self, client: u32, ticket: Ticket) {
        self.say(&Hello::data(client, ticket).encode());
    }

    pub fn ask(&self, messages: u64, last: bool) {
        self.say(&Ask { messages, last }.encode());
    }

    pub fn say(&self, bytes: &[u8]) {
        assert_eq!(self.socket.send(bytes, SendFlags::NONE).unwrap(), bytes.len());
    }

    /// Reads `messages` messages and compares every byte with what was to be sent, by other means than the
    /// library's verifier.
    pub fn read_messages(&mut self, messages: usize) {
        self.read_bytes(messages * self.spec.size);
    }

    /// Likewise so many bytes, from where the last reading ended.
    pub fn read_bytes(&mut self, mut bytes: usize) {
        let size = self.spec.size;
        let mut buffer = vec![0; size];
        let mut expected = vec![0; size];
        while bytes > 0 {
            let (sequence, position) = (self.at / size, self.at % size);
            let n = bytes.min(size - position);
            assert!(
                self.socket.recv_exact(&mut buffer[..n], Instant::now() + LONG).unwrap(),
                "the stream ended"
            );
            let sequence = if self.spec.buffers == Buffers::Constant { 0 } else { sequence as u64 };
            content(sequence, position, &mut expected[..n]);
            assert!(buffer[..n] == expected[..n], "message {sequence} is wrong after byte {position}");
            self.at += n;
            bytes -= n;
        }
    }

    /// Reads on until the server has ended the connection, by FIN or RST.
    pub fn read_to_end(&self) -> io::Result<usize> {
        let mut buffer = vec![0; 65536];
        let mut read = 0;
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(0) => return Ok(read),
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(error),
                Err(error) => panic!("neither data nor an end: {error}"),
            }
        }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.socket.options().set_linger(Some(Duration::ZERO)).unwrap();
    }
}
