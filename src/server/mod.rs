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
use crate::message::Spec;
use crate::protocol::Ticket;
use crate::seat::Seat;
use crate::send::{Budget, Ledger, SendPath};
use crate::sys::socket::Socket;
use crate::sys::usage::Usage;

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
    /// What each sender may have in flight.
    pub budget: Budget,
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
    },
    /// A run is over.
    Report(Report),
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
    pub usage: Usage,
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
    let shared_by_thread = Arc::clone(shared);
    let thread =
        thread::Builder::new().name(format!("serve-{number}")).stack_size(STACK_BYTES).spawn(move || {
            conversation::hold(&shared_by_thread, socket);
            lock(&shared_by_thread.connections).remove(&number);
        });
    if thread.is_err() {
        lock(&shared.connections).remove(&number);
    }
    thread.ok()
}
