//! The server of a measurement: an acceptor, and one thread for each connection.
//!
//! The hello of a connection decides who serves it: a client with a ticket goes to the service of this
//! ticket, a control connection to the control handler, if there is one. Dropping the server stops and joins
//! all threads, also after an error or a panic at the other end.

mod call_sampler;
mod conversation;
mod service;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use crate::connection::{self, ConnectionOptions};
use crate::placement::STACK_BYTES;
use crate::protocol::{BadHello, Hello, Purpose, Ticket};
use crate::sys::socket::{SendFlags, Socket, WakeReason};

use service::ActiveService;
pub use service::{SenderFailure, SenderReport, Service, WorkerEvent, WorkerUpdate};

/// The most connections that have not identified themselves. With one more, the oldest one of the network
/// with the most of them is closed, so that many bad connections crowd out only each other.
const MOST_PENDING: usize = 256;

/// The same if none of them is silent, because then the server's threads are late and not the peers.
const MOST_UNHEARD: usize = 4 * MOST_PENDING;

/// Handles connections that are not clients with tickets.
pub trait ConnectionHandler: Send + Sync + fmt::Debug {
    /// Handles one connection on its own thread, until the peer closes it or the server stops.
    fn handle(&self, incoming: Incoming);
}

/// A connection for a [`ConnectionHandler`].
#[derive(Debug)]
pub struct Incoming {
    /// The connection. It is shut down when the server stops.
    pub socket: Socket,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The services of this server.
    pub registry: ServiceRegistry,
    /// Marks the connection as identified.
    pub pending: Pending,
    /// When the peer must have identified itself.
    pub deadline: Instant,
}

/// The handlers of connections without a ticket.
#[derive(Debug, Clone, Default)]
pub struct Handlers {
    /// For connections whose hello says control.
    pub control: Option<Arc<dyn ConnectionHandler>>,
    /// For every connection, without a hello. The server then serves nothing else.
    pub raw: Option<Arc<dyn ConnectionHandler>>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// The services of a server, by ticket.
#[derive(Debug, Clone)]
pub struct ServiceRegistry(Arc<Shared>);

/// A registered service. Dropping the guard removes the service and closes its connections.
#[derive(Debug)]
pub struct ServiceGuard {
    shared: Arc<Shared>,
    ticket: Ticket,
}

/// The state that the acceptor, the connections' threads and the owner share.
#[derive(Debug)]
struct Shared {
    listener: Socket,
    options: ConnectionOptions,
    handlers: Handlers,
    stopping: AtomicBool,
    /// The open connections, in order of arrival.
    connections: Mutex<BTreeMap<u64, OpenConnection>>,
    services: Mutex<HashMap<Ticket, Arc<ActiveService>>>,
    /// The number of services registered so far.
    registrations: AtomicU64,
}

/// An open connection, as other threads see it.
#[derive(Debug)]
struct OpenConnection {
    /// A handle to wake its thread.
    socket: Socket,
    /// The peer's address.
    peer: IpAddr,
    /// It has not identified itself yet.
    pending: bool,
    /// The ticket that it presented.
    ticket: Option<Ticket>,
}

impl Server {
    /// Accepts connections on `listener`, which have `options`, and passes them to `handlers`.
    pub fn start(listener: Socket, options: ConnectionOptions, handlers: Handlers) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            listener,
            options,
            handlers,
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            services: Mutex::default(),
            registrations: AtomicU64::new(0),
        });
        let acceptor = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("accept".into())
            .stack_size(STACK_BYTES)
            .spawn(move || accept_until_stopped(&acceptor))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The services of this server.
    pub fn registry(&self) -> ServiceRegistry {
        ServiceRegistry(Arc::clone(&self.shared))
    }
}

impl ServiceRegistry {
    /// Registers `service` for clients with its ticket. Reports of its threads go to `updates`.
    pub fn register(&self, service: Service, updates: Sender<WorkerUpdate>) -> ServiceGuard {
        let (shared, ticket) = (Arc::clone(&self.0), service.ticket);
        shared.registrations.fetch_add(1, Ordering::Relaxed);
        lock(&shared.services).insert(ticket, Arc::new(ActiveService::new(service, updates)));
        ServiceGuard { shared, ticket }
    }

    /// The number of services registered so far.
    pub fn registrations(&self) -> u64 {
        self.0.registrations.load(Ordering::Relaxed)
    }

    /// Makes every sender end after its current message, and waits for that for at most `patience`.
    pub fn finish(&self, patience: Duration) {
        let by = Instant::now() + patience;
        let services: Vec<_> = lock(&self.0.services).values().cloned().collect();
        services.iter().for_each(|service| service.finish());
        while services.iter().any(|service| service.is_sending()) && Instant::now() < by {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ServiceGuard {
    fn drop(&mut self) {
        lock(&self.shared.services).remove(&self.ticket);
        let connections = lock(&self.shared.connections);
        connections
            .values()
            .filter(|open| open.ticket == Some(self.ticket))
            .for_each(|open| open.socket.shutdown());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.listener.shutdown();
        self.shared.wake_all();
        if let Some(acceptor) = self.acceptor.take() {
            // The acceptor joins its threads. If it panicked, the shutdown still ends them.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn wake_all(&self) {
        lock(&self.connections).values().for_each(|open| open.socket.shutdown());
    }

    /// Adds a new connection, and closes a pending one if there are too many.
    fn add(&self, number: u64, socket: Socket, peer: IpAddr) {
        let mut connections = lock(&self.connections);
        connections.insert(number, OpenConnection { socket, peer, pending: true, ticket: None });
        if connections.values().filter(|open| open.pending).count() > MOST_PENDING
            && let Some(excess_connection) = excess_connection(&connections)
            && let Some(open) = connections.get_mut(&excess_connection)
        {
            open.pending = false;
            open.socket.shutdown();
        }
    }

    fn service_for(&self, ticket: Ticket) -> Option<Arc<ActiveService>> {
        lock(&self.services).get(&ticket).cloned()
    }
}

/// The pending connection to close if there are too many: in the network with the most of them, the oldest
/// one that has sent nothing. A connection whose data the server has not read yet stays, unless that is true
/// of all of them.
fn excess_connection(connections: &BTreeMap<u64, OpenConnection>) -> Option<u64> {
    let pending = || connections.iter().filter(|(_, open)| open.pending);
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    pending().for_each(|(_, open)| *counts.entry(network(open.peer)).or_default() += 1);
    let (largest, _) = counts.into_iter().max_by_key(|(_, size)| *size)?;
    // In ascending order, so the first one is the oldest.
    let mut in_largest = pending().filter(|(_, open)| network(open.peer) == largest);
    let silent =
        |open: &OpenConnection| matches!(open.socket.readable_by(Instant::now()), Ok(WakeReason::Late));
    let oldest_silent = in_largest.clone().find(|(_, open)| silent(open)).map(|(number, _)| *number);
    let oldest = || in_largest.next().map(|(number, _)| *number);
    oldest_silent.or_else(|| (pending().count() > MOST_UNHEARD).then(oldest)?)
}

/// The network of a peer: one IPv4 address, or the 64 bits of IPv6 that a subnet has in common.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// Ignores poisoning, because a panic does not make this plain data invalid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pause after an `accept` that failed because a resource (files, memory) was exhausted, which others may
/// free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

fn accept_until_stopped(shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut number = 0;
    while !shared.stopping.load(Ordering::SeqCst) {
        match shared.listener.accept() {
            Ok((socket, peer)) => {
                number += 1;
                threads.retain(|thread| !thread.is_finished());
                threads.extend(start_thread(shared, socket, peer, number));
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

/// Starts a connection's thread. `None` if there are no more threads; the connection is then closed.
fn start_thread(
    shared: &Arc<Shared>,
    socket: Socket,
    peer: SocketAddr,
    number: u64,
) -> Option<JoinHandle<()>> {
    connection::set_timeouts(&socket, &shared.options).ok()?;
    shared.add(number, socket.try_clone().ok()?, peer.ip());
    let pending = Pending { shared: Arc::clone(shared), number };
    let thread = thread::Builder::new().name(format!("serve-{number}")).stack_size(STACK_BYTES);
    thread.spawn(move || dispatch(socket, peer, pending)).ok()
}

/// Passes one connection to its service or handler. An unknown peer's connection is closed.
fn dispatch(socket: Socket, peer: SocketAddr, pending: Pending) {
    let shared = Arc::clone(&pending.shared);
    let by = Instant::now() + shared.options.hello_timeout;
    let incoming = |socket, pending| Incoming {
        socket,
        peer,
        registry: ServiceRegistry(Arc::clone(&shared)),
        pending,
        deadline: by,
    };
    if let Some(handler) = &shared.handlers.raw {
        return handler.handle(incoming(socket, pending));
    }
    let Ok(Some(hello)) = read_hello(&shared, &socket, by) else { return };
    match hello.purpose {
        Purpose::Data { client, ticket } => {
            let Some(service) = shared.service_for(ticket) else { return };
            let client = client as usize;
            if service.admit(client) {
                pending.identified(Some(ticket));
                // If the service was removed in between, it did not shut this connection down.
                if shared.service_for(ticket).is_some() {
                    conversation::serve_client(&service, client, socket);
                }
            }
        }
        Purpose::Control => {
            if let Some(handler) = &shared.handlers.control {
                handler.handle(incoming(socket, pending));
            }
        }
    }
}

/// The hello of a peer; `None` if it sent something else. A control connection with another version of the
/// protocol gets this version in reply, as a hello of the same length.
fn read_hello(shared: &Shared, socket: &Socket, by: Instant) -> io::Result<Option<Hello>> {
    let mut bytes = [0; Hello::BYTES];
    if !socket.recv_exact(&mut bytes, by)? {
        return Ok(None);
    }
    let hello = Hello::decode(&bytes);
    if shared.handlers.control.is_some() && matches!(hello, Err(BadHello::Version(_))) {
        socket.send(&Hello { purpose: Purpose::Control }.encode(), SendFlags::NONE)?;
    }
    Ok(hello.ok())
}

/// A connection that has not identified itself yet. Dropping it, also by a panic, removes the connection from
/// the server, because the peer does not see the end while a handle is open.
#[derive(Debug)]
pub struct Pending {
    shared: Arc<Shared>,
    number: u64,
}

impl Pending {
    /// Marks the connection as identified.
    pub fn identified(&self, ticket: Option<Ticket>) {
        if let Some(open) = lock(&self.shared.connections).get_mut(&self.number) {
            open.pending = false;
            open.ticket = ticket;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        lock(&self.shared.connections).remove(&self.number);
    }
}
