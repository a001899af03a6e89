//! Where the ends of a scenario are and how to set them up. It is a trait, because the command `copycost`
//! adds other sites: other hosts, a software network card, jobs of many hosts.

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

/// How long the kernel may take to release sent pages, in addition to the stall timeout of a blocked call.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A place where scenarios can run.
pub trait Site: fmt::Debug + Send + Sync {
    /// The name of the transport between the ends in records.
    fn transport(&self) -> &'static str;

    /// Sets up `scenario`, warm and ready to run.
    ///
    /// # Errors
    /// [`RigError`] says which step failed.
    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError>;

    /// Checks that the other host can be reached, and remembers the address that answers. So an error that
    /// affects every cell is reported once, before the first.
    ///
    /// [`RigError::Site`] says why the site cannot be used.
    fn check(&self, options: &ConnectionOptions) -> Result<(), RigError> {
        let _ = options;
        Ok(())
    }

    /// The number of hosts that receive.
    fn client_hosts(&self) -> usize {
        1
    }

    /// Why nothing more can be measured at this site, if so.
    fn lost(&self) -> Option<String> {
        None
    }
}

/// A site whose clients are in this process. Sites differ in where the server is. [`Rig::with_local_clients`]
/// builds the rigs.
pub trait ServerSite {
    /// Whether the messages are in this process and so need this machine's memory.
    fn serves_here(&self) -> bool {
        true
    }

    /// The placement of the threads of both ends, as if both were on this host.
    fn placement_plan(&self, scenario: &Scenario, cpus: &[usize]) -> PlacementPlan {
        scenario.placement_plan(scenario.clients, cpus)
    }

    /// The placement of the clients. With `one_host`, both ends share their CPUs.
    fn client_plan(&self, scenario: &Scenario, one_host: bool, cpus: &[usize]) -> PlacementPlan {
        self.placement_plan(scenario, cpus).for_clients(one_host, cpus)
    }

    /// Starts the server for `scenario`. Its reports go to `updates`.
    ///
    /// # Errors
    /// [`RigError`] says which step failed.
    fn start_server(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        updates: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError>;
}

/// What the clients need to know about a server, and what keeps it alive.
#[derive(Debug)]
pub struct ServerHandle {
    /// Keeps the server alive until it is dropped.
    pub guard: Box<dyn ServerGuard>,
    /// The address of the server.
    pub address: SocketAddr,
    /// The clients must present it.
    pub ticket: Ticket,
    /// Whether both ends share their CPUs.
    pub one_host: bool,
    /// The CPUs that both ends share, in the order of the server's plan; `None` is all CPUs that this process
    /// may use.
    pub shared_cpus: Option<Vec<usize>>,
    /// The number of CPUs of the server's threads, if only the server's host knows it.
    pub sender_cpus: Option<usize>,
    /// Why the kernel copies zero-copy sends on this route, if known.
    pub copied_because: Option<String>,
    /// Measures the relay between the ends, if there is one.
    pub relay: Option<Arc<dyn RelayMeter>>,
    /// What the site found out, for [`Rig::site_report`].
    pub report: Option<SiteReport>,
}

/// What a site found out during the set-up, in a type of its own.
pub type SiteReport = Arc<dyn Any + Send + Sync>;

/// Keeps a server alive. Dropping it stops the server.
pub trait ServerGuard: fmt::Debug + Send {}

/// Measures the relay between the ends.
pub trait RelayMeter: fmt::Debug + Send + Sync {
    /// Starts measuring. The returned closure gives the cost since then.
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
        Rig::with_local_clients(self, scenario)
    }

    /// Loopback is down in a new network namespace.
    fn check(&self, _: &ConnectionOptions) -> Result<(), RigError> {
        if loopback_is_down() { Err(RigError::LoopbackDown) } else { Ok(()) }
    }
}

/// Whether the kernel reports that loopback is down. If it reports nothing, connecting shows it.
fn loopback_is_down() -> bool {
    let interfaces = rtnetlink::interfaces().unwrap_or_default();
    interfaces.iter().any(|interface| interface.name == "lo" && !interface.up)
}

impl ServerSite for Loopback {
    fn start_server(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        updates: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = connection::listen(address, &scenario.options)
            .map_err(setup("the server could not listen on loopback"))?;
        // The kernel copies data that it delivers on the same machine (skb_orphan_frags_rx).
        let copied_because = Some("loopback".to_owned());
        let placements = self.placement_plan(scenario, cpus).servers;
        Ok(ServerHandle { copied_because, ..serve(scenario, listener, placements, updates)? })
    }
}

/// A server in this process.
#[derive(Debug)]
struct LocalServer {
    // Dropped in this order: the service is removed before the server stops.
    _service: ServiceGuard,
    _server: Server,
}

impl ServerGuard for LocalServer {}

/// Checks whether this kernel supports the scenario's send path.
///
/// [`RigError::Unsupported`] if it does not.
pub fn available(scenario: &Scenario) -> Result<(), RigError> {
    let path = scenario.path;
    (path.probe)(&scenario.largest_spec()).map_err(|reason| RigError::Unsupported { path: path.name, reason })
}

/// Serves `scenario` in this process to clients that connect to `listener`.
///
/// # Errors
/// [`RigError`] says which step failed.
pub fn serve(
    scenario: &Scenario,
    listener: Socket,
    placements: Vec<ThreadPlacement>,
    updates: Sender<WorkerUpdate>,
) -> Result<ServerHandle, RigError> {
    available(scenario)?;
    let applied = AppliedOptions::of(&listener).map_err(setup("socket options could not be read back"))?;
    let ticket = Ticket::new().map_err(setup("random numbers could not be read"))?;
    let service = service(scenario, scenario.clients, placements, &applied, ticket);
    let server = Server::start(listener, scenario.options, Handlers::default())
        .map_err(setup("the server could not start"))?;
    let address = server.address();
    let guard = server.registry().register(service, updates);
    Ok(ServerHandle {
        guard: Box::new(LocalServer { _service: guard, _server: server }),
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

/// What a server does for `scenario`. Each of `senders` senders of the process gets a share of its limits.
pub fn service(
    scenario: &Scenario,
    senders: usize,
    placements: Vec<ThreadPlacement>,
    applied: &AppliedOptions,
    ticket: Ticket,
) -> Service {
    let budget = if scenario.bounded && scenario.path.release == Release::OnCompletion {
        Budget::share(&ZeroCopyLimits::of_process(), senders, applied.send_buffer)
    } else {
        Budget::unbounded()
    };
    Service {
        path: scenario.path,
        spec: scenario.placed_spec(),
        workload: scenario.workload.clone(),
        deck_seed: scenario.offsets.seed,
        verify: scenario.verify,
        placements,
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
