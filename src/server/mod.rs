//! The server of a measurement: an acceptor, and one thread for each connection.
//!
//! A connection says hello and is led to where it belongs: a client with a ticket to the service that the ticket
//! was made for, a controller to the attendant, if there is one. The server stops and joins when dropped, also after
//! an error or a panic at the other end.

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
use crate::protocol::{BadHello, Hello, Purpose, Ticket};
use crate::sys::socket::{SendFlags, Socket, WakeReason};

use service::ActiveService;
pub use service::{SenderFailure, SenderReport, Service, WorkerEvent, WorkerUpdate};

/// A thread of a measurement calls only the kernel and keeps its buffers on the heap; 1,024 clients on three
/// paths are 6,000 threads.
pub const STACK_BYTES: usize = 256 << 10;

/// Connections that may be between their accept and their proof. When one more comes, the oldest ends of the network
/// that has most of them: whoever means it is done long before so many others come from where it is, and those who
/// do not crowd out only each other.
const MOST_PENDING: usize = 256;

/// The same where none of them is silent: then the threads are late, and not the peers.
const MOST_UNHEARD: usize = 4 * MOST_PENDING;

/// Takes care of connections that are no clients with tickets.
pub trait ConnectionHandler: Send + Sync + fmt::Debug {
    /// Speaks with one of them, on a thread of its own, until it goes or the server stops.
    fn handle(&self, visit: Incoming);
}

/// A connection for the attendant.
#[derive(Debug)]
pub struct Incoming {
    /// The connection; shut down when the server stops.
    pub socket: Socket,
    /// Who it is.
    pub peer: SocketAddr,
    /// Where services are offered.
    pub desk: ServiceRegistry,
    /// Tells the server that the visitor has shown who it is, and is pending no more.
    pub pending: Pending,
    /// When it must have shown it.
    pub by: Instant,
}

/// Who is let in, and how.
#[derive(Debug, Clone, Default)]
pub struct Handlers {
    /// For connections whose hello says control.
    pub control: Option<Arc<dyn ConnectionHandler>>,
    /// For every connection, without a hello: then there are no other doors.
    pub raw: Option<Arc<dyn ConnectionHandler>>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// Where services are offered.
#[derive(Debug, Clone)]
pub struct ServiceRegistry(Arc<Shared>);

/// A service on offer: dropped, it is withdrawn and its connections end.
#[derive(Debug)]
pub struct ServiceGuard {
    shared: Arc<Shared>,
    ticket: Ticket,
}

/// What the acceptor, the connections' threads and the owner share.
#[derive(Debug)]
struct Shared {
    listener: Socket,
    options: ConnectionOptions,
    handlers: Handlers,
    stopping: AtomicBool,
    /// Each open connection, in the order in which they came.
    connections: Mutex<BTreeMap<u64, OpenConnection>>,
    offers: Mutex<HashMap<Ticket, Arc<ActiveService>>>,
    /// Services offered so far.
    offered: AtomicU64,
}

/// An open connection as others see it.
#[derive(Debug)]
struct OpenConnection {
    /// A handle to wake its thread with.
    socket: Socket,
    /// Who it is.
    peer: IpAddr,
    /// It has not yet shown who it is.
    pending: bool,
    /// What let it in.
    ticket: Option<Ticket>,
}

impl Server {
    /// Accepts on `listener`, whose connections have `options`, and leads them through `doors`.
    pub fn start(listener: Socket, options: ConnectionOptions, doors: Handlers) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            listener,
            options,
            handlers: doors,
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            offers: Mutex::default(),
            offered: AtomicU64::new(0),
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

    /// Where services are offered.
    pub fn registry(&self) -> ServiceRegistry {
        ServiceRegistry(Arc::clone(&self.shared))
    }
}

impl ServiceRegistry {
    /// Offers `service` to those who show its ticket. News of their threads go to `news`.
    pub fn offer(&self, service: Service, news: Sender<WorkerUpdate>) -> ServiceGuard {
        let (shared, ticket) = (Arc::clone(&self.0), service.ticket);
        shared.offered.fetch_add(1, Ordering::Relaxed);
        lock(&shared.offers).insert(ticket, Arc::new(ActiveService::new(service, news)));
        ServiceGuard { shared, ticket }
    }

    /// How many services were offered so far.
    pub fn offered(&self) -> u64 {
        self.0.offered.load(Ordering::Relaxed)
    }

    /// Has every sender finish its message at hand and end, and waits for that, at most for `patience`.
    pub fn finish(&self, patience: Duration) {
        let by = Instant::now() + patience;
        let offers: Vec<_> = lock(&self.0.offers).values().cloned().collect();
        offers.iter().for_each(|offer| offer.finish());
        while offers.iter().any(|offer| offer.is_sending()) && Instant::now() < by {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ServiceGuard {
    fn drop(&mut self) {
        lock(&self.shared.offers).remove(&self.ticket);
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
            // The acceptor joins its threads; if it panicked they still end by the shutdown.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn wake_all(&self) {
        lock(&self.connections).values().for_each(|open| open.socket.shutdown());
    }

    /// Notes a new connection, and ends a pending one if there are too many.
    fn enter(&self, number: u64, socket: Socket, peer: IpAddr) {
        let mut connections = lock(&self.connections);
        connections.insert(number, OpenConnection { socket, peer, pending: true, ticket: None });
        if connections.values().filter(|open| open.pending).count() > MOST_PENDING
            && let Some(one_too_many) = one_too_many(&connections)
            && let Some(open) = connections.get_mut(&one_too_many)
        {
            open.pending = false;
            open.socket.shutdown();
        }
    }

    fn offer_for(&self, ticket: Ticket) -> Option<Arc<ActiveService>> {
        lock(&self.offers).get(&ticket).cloned()
    }
}

/// The pending connection that has to go when there are too many: of the network that has most of them the oldest that
/// has said nothing that is still to be read. One whose thread has only not had its turn yet stays, unless it is all
/// of them.
fn one_too_many(connections: &BTreeMap<u64, OpenConnection>) -> Option<u64> {
    let pending = || connections.iter().filter(|(_, open)| open.pending);
    let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
    pending().for_each(|(_, open)| *crowds.entry(network(open.peer)).or_default() += 1);
    let (crowd, _) = crowds.into_iter().max_by_key(|(_, size)| *size)?;
    // In ascending order, so that the first one is the oldest.
    let mut of_crowd = pending().filter(|(_, open)| network(open.peer) == crowd);
    let silent =
        |open: &OpenConnection| matches!(open.socket.readable_by(Instant::now()), Ok(WakeReason::Late));
    let oldest_silent = of_crowd.clone().find(|(_, open)| silent(open)).map(|(number, _)| *number);
    let oldest = || of_crowd.next().map(|(number, _)| *number);
    oldest_silent.or_else(|| (pending().count() > MOST_UNHEARD).then(oldest)?)
}

/// Who shares an address, as far as can be told: one IPv4 address, or the 64 bits of IPv6 that a subnet has in common.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
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

/// Starts a connection's thread; `None` when there is no more to be had, and the connection ends.
fn start_thread(
    shared: &Arc<Shared>,
    socket: Socket,
    peer: SocketAddr,
    number: u64,
) -> Option<JoinHandle<()>> {
    connection::set_timeouts(&socket, &shared.options).ok()?;
    shared.enter(number, socket.try_clone().ok()?, peer.ip());
    let pending = Pending { shared: Arc::clone(shared), number };
    let thread = thread::Builder::new().name(format!("serve-{number}")).stack_size(STACK_BYTES);
    thread.spawn(move || receive(socket, peer, pending)).ok()
}

/// Leads one connection to where it belongs. A stranger is only shown the door.
fn receive(socket: Socket, peer: SocketAddr, pending: Pending) {
    let shared = Arc::clone(&pending.shared);
    let by = Instant::now() + shared.options.hello_timeout;
    let visit =
        |socket, pending| Incoming { socket, peer, desk: ServiceRegistry(Arc::clone(&shared)), pending, by };
    if let Some(attendant) = &shared.handlers.raw {
        return attendant.handle(visit(socket, pending));
    }
    let Ok(Some(hello)) = greet(&shared, &socket, by) else { return };
    match hello.purpose {
        Purpose::Data { client, ticket } => {
            let Some(offer) = shared.offer_for(ticket) else { return };
            let client = client as usize;
            if offer.admit(client) {
                pending.is_over(Some(ticket));
                // A service that was withdrawn in between has shut down no connection that it did not know of.
                if shared.offer_for(ticket).is_some() {
                    conversation::hold(&offer, client, socket);
                }
            }
        }
        Purpose::Control => {
            if let Some(attendant) = &shared.handlers.control {
                attendant.handle(visit(socket, pending));
            }
        }
    }
}

/// The hello of a peer; `None` when it said something else. A guest that speaks another version of the protocol is told
/// this version, by a hello: as many bytes as it sent.
fn greet(shared: &Shared, socket: &Socket, by: Instant) -> io::Result<Option<Hello>> {
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

/// A connection that has not yet shown who it is. Forgets the connection when its thread ends, by a panic too, or
/// never began: the peer would not learn of the end while a handle is open.
#[derive(Debug)]
pub struct Pending {
    shared: Arc<Shared>,
    number: u64,
}

impl Pending {
    /// It has shown who it is.
    pub fn is_over(&self, ticket: Option<Ticket>) {
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
