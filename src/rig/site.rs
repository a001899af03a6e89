//! Where the server of a scenario is, and how it is reached: in this process, or on another host.

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::error::{RigError, setup};
#[cfg(feature = "cli")]
use crate::conditions::Conditions;
use crate::connection::{self, Applied};
use crate::protocol::Ticket;
#[cfg(feature = "cli")]
use crate::remote;
use crate::scenario::Scenario;
use crate::seat::{Seat, Seats};
use crate::send::{Budget, Limits, Release, Terms};
use crate::server::{Doors, News, Offered, Server, Service};

/// How long the kernel may take to release what was sent, beyond the stall timeout of a blocked call.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// Where the server of a scenario is.
#[derive(Debug, Clone, Default)]
pub enum Site {
    /// In this process, over loopback.
    #[default]
    Here,
    /// On another host, or in another process.
    #[cfg(feature = "cli")]
    There(remote::Site),
}

impl Site {
    /// What lies between the ends, as records name it.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Here => "loopback",
            // Another process on this host, not another host.
            #[cfg(feature = "cli")]
            Self::There(site) if site.addresses.iter().all(|address| address.ip().is_loopback()) => {
                "loopback"
            }
            #[cfg(feature = "cli")]
            Self::There(_) => "remote",
        }
    }

    /// Has the server serve `scenario`, with its news going to `news`.
    pub(super) fn reach(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        news: Sender<News>,
    ) -> Result<Reached, RigError> {
        match self {
            Self::Here => serve_here(scenario, cpus, news),
            #[cfg(feature = "cli")]
            Self::There(site) => serve_there(scenario, site, news),
        }
    }
}

/// What keeps the server's end alive.
#[derive(Debug)]
pub(super) enum ServerEnd {
    /// The offer is withdrawn before the server stops.
    #[allow(dead_code, reason = "they are there to be dropped")]
    Here(Offered, Server),
    #[cfg(feature = "cli")]
    #[allow(dead_code, reason = "it is there to be dropped")]
    There(remote::Call),
}

/// What the clients must know of the server.
pub(super) struct Reached {
    pub(super) end: ServerEnd,
    pub(super) address: SocketAddr,
    pub(super) ticket: Ticket,
    /// Both ends share their CPUs.
    pub(super) one_host: bool,
    /// CPUs of the server's threads, where only its host knows them.
    pub(super) sender_cpus: Option<usize>,
    /// Why the kernel copies zero-copy sends on this way, where that is known.
    pub(super) copied_because: Option<String>,
    #[cfg(feature = "cli")]
    pub(super) host: Option<Box<Conditions>>,
}

/// A server in this process, on a port of its own.
fn serve_here(scenario: &Scenario, cpus: &[usize], news: Sender<News>) -> Result<Reached, RigError> {
    (scenario.path.probe)(&scenario.spec)
        .map_err(|reason| RigError::Unsupported { path: scenario.path.name, reason })?;
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = connection::listen(address, &scenario.options)
        .map_err(setup("the server could not listen on loopback"))?;
    let applied = Applied::of(&listener).map_err(setup("socket options could not be read back"))?;
    let ticket = Ticket::new().map_err(setup("no random numbers"))?;
    let seats = Seats::plan(scenario.placement, scenario.clients, cpus);
    let service = service(scenario, seats.servers, &applied, ticket);
    let server = Server::start(listener, scenario.options, Doors::default())
        .map_err(setup("the server could not start"))?;
    let address = server.address();
    let offered = server.desk().offer(service, news);
    Ok(Reached {
        end: ServerEnd::Here(offered, server),
        address,
        ticket,
        one_host: true,
        sender_cpus: None,
        // The kernel copies what it delivers itself (skb_orphan_frags_rx).
        copied_because: Some("loopback".to_owned()),
        #[cfg(feature = "cli")]
        host: None,
    })
}

/// A server on another host, which probes, plans and bounds by itself.
#[cfg(feature = "cli")]
fn serve_there(scenario: &Scenario, site: &remote::Site, news: Sender<News>) -> Result<Reached, RigError> {
    let order = remote::order::Order::of(scenario);
    let (call, offered) = remote::Call::place(site, &order, &scenario.options, news)?;
    Ok(Reached {
        one_host: call.one_host(),
        address: call.address(),
        end: ServerEnd::There(call),
        ticket: offered.ticket.into(),
        sender_cpus: Some(offered.sender_cpus),
        copied_because: offered.copied_because,
        host: Some(Box::new(offered.conditions)),
    })
}

fn service(scenario: &Scenario, seats: Vec<Seat>, applied: &Applied, ticket: Ticket) -> Service {
    let budget = if scenario.bounded && scenario.path.release == Release::OnCompletion {
        Budget::share(&Limits::of_process(), scenario.clients, applied.send_buffer)
    } else {
        Budget::unbounded()
    };
    Service {
        path: scenario.path,
        spec: scenario.spec,
        verify: scenario.verify,
        seats,
        terms: Terms { budget, urgent: scenario.urgent },
        ticket,
        options: scenario.options,
        counted_threads: scenario.counted_threads,
        pollution_table: scenario.pollution_table,
        idle_steps: scenario.idle_steps,
        drain_timeout: DRAIN,
    }
}
