//! The end that serves: one control connection is one scenario, from its order until either end closes.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, after, bounded, unbounded};
use crossbeam::select;

use super::frame::{self, MOST_FROM_GUEST};
use super::handshake::greet_guest;
use super::location::{Colocation, ProcessLocation, together};
use super::order::{OfferedService, ParsedOrder, ServerReply, ServiceOrder, WorkerMessage};
use super::token::Token;
use super::{CLIENT_MEMORY, HANDSHAKE, LONGEST};
use crate::conditions::Conditions;
use crate::doctor;
use copycost::internals::cgroup::{self, memory::Available};
use copycost::internals::connection::{self, AppliedOptions, ConnectionOptions};
use copycost::internals::placement::{self, PlacementPlan};
use copycost::internals::protocol::Ticket;
use copycost::internals::server::{ConnectionHandler, Incoming, STACK_BYTES, Service, WorkerUpdate};
use copycost::internals::sys::memory;
use copycost::internals::sys::socket::{Socket, WakeReason};
use copycost::send::{Budget, Release, SenderConfig as SendTerms, ZeroCopyLimits};
use copycost::units::ByteSize;

/// What a host asks of its guests.
#[derive(Debug, Clone)]
pub struct HostLimits {
    /// The secret that a guest must know; `None`: whoever comes is served.
    pub token: Option<Token>,
    /// Clients over all guests at once.
    pub most_clients: usize,
}

/// Serves guests.
#[derive(Debug)]
pub struct RemoteServer {
    terms: HostLimits,
    options: ConnectionOptions,
    /// The memory that the messages of all guests may take, in bytes.
    most_memory: usize,
    /// What is promised to guests.
    promised: Mutex<ClientQuota>,
    /// Something was given back.
    returned: Condvar,
}

/// What a guest is promised, or all of them.
#[derive(Debug, Clone, Copy, Default)]
struct ClientQuota {
    clients: usize,
    /// In bytes.
    memory: usize,
}

/// How long a guest waits for what another gives back: one that begins its next scenario has just ended the one
/// before, and its order may overtake that end.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// How long the kernel may take to release everything at the end of a run.
const DRAIN: Duration = Duration::from_secs(5);

impl RemoteServer {
    /// A host whose listener's connections have `options`.
    pub fn new(terms: HostLimits, options: ConnectionOptions) -> Self {
        let (promised, returned) = Default::default();
        Self { terms, options, most_memory: memory_for_messages(), promised, returned }
    }

    fn promise(&self, wanted: ClientQuota) -> Result<Reservation<'_>, String> {
        let (most_clients, most_memory) = (self.terms.most_clients, self.most_memory);
        let too_much = |promised: &mut ClientQuota| {
            promised.clients + wanted.clients > most_clients
                || promised.memory.saturating_add(wanted.memory) > most_memory
        };
        let began = Instant::now();
        let promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.returned.wait_timeout_while(promised, GIVE_BACK, too_much);
        let (mut promised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (clients, memory) = (most_clients - promised.clients, most_memory - promised.memory);
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
        // What was promised counts against what there was at the start; others may have taken of it since.
        while let Err(left) = room_for(wanted.memory) {
            if began.elapsed() > GIVE_BACK {
                return Err(format!(
                    "the messages need {}, but {left}, and messages may use half of that",
                    ByteSize(wanted.memory)
                ));
            }
            let waited = self.returned.wait_timeout(promised, GIVE_BACK / 20);
            (promised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *promised = ClientQuota {
            clients: promised.clients + wanted.clients,
            memory: promised.memory + wanted.memory,
        };
        Ok(Reservation { host: self, share: wanted })
    }

    fn serve(&self, order: &ServiceOrder, visit: &Incoming) -> io::Result<()> {
        let understood = match order.understand(self.terms.most_clients) {
            Ok(understood) => understood,
            Err(reason) => return frame::send(&visit.socket, &ServerReply::Refused(reason)),
        };
        let _promise = match self.promise(ClientQuota { clients: order.clients, memory: understood.memory }) {
            Ok(promise) => promise,
            Err(reason) => return frame::send(&visit.socket, &ServerReply::Refused(reason)),
        };
        let cpus = placement::cpus()?;
        let same_address = visit.socket.local_addr()?.ip() == visit.peer.ip();
        let here = ProcessLocation::here(&cpus);
        let Colocation { same_machine, shared_cpus } =
            together(here.as_ref(), order.machine.as_ref(), same_address, &cpus);
        let one_host = !shared_cpus.is_empty();
        let cpus = if one_host { shared_cpus.clone() } else { cpus };
        let all = order.among.total(order.clients);
        let seats = PlacementPlan::plan(understood.placement, all, &cpus).for_servers(one_host, &cpus);
        let seats = seats.range(order.among, order.clients);
        let placed = seats.cpu_usage(cpus.len());
        let applied = AppliedOptions::of(&visit.socket)?;
        let service = self.service(order, &understood, seats, &applied)?;
        let ticket = service.ticket;
        let (news_to, news) = unbounded();
        let _offered = visit.desk.offer(service, news_to);
        let mut conditions = Conditions::here();
        conditions.connected(&applied);
        conditions.nodelay = order.nodelay;
        conditions.same_machine = same_machine;
        if let Some(interface) = doctor::interface_to(visit.peer) {
            conditions.leaving_by(&interface, visit.peer.ip());
        }
        let copied_because = match understood.path.release {
            Release::OnCompletion => doctor::why_copied(visit.peer),
            Release::OnReturn | Release::OnFlush | Release::Never => None,
        };
        let (ticket, sender_cpus) = (ticket.into(), placed.sender_cpus);
        let shared_cpus = Some(shared_cpus);
        let offered = OfferedService { ticket, conditions, sender_cpus, copied_because, shared_cpus };
        frame::send(&visit.socket, &ServerReply::Offered(Box::new(offered)))?;
        forward(&visit.socket, &news)
    }

    fn service(
        &self,
        order: &ServiceOrder,
        understood: &ParsedOrder,
        seats: PlacementPlan,
        applied: &AppliedOptions,
    ) -> io::Result<Service> {
        let budget = if order.bounded {
            Budget::share(
                &ZeroCopyLimits::of_process(),
                order.among.total(order.clients),
                applied.send_buffer,
            )
        } else {
            Budget::unbounded()
        };
        Ok(Service {
            path: understood.path,
            spec: understood.spec,
            verify: order.verify,
            placements: seats.servers,
            sender_config: SendTerms {
                urgent: order.urgent,
                staging: understood.staging,
                ..SendTerms::within(budget)
            },
            counted_threads: order.counted_threads,
            pollution_table: order.pollution_table,
            idle_steps: 0,
            ticket: Ticket::new()?,
            options: ConnectionOptions { nodelay: order.nodelay, ..self.options },
            drain_timeout: DRAIN,
        })
    }
}

/// What is promised to one guest, until this is dropped.
struct Reservation<'a> {
    host: &'a RemoteServer,
    share: ClientQuota,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut promised = self.host.promised.lock().unwrap_or_else(PoisonError::into_inner);
        promised.clients -= self.share.clients;
        promised.memory -= self.share.memory;
        self.host.returned.notify_all();
    }
}

/// Half of the memory that could be had, in bytes; where nobody says, one client's.
fn memory_for_messages() -> usize {
    cgroup::memory::available().map_or(CLIENT_MEMORY, |available| available.bytes / 2)
}

/// Whether `bytes` more are at most half of what is left now; or what is left.
pub(super) fn room_for(bytes: usize) -> Result<(), Available> {
    let lacks = || cgroup::memory::available().filter(|available| bytes > available.bytes / 2);
    if lacks().is_some() {
        // Of messages that were served the allocator may still hold what the kernel could give.
        memory::trim();
    }
    lacks().map_or(Ok(()), Err)
}

impl ConnectionHandler for RemoteServer {
    fn handle(&self, visit: Incoming) {
        // A stranger learns no more than what the handshake has told it.
        let by = visit.by;
        if !matches!(greet_guest(&visit.socket, self.terms.token.as_ref(), by), Ok(true)) {
            return;
        }
        // Where everybody is let in, an order is the first thing that a stranger does not send by chance.
        if self.terms.token.is_some() {
            visit.pending.is_over(None);
        }
        let order = match frame::receive::<ServiceOrder>(&visit.socket, MOST_FROM_GUEST, by) {
            Ok(Some(order)) => order,
            Ok(None) => return,
            Err(error) => {
                let _ = frame::send(&visit.socket, &ServerReply::Refused(error.to_string()));
                return;
            }
        };
        visit.pending.is_over(None);
        // The guest has gone, or the host stops: there is nobody to tell.
        let _ = connection::configure_control(&visit.socket, self.options.stall_timeout)
            .and_then(|()| self.serve(&order, &visit));
    }
}

/// Passes news on to the guest until it goes, or for as long as anything is served.
fn forward(socket: &Socket, news: &Receiver<WorkerUpdate>) -> io::Result<()> {
    let (gone_to, gone) = bounded::<()>(1);
    let watched = socket.try_clone()?;
    // A guest says nothing after its order: whatever can be read is its end, or cause for one.
    let watch =
        std::thread::Builder::new().name("guest".into()).stack_size(STACK_BYTES).spawn(move || {
            while matches!(watched.readable_by(Instant::now() + HANDSHAKE), Ok(WakeReason::Late)) {}
            let _ = gone_to.send(());
        })?;
    let end = after(LONGEST);
    let result = loop {
        select! {
            recv(news) -> message => match message {
                Ok(message) => {
                    if let Err(error) = frame::send(socket, &ServerReply::News(Box::new(WorkerMessage::from(message)))) {
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
