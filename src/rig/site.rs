//! Where the ends of a scenario are, and how they are set up: a trait, because the command `copycost` adds other hosts, a
//! software network card and jobs of many hosts to the loopback that is here.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::Rig;
use super::error::{RigError, setup};
use crate::connection::{self, AppliedOptions, ConnectionOptions};
use crate::cost::relayed::RelayCost;
use crate::placement::{PlacementPlan, ThreadPlacement};
use crate::protocol::Ticket;
use crate::scenario::Scenario;
use crate::send::{Budget, Release, SenderConfig, ZeroCopyLimits};
use crate::server::{Handlers, Server, Service, ServiceGuard, WorkerUpdate};
use crate::sys::rtnetlink;
use crate::sys::socket::Socket;

/// How long the kernel may take to release what was sent, beyond the stall timeout of a blocked call.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the ends of a scenario are.
pub trait Site: fmt::Debug + Send + Sync {
    /// What lies between the ends, as records name it.
    fn transport(&self) -> &'static str;

    /// Sets `scenario` up, warm and ready to run.
    ///
    /// # Errors
    /// [`RigError`] says which step failed.
    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError>;

    /// Makes sure that the other end is there, where it is another host, and keeps to the address that answers: what is
    /// wrong for all cells of a matrix is said once, before the first.
    ///
    /// # Errors
    /// [`RigError::Site`] says why nothing can be measured with it.
    fn check(&self, options: &ConnectionOptions) -> Result<(), RigError> {
        let _ = options;
        Ok(())
    }

    /// How many hosts receive.
    fn client_hosts(&self) -> usize {
        1
    }

    /// Why nothing more can be measured here, if that is so.
    fn lost(&self) -> Option<String> {
        None
    }
}

/// A site whose clients are in this process: what differs is where the server is. [`Rig::with_clients_here`] builds its
/// rigs.
pub trait ServerSite {
    /// Whether the messages lie in this process, so that their memory is this machine's.
    fn serves_here(&self) -> bool {
        true
    }

    /// Where the threads of both ends run, planned as if both were on this host.
    fn seats(&self, scenario: &Scenario, cpus: &[usize]) -> PlacementPlan {
        PlacementPlan::plan(scenario.placement, scenario.clients, cpus)
    }

    /// Where the clients run. `one_host`: both ends share their CPUs.
    fn client_seats(&self, scenario: &Scenario, one_host: bool, cpus: &[usize]) -> PlacementPlan {
        self.seats(scenario, cpus).for_clients(one_host, cpus)
    }

    /// Has the server serve `scenario`; its news go to `news`.
    ///
    /// # Errors
    /// [`RigError`] says which step failed.
    fn reach(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        news: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError>;
}

/// What the clients must know of a server, and what keeps it alive.
#[derive(Debug)]
pub struct ServerHandle {
    /// Keeps the server's end alive until it is dropped.
    pub end: Box<dyn ServerGuard>,
    /// Where the server listens.
    pub address: SocketAddr,
    /// Admits the clients.
    pub ticket: Ticket,
    /// Both ends share their CPUs.
    pub one_host: bool,
    /// The CPUs that both ends share, in the order of the server's plan; `None`: all that this process may use.
    pub shared_cpus: Option<Vec<usize>>,
    /// CPUs of the server's threads, where only its host knows them.
    pub sender_cpus: Option<usize>,
    /// Why the kernel copies zero-copy sends on this way, where that is known.
    pub copied_because: Option<String>,
    /// Accounts for what relays the bytes between the ends, where something does.
    pub relay: Option<Arc<dyn RelayMeter>>,
    /// What the site has found out, for [`Rig::site_report`].
    pub report: Option<SiteReport>,
}

/// What a site has found out while it set a rig up, in a type of the site's own.
pub type SiteReport = Arc<dyn Any + Send + Sync>;

/// Keeps a server's end alive; dropped, it ends.
pub trait ServerGuard: fmt::Debug + Send {}

/// Accounts for what relays the bytes between the ends.
pub trait RelayMeter: fmt::Debug + Send + Sync {
    /// Starts counting; what is returned yields the cost since then.
    fn start(&self) -> Box<dyn FnOnce() -> RelayCost + '_>;
}

/// Both ends in this process, over loopback.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loopback;

impl Site for Loopback {
    fn transport(&self) -> &'static str {
        "loopback"
    }

    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError> {
        Rig::with_clients_here(self, scenario)
    }

    /// In a network namespace that somebody has just made, loopback is down.
    fn check(&self, _: &ConnectionOptions) -> Result<(), RigError> {
        if loopback_is_down() { Err(RigError::LoopbackDown) } else { Ok(()) }
    }
}

/// Whether the kernel says so; where it says nothing, connecting will.
fn loopback_is_down() -> bool {
    let interfaces = rtnetlink::interfaces().unwrap_or_default();
    interfaces.iter().any(|interface| interface.name == "lo" && !interface.up)
}

impl ServerSite for Loopback {
    fn reach(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        news: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = connection::listen(address, &scenario.options)
            .map_err(setup("the server could not listen on loopback"))?;
        // The kernel copies what it delivers itself (skb_orphan_frags_rx).
        let copied_because = Some("loopback".to_owned());
        let seats = self.seats(scenario, cpus).servers;
        Ok(ServerHandle { copied_because, ..serve(scenario, listener, seats, news)? })
    }
}

/// A server in this process.
#[derive(Debug)]
struct LocalServer {
    // Dropped in this order: the offer is withdrawn before the server stops.
    _offered: ServiceGuard,
    _server: Server,
}

impl ServerGuard for LocalServer {}

/// Whether this kernel has the scenario's send path.
///
/// # Errors
/// [`RigError::Unsupported`] where it does not.
pub fn available(scenario: &Scenario) -> Result<(), RigError> {
    let path = scenario.path;
    (path.probe)(&scenario.spec).map_err(|reason| RigError::Unsupported { path: path.name, reason })
}

/// Serves `scenario` in this process to those who connect to `listener`.
///
/// # Errors
/// [`RigError`] says which step failed.
pub fn serve(
    scenario: &Scenario,
    listener: Socket,
    seats: Vec<ThreadPlacement>,
    news: Sender<WorkerUpdate>,
) -> Result<ServerHandle, RigError> {
    available(scenario)?;
    let applied = AppliedOptions::of(&listener).map_err(setup("socket options could not be read back"))?;
    let ticket = Ticket::new().map_err(setup("random numbers could not be read"))?;
    let service = service(scenario, seats, &applied, ticket);
    let server = Server::start(listener, scenario.options, Handlers::default())
        .map_err(setup("the server could not start"))?;
    let address = server.address();
    let offered = server.registry().offer(service, news);
    Ok(ServerHandle {
        end: Box::new(LocalServer { _offered: offered, _server: server }),
        address,
        ticket,
        one_host: true,
        shared_cpus: None,
        sender_cpus: None,
        copied_because: None,
        relay: None,
        report: None,
    })
}

fn service(
    scenario: &Scenario,
    seats: Vec<ThreadPlacement>,
    applied: &AppliedOptions,
    ticket: Ticket,
) -> Service {
    let budget = if scenario.bounded && scenario.path.release == Release::OnCompletion {
        Budget::share(&ZeroCopyLimits::of_process(), scenario.clients, applied.send_buffer)
    } else {
        Budget::unbounded()
    };
    Service {
        path: scenario.path,
        spec: scenario.placed_spec(),
        verify: scenario.verify,
        placements: seats,
        sender_config: SenderConfig {
            urgent: scenario.urgent,
            staging: scenario.offsets.staging(),
            ..SenderConfig::within(budget)
        },
        ticket,
        options: scenario.options,
        counted_threads: scenario.counted_threads,
        pollution_table: scenario.pollution_table,
        idle_steps: scenario.idle_steps,
        drain_timeout: DRAIN_TIMEOUT,
    }
}
