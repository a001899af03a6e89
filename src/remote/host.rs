//! The end that serves: one control connection is one scenario, from its order until either end closes.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, after, bounded, unbounded};
use crossbeam::select;

use super::frame::{self, MOST_FROM_GUEST};
use super::handshake::greet_guest;
use super::order::{Answer, Message, Offered, Order, Understood};
use super::token::Token;
use super::{HANDSHAKE, LONGEST};
use crate::conditions::Conditions;
use crate::connection::{self, Applied, Options};
use crate::protocol::Ticket;
use crate::seat::{self, Seats};
use crate::send::{Budget, Limits, Terms as SendTerms};
use crate::server::{Attendant, News, STACK_BYTES, Service, Visit};
use crate::sys::socket::Socket;

/// What a host asks of its guests.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The secret that a guest must know; `None`: whoever comes is served.
    pub token: Option<Token>,
    /// Clients over all guests at once.
    pub most_clients: usize,
}

/// Serves guests.
#[derive(Debug)]
pub struct Host {
    terms: Terms,
    options: Options,
    /// Clients promised to guests.
    promised: Mutex<usize>,
}

/// How long the kernel may take to release everything at the end of a run.
const DRAIN: Duration = Duration::from_secs(5);

impl Host {
    /// A host whose listener's connections have `options`.
    pub fn new(terms: Terms, options: Options) -> Self {
        Self { terms, options, promised: Mutex::new(0) }
    }

    fn promise(&self, clients: usize) -> Result<Promise<'_>, String> {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.terms.most_clients;
        if *promised + clients > most {
            let free = most - *promised;
            return Err(format!(
                "{clients} more clients: {free} of {most} are free (every path of a cell counts; --max-clients)"
            ));
        }
        *promised += clients;
        Ok(Promise { host: self, clients })
    }

    fn serve(&self, order: &Order, visit: &Visit) -> io::Result<()> {
        let understood = match order.understand(self.terms.most_clients) {
            Ok(understood) => understood,
            Err(reason) => return frame::send(&visit.socket, &Answer::Refused(reason)),
        };
        let _promise = match self.promise(order.clients) {
            Ok(promise) => promise,
            Err(reason) => return frame::send(&visit.socket, &Answer::Refused(reason)),
        };
        let cpus = seat::cpus()?;
        let one_host = visit.socket.local_addr()?.ip() == visit.peer.ip();
        let seats = Seats::plan(understood.placement, order.clients, &cpus).of_servers(one_host, &cpus);
        let placed = seats.placed(cpus.len());
        let applied = Applied::of(&visit.socket)?;
        let service = self.service(order, &understood, seats, &applied)?;
        let ticket = service.ticket;
        let (news_to, news) = unbounded();
        let _offered = visit.desk.offer(service, news_to);
        let mut conditions = Conditions::here();
        conditions.connected(&applied);
        conditions.nodelay = order.nodelay;
        let offered = Offered { ticket: ticket.into(), conditions, sender_cpus: placed.sender_cpus };
        frame::send(&visit.socket, &Answer::Offered(Box::new(offered)))?;
        forward(&visit.socket, &news)
    }

    fn service(
        &self,
        order: &Order,
        understood: &Understood,
        seats: Seats,
        applied: &Applied,
    ) -> io::Result<Service> {
        let budget = if order.bounded {
            Budget::share(&Limits::of_process(), order.clients, applied.send_buffer)
        } else {
            Budget::unbounded()
        };
        Ok(Service {
            path: understood.path,
            spec: understood.spec,
            verify: order.verify,
            seats: seats.servers,
            terms: SendTerms { budget, urgent: order.urgent },
            counted_threads: order.counted_threads,
            pollution_table: order.pollution_table,
            idle_steps: 0,
            ticket: Ticket::new()?,
            options: Options { nodelay: order.nodelay, ..self.options },
            drain_timeout: DRAIN,
        })
    }
}

/// Clients promised to one guest.
struct Promise<'a> {
    host: &'a Host,
    clients: usize,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        *self.host.promised.lock().unwrap_or_else(PoisonError::into_inner) -= self.clients;
    }
}

impl Attendant for Host {
    fn attend(&self, visit: Visit) {
        let by = Instant::now() + HANDSHAKE;
        // A stranger learns no more than what the handshake has told it.
        if !matches!(greet_guest(&visit.socket, self.terms.token.as_ref(), by), Ok(true)) {
            return;
        }
        visit.pending.is_over(None);
        let order = match frame::receive::<Order>(&visit.socket, MOST_FROM_GUEST, by) {
            Ok(Some(order)) => order,
            Ok(None) => return,
            Err(error) => {
                let _ = frame::send(&visit.socket, &Answer::Refused(error.to_string()));
                return;
            }
        };
        // The guest has gone, or the host stops: there is nobody to tell.
        let _ = connection::keep_alive(&visit.socket).and_then(|()| self.serve(&order, &visit));
    }
}

/// Passes news on to the guest until it goes, or for as long as anything is served.
fn forward(socket: &Socket, news: &Receiver<News>) -> io::Result<()> {
    let (gone_to, gone) = bounded::<()>(1);
    let watched = socket.try_clone()?;
    // A guest says nothing after its order: whatever can be read is its end, or cause for one.
    let watch =
        std::thread::Builder::new().name("guest".into()).stack_size(STACK_BYTES).spawn(move || {
            while matches!(watched.readable_by(Instant::now() + HANDSHAKE), Ok(false)) {}
            let _ = gone_to.send(());
        })?;
    let end = after(LONGEST);
    let result = loop {
        select! {
            recv(news) -> message => match message {
                Ok(message) => {
                    if let Err(error) = frame::send(socket, &Answer::News(Box::new(Message::from(message)))) {
                        break Err(error);
                    }
                }
                Err(_) => break Ok(()),
            },
            recv(gone) -> _ => break Ok(()),
            recv(end) -> _ => {
                let told = format!("served for {} minutes, and that is the most", LONGEST.as_secs() / 60);
                break frame::send(socket, &Answer::Refused(told));
            }
        }
    };
    socket.shutdown();
    let _ = watch.join();
    result
}
