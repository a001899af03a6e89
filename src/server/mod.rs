//! The server of a measurement: an acceptor, and one thread for each client that sends what it is asked for.
//!
//! It stops and joins when dropped, also after an error or a panic at the other end.

mod conversation;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::Sender;

use crate::connection::{self, Options};
use crate::cost::meter::Spent;
use crate::cost::pollution::Walk;
use crate::cost::wire::Wire;
use crate::message::Spec;
use crate::protocol::Ticket;
use crate::seat::Seat;
use crate::send::{Ledger, SendPath, Terms};
use crate::sys::socket::Socket;

/// A thread of a measurement calls only the kernel and keeps its buffers on the heap; 1,024 clients on three
/// paths are 6,000 threads.
pub(crate) const STACK_BYTES: usize = 256 << 10;

/// What a server sends, and to whom.
#[derive(Debug)]
pub struct Service {
    /// How.
    pub path: &'static SendPath,
    /// What.
    pub spec: Spec,
    /// Rewrite every byte of a ring's messages, for a receiver that checks every byte.
    pub verify: bool,
    /// One seat for each client; their number is how many are let in.
    pub seats: Vec<Seat>,
    /// What each sender is opened with.
    pub terms: Terms,
    /// How many of the threads have their counters read: the first ones.
    pub counted_threads: usize,
    /// A table of so many bytes that each thread chases pointers through between messages.
    pub pollution_table: Option<usize>,
    /// What lets a client in.
    pub ticket: Ticket,
    /// What its connections are made with.
    pub options: Options,
    /// How long a new connection may take to say hello.
    pub hello_timeout: Duration,
    /// How long the kernel may take to release everything at the end of a run.
    pub drain_timeout: Duration,
}

/// News of one client's thread.
#[derive(Debug)]
pub struct News {
    /// The client's number.
    pub client: usize,
    /// What happened.
    pub told: Told,
}

/// What happened to one client's thread.
#[derive(Debug)]
pub enum Told {
    /// It is seated and waits for an ask.
    Ready {
        /// For the layout `huge`: the share of the messages' memory, 0 to 1, that lies on huge pages. Told by
        /// client 0 alone, because looking is slow and all clients ask the same kernel.
        huge_share: Option<f64>,
        /// The pointer chase before anything was sent, if one was asked for.
        idle_walk: Walk,
    },
    /// A run is over.
    Report(Box<Report>),
    /// It ended with an error.
    Failed(Failure),
}

/// What one run cost the sender.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Messages sent.
    pub messages: u64,
    /// System calls made to send them and to learn of their release.
    pub calls: u64,
    /// From the first ask to the end of the drain.
    pub spent: Spent,
    /// The shape on the wire; `None` where TCP_INFO could not be read.
    pub wire: Option<Wire>,
    /// The pointer chase between messages, if one was asked for.
    pub walk: Walk,
    /// What the kernel told.
    pub ledger: Ledger,
    /// How long the drain at the end took.
    pub drain: Duration,
}

/// Why a sender ended.
#[derive(Debug)]
pub struct Failure {
    /// The error.
    pub error: io::Error,
    /// What the kernel had told by then.
    pub ledger: Ledger,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the acceptor, the clients' threads and the owner share.
#[derive(Debug)]
struct Shared {
    listener: Socket,
    service: Service,
    news: Sender<News>,
    stopping: AtomicBool,
    /// A handle of each open connection, to wake its thread with.
    connections: Mutex<HashMap<u64, Socket>>,
    /// Clients that were let in; each number once.
    admitted: Mutex<Vec<bool>>,
}

impl Server {
    /// Accepts on `listener` and serves each client that shows the service's ticket. News go to `news`.
    pub fn start(listener: Socket, service: Service, news: Sender<News>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let admitted = Mutex::new(vec![false; service.seats.len()]);
        let shared = Arc::new(Shared {
            listener,
            service,
            news,
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            admitted,
        });
        let acceptor = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("accept".into())
            .stack_size(STACK_BYTES)
            .spawn(move || accept_until_stopped(&acceptor))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.listener.shutdown();
        self.shared.wake_all();
        if let Some(acceptor) = self.acceptor.take() {
            // The acceptor joins its threads; if it panicked they still end by the shutdown.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn wake_all(&self) {
        lock(&self.connections).values().for_each(Socket::shutdown);
    }

    /// True once for each client number that has a seat.
    fn admit(&self, client: usize) -> bool {
        let mut admitted = lock(&self.admitted);
        admitted.get_mut(client).is_some_and(|seen| !std::mem::replace(seen, true))
    }

    fn tell(&self, client: usize, told: Told) {
        // Nobody listens any more when the owner is being dropped.
        let _ = self.news.send(News { client, told });
    }
}

/// A panic while the lock was held does not make the plain data in it unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pause after an `accept` that failed for want of something (files, memory) that others may give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

fn accept_until_stopped(shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut number = 0;
    while !shared.stopping.load(Ordering::SeqCst) {
        match shared.listener.accept() {
            Ok((socket, _)) => {
                number += 1;
                threads.retain(|thread| !thread.is_finished());
                threads.extend(start_conversation(shared, socket, number));
            }
            Err(_) if shared.stopping.load(Ordering::SeqCst) => break,
            Err(_) => thread::sleep(ACCEPT_PAUSE),
        }
    }
    shared.wake_all();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Starts a connection's thread; `None` when there is no more to be had, and the connection ends.
fn start_conversation(shared: &Arc<Shared>, socket: Socket, number: u64) -> Option<JoinHandle<()>> {
    connection::accepted(&socket, &shared.service.options).ok()?;
    lock(&shared.connections).insert(number, socket.try_clone().ok()?);
    let open = Open { shared: Arc::clone(shared), number };
    let thread = thread::Builder::new().name(format!("serve-{number}")).stack_size(STACK_BYTES);
    thread.spawn(move || conversation::hold(&open.shared, socket)).ok()
}

/// Forgets a connection's handle when its thread ends, by a panic too, or never began: the peer would not learn
/// of the end while a handle is open.
struct Open {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.shared.connections).remove(&self.number);
    }
}
