//! The server's end: each control connection serves one scenario, from its order until either end closes.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, after, bounded, unbounded};
use crossbeam::select;

use super::frame::{self, MOST_FROM_CLIENT};
use super::handshake::greet_client;
use super::location::{Colocation, ProcessLocation, together};
use super::order::{OfferedService, ServerReply, ServiceOrder};
use super::token::Token;
use super::{CLIENT_MEMORY, HANDSHAKE, LONGEST};
use crate::conditions::Conditions;
use crate::doctor;
use copycost::internals::cgroup::{self, memory::Available};
use copycost::internals::connection::{self, AppliedOptions, ConnectionOptions};
use copycost::internals::placement::{self, STACK_BYTES};
use copycost::internals::protocol::Ticket;
use copycost::internals::rig::service;
use copycost::internals::server::{ConnectionHandler, Incoming, WorkerUpdate};
use copycost::internals::sys::memory;
use copycost::internals::sys::socket::{Socket, WakeReason};
use copycost::send::Release;
use copycost::units::ByteSize;

/// The conditions on which a server accepts clients.
#[derive(Debug, Clone)]
pub struct HostLimits {
    /// The secret that a client must know; `None` means that every client is accepted.
    pub token: Option<Token>,
    /// The most clients at once, over all client hosts.
    pub most_clients: usize,
}

/// Serves the orders of remote clients.
#[derive(Debug)]
pub struct RemoteServer {
    limits: HostLimits,
    options: ConnectionOptions,
    /// The most bytes of messages, over all clients.
    most_memory: usize,
    /// The sum of all reservations.
    reserved: Mutex<ClientQuota>,
    /// Notified when a reservation is released.
    released: Condvar,
}

/// The clients and the memory of one reservation, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct ClientQuota {
    clients: usize,
    /// Bytes of messages.
    memory: usize,
}

/// How long an order waits for other reservations to end. A client that begins its next scenario has just ended the one
/// before, and the new order may arrive before that end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

impl RemoteServer {
    /// A server whose connections have `options`.
    pub fn new(limits: HostLimits, options: ConnectionOptions) -> Self {
        let (reserved, released) = Default::default();
        Self { limits, options, most_memory: memory_for_messages(), reserved, released }
    }

    fn reserve(&self, wanted: ClientQuota) -> Result<Reservation<'_>, String> {
        let (most_clients, most_memory) = (self.limits.most_clients, self.most_memory);
        let too_much = |reserved: &mut ClientQuota| {
            reserved.clients + wanted.clients > most_clients
                || reserved.memory.saturating_add(wanted.memory) > most_memory
        };
        let began = Instant::now();
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.released.wait_timeout_while(reserved, RELEASE_TIMEOUT, too_much);
        let (mut reserved, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (clients, memory) = (most_clients - reserved.clients, most_memory - reserved.memory);
        if wanted.clients > clients {
            return Err(format!(
                "no room for {} more clients: {clients} of {most_clients} are free (every path of a cell \
                 counts; raise --max-clients)",
                wanted.clients
            ));
        }
        if wanted.memory > memory {
            return Err(format!(
                "no room for {} more bytes of messages: {memory} of {most_memory} are free (half of the \
                 host's memory; every path of a cell counts)",
                wanted.memory
            ));
        }
        // `most_memory` was computed at the start; other processes may have taken memory since.
        while let Err(left) = room_for(wanted.memory) {
            if began.elapsed() > RELEASE_TIMEOUT {
                return Err(format!(
                    "the messages need {}, but {left}, and messages may use half of that",
                    ByteSize(wanted.memory)
                ));
            }
            let waited = self.released.wait_timeout(reserved, RELEASE_TIMEOUT / 20);
            (reserved, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *reserved = ClientQuota {
            clients: reserved.clients + wanted.clients,
            memory: reserved.memory + wanted.memory,
        };
        Ok(Reservation { server: self, quota: wanted })
    }

    fn serve(&self, order: &ServiceOrder, incoming: &Incoming) -> io::Result<()> {
        let parsed = match order.parse(self.limits.most_clients, self.options) {
            Ok(parsed) => parsed,
            Err(reason) => return frame::send(&incoming.socket, &ServerReply::Refused(reason)),
        };
        let _reservation = match self.reserve(ClientQuota { clients: order.clients, memory: parsed.memory }) {
            Ok(reservation) => reservation,
            Err(reason) => return frame::send(&incoming.socket, &ServerReply::Refused(reason)),
        };
        let cpus = placement::cpus()?;
        let same_address = incoming.socket.local_addr()?.ip() == incoming.peer.ip();
        let here = ProcessLocation::here(&cpus);
        let Colocation { same_machine, shared_cpus } =
            together(here.as_ref(), order.machine.as_ref(), same_address, &cpus);
        let one_host = !shared_cpus.is_empty();
        let cpus = if one_host { shared_cpus.clone() } else { cpus };
        let all = order.among.total(order.clients);
        let plan = parsed.scenario.placement_plan(all, &cpus).for_servers(one_host, &cpus);
        let plan = plan.range(order.among, order.clients);
        let usage = plan.cpu_usage(cpus.len());
        let applied = AppliedOptions::of(&incoming.socket)?;
        let ticket = Ticket::new()?;
        // The limits of the process are shared with the clients of the other client hosts.
        let service = service(&parsed.scenario, all, plan.servers, &applied, ticket);
        let (update_sender, updates) = unbounded();
        let _offered = incoming.registry.register(service, update_sender);
        let mut conditions = Conditions::here();
        conditions.connected(&applied);
        conditions.nodelay = order.nodelay;
        conditions.same_machine = same_machine;
        if let Some(interface) = doctor::interface_to(incoming.peer) {
            conditions.leaving_by(&interface, incoming.peer.ip());
        }
        let copied_because = match parsed.scenario.path.release {
            Release::OnCompletion => doctor::why_copied(incoming.peer),
            Release::OnReturn | Release::OnFlush | Release::Never => None,
        };
        let (ticket, sender_cpus) = (ticket.into(), usage.sender_cpus);
        let shared_cpus = Some(shared_cpus);
        let plays_workload = parsed.scenario.workload.is_some();
        let offered =
            OfferedService { ticket, conditions, sender_cpus, copied_because, shared_cpus, plays_workload };
        frame::send(&incoming.socket, &ServerReply::Offered(Box::new(offered)))?;
        forward(&incoming.socket, &updates)
    }
}

/// The clients and the memory reserved for one order. Drop releases them.
struct Reservation<'a> {
    server: &'a RemoteServer,
    quota: ClientQuota,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut reserved = self.server.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.clients -= self.quota.clients;
        reserved.memory -= self.quota.memory;
        self.server.released.notify_all();
    }
}

/// Half of the available memory in bytes, or [`CLIENT_MEMORY`] if that is not known.
fn memory_for_messages() -> usize {
    cgroup::memory::available().map_or(CLIENT_MEMORY, |available| available.bytes / 2)
}

/// Checks that `bytes` are at most half of the memory available now.
///
/// # Errors
/// The memory that is available.
pub(super) fn room_for(bytes: usize) -> Result<(), Available> {
    let lacks = || cgroup::memory::available().filter(|available| bytes > available.bytes / 2);
    if lacks().is_some() {
        // The allocator may still hold the memory of messages that were freed.
        memory::trim();
    }
    lacks().map_or(Ok(()), Err)
}

impl ConnectionHandler for RemoteServer {
    fn handle(&self, incoming: Incoming) {
        // A client that fails the handshake gets no further information.
        let by = incoming.deadline;
        if !matches!(greet_client(&incoming.socket, self.limits.token.as_ref(), by), Ok(true)) {
            return;
        }
        // An open server keeps the connection pending until the order arrives: the handshake alone may be random bytes.
        if self.limits.token.is_some() {
            incoming.pending.identified(None);
        }
        let order = match frame::receive::<ServiceOrder>(&incoming.socket, MOST_FROM_CLIENT, by) {
            Ok(Some(order)) => order,
            Ok(None) => return,
            Err(error) => {
                let _ = frame::send(&incoming.socket, &ServerReply::Refused(error.to_string()));
                return;
            }
        };
        incoming.pending.identified(None);
        // An error means that the client has gone or the server stops, so no one is left to report it to.
        let _ = connection::configure_control(&incoming.socket, self.options.stall_timeout)
            .and_then(|()| self.serve(&order, &incoming));
    }
}

/// Forwards updates to the client until it closes the connection or the service ends.
fn forward(socket: &Socket, updates: &Receiver<WorkerUpdate>) -> io::Result<()> {
    let (gone_to, gone) = bounded::<()>(1);
    let watched = socket.try_clone()?;
    // A client sends nothing after its order, so anything readable is its end or a reason to end the connection.
    let watch =
        std::thread::Builder::new().name("guest".into()).stack_size(STACK_BYTES).spawn(move || {
            while matches!(watched.readable_by(Instant::now() + HANDSHAKE), Ok(WakeReason::Late)) {}
            let _ = gone_to.send(());
        })?;
    let end = after(LONGEST);
    let result = loop {
        select! {
            recv(updates) -> message => match message {
                Ok(message) => {
                    if let Err(error) = frame::send(socket, &ServerReply::News(Box::new(message))) {
                        break Err(error);
                    }
                }
                Err(_) => break Ok(()),
            },
            recv(gone) -> _ => break Ok(()),
            recv(end) -> _ => {
                let message = format!("the time limit of {} minutes is over", LONGEST.as_secs() / 60);
                break frame::send(socket, &ServerReply::Refused(message));
            }
        }
    };
    socket.shutdown();
    let _ = watch.join();
    result
}
