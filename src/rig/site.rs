//! Where the server of a scenario is, and how it is reached: in this process, or on another host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::ensemble::Ensemble;
use super::error::{RigError, setup};
#[cfg(feature = "cli")]
use crate::conditions::Conditions;
use crate::connection::{self, Applied};
#[cfg(feature = "cli")]
use crate::lab::{Lab, Probed};
use crate::protocol::Ticket;
#[cfg(feature = "cli")]
use crate::remote;
use crate::scenario::Scenario;
use crate::seat::{Seat, Seats};
use crate::send::{Budget, Limits, Release, Terms};
use crate::server::{Doors, News, Offered, Server, Service};
use crate::sys::socket::Socket;

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
    /// In this process, behind a network card in software.
    #[cfg(feature = "cli")]
    Lab(Arc<Lab>),
    /// On another host or several, with clients on others still.
    Many(Arc<dyn Ensemble>),
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
            #[cfg(feature = "cli")]
            Self::Lab(_) => "lab",
            Self::Many(_) => "mpi",
        }
    }

    /// Whether the messages lie in this process.
    pub(super) fn serves_here(&self) -> bool {
        match self {
            Self::Here => true,
            #[cfg(feature = "cli")]
            Self::Lab(_) => true,
            #[cfg(feature = "cli")]
            Self::There(_) => false,
            Self::Many(_) => false,
        }
    }

    /// How many hosts receive.
    pub fn client_hosts(&self) -> usize {
        match self {
            Self::Many(ensemble) => ensemble.client_hosts(),
            _ => 1,
        }
    }

    /// Why nothing more can be measured here, if that is so.
    pub fn lost(&self) -> Option<String> {
        match self {
            Self::Many(ensemble) => ensemble.lost(),
            _ => None,
        }
    }

    /// Where the threads of `scenario` sit, of both ends as if they were on this host.
    pub(super) fn seats(&self, scenario: &Scenario, cpus: &[usize]) -> Seats {
        match self {
            #[cfg(feature = "cli")]
            Self::Lab(lab) => lab.seats(scenario.placement, scenario.clients, cpus),
            #[cfg(feature = "cli")]
            Self::There(site) => {
                Seats::plan(scenario.placement, site.shares.client.all_of(scenario.clients), cpus)
            }
            _ => Seats::plan(scenario.placement, scenario.clients, cpus),
        }
    }

    /// Where the clients of `scenario` sit; with those of other rigs on the same CPUs, beside them.
    pub(super) fn client_seats(&self, scenario: &Scenario, one_host: bool, cpus: &[usize]) -> Seats {
        let seats = self.seats(scenario, cpus).of_clients(one_host, cpus);
        match self {
            #[cfg(feature = "cli")]
            Self::There(site) => seats.part(site.shares.client, scenario.clients),
            _ => seats,
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
            Self::Here => {
                let address = SocketAddr::from(([127, 0, 0, 1], 0));
                let listener = connection::listen(address, &scenario.options)
                    .map_err(setup("the server could not listen on loopback"))?;
                // The kernel copies what it delivers itself (skb_orphan_frags_rx).
                let copied_because = Some("loopback".to_owned());
                let seats = self.seats(scenario, cpus).servers;
                Ok(Reached { copied_because, ..serve_here(scenario, listener, seats, news)? })
            }
            #[cfg(feature = "cli")]
            Self::There(site) => serve_there(scenario, site, news),
            #[cfg(feature = "cli")]
            Self::Lab(lab) => serve_in_lab(scenario, lab, self.seats(scenario, cpus).servers, cpus, news),
            // A rig of many hosts is made of rigs at each of them, which come here.
            Self::Many(_) => Err(RigError::Broken),
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
    /// What a probe saw of the path, where there is one.
    #[cfg(feature = "cli")]
    pub(super) probed: Option<Probed>,
}

/// Whether this kernel has the scenario's path.
fn available(scenario: &Scenario) -> Result<(), RigError> {
    let path = scenario.path;
    (path.probe)(&scenario.spec).map_err(|reason| RigError::Unsupported { path: path.name, reason })
}

/// A server in this process, on a port of its own.
fn serve_here(
    scenario: &Scenario,
    listener: Socket,
    seats: Vec<Seat>,
    news: Sender<News>,
) -> Result<Reached, RigError> {
    available(scenario)?;
    let applied = Applied::of(&listener).map_err(setup("socket options could not be read back"))?;
    let ticket = Ticket::new().map_err(setup("no random numbers"))?;
    let service = service(scenario, seats, &applied, ticket);
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
        copied_because: None,
        #[cfg(feature = "cli")]
        host: None,
        #[cfg(feature = "cli")]
        probed: None,
    })
}

/// A server on another host, which probes, plans and bounds by itself.
#[cfg(feature = "cli")]
fn serve_there(scenario: &Scenario, site: &remote::Site, news: Sender<News>) -> Result<Reached, RigError> {
    let order = remote::order::Order { among: site.shares.server, ..remote::order::Order::of(scenario) };
    let (call, offered) = remote::Call::place(site, &order, &scenario.options, news)?;
    Ok(Reached {
        one_host: call.one_host(),
        address: call.address(),
        end: ServerEnd::There(call),
        ticket: offered.ticket.into(),
        sender_cpus: Some(offered.sender_cpus),
        copied_because: offered.copied_because,
        host: Some(Box::new(offered.conditions)),
        probed: None,
    })
}

/// A server in this process at one end of the lab, which is first asked what it does with the path's messages.
#[cfg(feature = "cli")]
fn serve_in_lab(
    scenario: &Scenario,
    lab: &Lab,
    seats: Vec<Seat>,
    cpus: &[usize],
    news: Sender<News>,
) -> Result<Reached, RigError> {
    available(scenario)?;
    lab.arrange(scenario.placement, scenario.clients, cpus)?;
    let (tapped, probed) = (lab.tapped(), lab.probed(scenario));
    let listener = lab.listen(&scenario.options)?;
    let reached = serve_here(scenario, listener, seats, news)?;
    Ok(Reached { copied_because: tapped, probed: Some(probed), ..reached })
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
        terms: Terms { urgent: scenario.urgent, ..Terms::within(budget) },
        ticket,
        options: scenario.options,
        counted_threads: scenario.counted_threads,
        pollution_table: scenario.pollution_table,
        idle_steps: scenario.idle_steps,
        drain_timeout: DRAIN,
    }
}
