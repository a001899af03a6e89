//! A warm scenario: server, clients and connections, ready to run. Every measurement in this crate is a call
//! of [`Rig::run`].

pub(crate) mod barrier;
pub(crate) mod cluster;
mod collector;
mod error;
mod local;
pub(crate) mod memory;
mod open_files;
mod sample;
pub(crate) mod site;

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crossbeam::channel::unbounded;

use crate::cgroup::throttle::ThrottleCounters;
use crate::clients::{ClientConfig, Clients, Sizes};
use crate::connection::{self, AppliedOptions};
use crate::cost::pollution::Walk;
use crate::placement::{self, CpuUsage, ThreadPlacement};
use crate::protocol::{Hello, Ticket};
use crate::recv::Verifier;
use crate::scenario::Scenario;
use crate::sys::socket::SendFlags;

use barrier::NoBarrier;
use error::setup;
use local::LocalRig;

pub use crate::clients::{Arrivals, OpenLoop, Work};
use barrier::WindowBarrier;
pub use cluster::BufferOffsets;
use cluster::{ClientCluster, RigInfo};
pub use error::{MemoryDemand, RigError, Side, SiteError};
use memory::check_memory;
pub use sample::{HostShare, OpenLoopSample, Sample};
use site::ServerSite;
pub use site::{Loopback, Site};

/// How long a new rig runs before its first measurement, to fault in buffers and open congestion windows.
const WARM_UP: Duration = Duration::from_millis(20);

/// A running scenario.
#[derive(Debug)]
pub struct Rig {
    ends: Ends,
    scenario: Scenario,
    about: RigInfo,
    /// An end failed, so nothing more can be measured.
    broken: bool,
}

#[derive(Debug)]
enum Ends {
    Local(Box<LocalRig>),
    Hosts(Box<dyn ClientCluster>),
}

impl Rig {
    /// Sets up a rig over loopback in this process and warms it up.
    pub fn build(scenario: &Scenario) -> Result<Self, RigError> {
        Loopback.build(scenario)
    }

    /// A rig whose clients are on other hosts, which have set it up.
    #[doc(hidden)]
    pub fn of_cluster(scenario: &Scenario, cluster: Box<dyn ClientCluster>, about: RigInfo) -> Self {
        Self { ends: Ends::Hosts(cluster), scenario: scenario.clone(), about, broken: false }
    }

    /// Sets up a rig with the server at `site` and the clients in this process, and warms it up.
    #[doc(hidden)]
    pub fn with_local_clients(site: &impl ServerSite, scenario: &Scenario) -> Result<Self, RigError> {
        (scenario.receive.probe)(scenario.verify)
            .map_err(|reason| RigError::Unsupported { path: scenario.receive.name, reason })?;
        open_files::allow(scenario)?;
        if site.serves_here() {
            check_memory(std::slice::from_ref(scenario))?;
        }
        let cpus = placement::cpus().map_err(setup("the process's CPUs could not be read"))?;
        check_generator(scenario, &cpus)?;
        let (update_sender, updates) = unbounded();
        let reached = site.start_server(scenario, &cpus, update_sender)?;
        let cpus = reached.shared_cpus.clone().unwrap_or(cpus);
        check_generator(scenario, &cpus)?;
        let plan = site.client_plan(scenario, reached.one_host, &cpus);
        let mut placed = plan.cpu_usage(cpus.len());
        if let (false, Some(sender_cpus)) = (reached.one_host, reached.sender_cpus) {
            placed = CpuUsage { cpus: placed.cpus + sender_cpus, sender_cpus, separate_cpus: true };
        }
        let configs = client_configs(scenario, plan.clients, reached.address, reached.ticket)
            .map_err(setup("a client could not connect"))?;
        let applied = configs.first().map(|config| AppliedOptions::of(&config.socket)).transpose();
        let applied = applied.map_err(setup("socket options could not be read back"))?.unwrap_or_default();
        let receive = configs.first().and_then(|config| config.receiver.buffer_offset());
        let (outcomes_to, outcomes) = unbounded();
        let clients = Clients::start(configs, plan.generator, &outcomes_to)
            .map_err(setup("a client's thread could not start"))?;
        let local = LocalRig {
            clients,
            _server: reached.guard,
            updates,
            outcomes,
            client_count: scenario.clients,
            stall: scenario.options.stall_timeout,
            preparation: scenario.preparation(),
            relay: reached.relay,
            throttling: ThrottleCounters::open(),
        };
        let ready = local.await_ready()?;
        let about = RigInfo {
            // A client's own TCP_NODELAY applies to its requests.
            applied: AppliedOptions { nodelay: scenario.options.nodelay, ..applied },
            address: reached.address,
            placed,
            copied_because: reached.copied_because,
            huge_share: ready.huge_share,
            offsets: BufferOffsets {
                message: ready.message_offset,
                receive: receive.map(|offset| offset as u16),
            },
            idle_walk: ready.idle_walk,
            report: reached.report,
        };
        let mut rig =
            Self { ends: Ends::Local(Box::new(local)), scenario: scenario.clone(), about, broken: false };
        rig.run(Work::Window(WARM_UP))?;
        Ok(rig)
    }

    /// The scenario that it runs.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The options of its connections, as the kernel reports them.
    pub fn applied(&self) -> &AppliedOptions {
        &self.about.applied
    }

    /// For the layout `huge`: the share of the messages' memory, 0 to 1, that is backed by huge pages.
    pub fn huge_share(&self) -> Option<f64> {
        self.about.huge_share
    }

    /// The offsets in a page at which its buffers start.
    pub fn offsets(&self) -> BufferOffsets {
        self.about.offsets
    }

    /// Why the kernel copies zero-copy sends on this route, if known.
    pub fn copied_because(&self) -> Option<&str> {
        self.about.copied_because.as_deref()
    }

    /// The CPUs of its threads.
    pub fn placed(&self) -> CpuUsage {
        self.about.placed
    }

    /// The pointer chase of all server threads before anything was sent, if requested.
    pub fn idle_walk(&self) -> Walk {
        self.about.idle_walk
    }

    /// The address of its server.
    pub fn address(&self) -> SocketAddr {
        self.about.address
    }

    /// What its site found out during the set-up; `None` if it has nothing of this type.
    #[doc(hidden)]
    pub fn site_report<T: Any>(&self) -> Option<&T> {
        self.about.report.as_deref()?.downcast_ref()
    }

    /// Does `work` on all clients. After an error other than [`RigError::OpenLoop`] the rig cannot be used again.
    ///
    /// # Errors
    /// [`RigError`] says which end failed, or that this rig cannot do an open loop.
    pub fn run(&mut self, work: Work) -> Result<Sample, RigError> {
        self.run_with_barrier(work, &mut NoBarrier)
    }

    /// As [`Rig::run`], with a barrier for the window. A cluster of hosts synchronises its windows itself and
    /// ignores it.
    #[doc(hidden)]
    pub fn run_with_barrier(
        &mut self,
        work: Work,
        barrier: &mut dyn WindowBarrier,
    ) -> Result<Sample, RigError> {
        if self.broken {
            return Err(RigError::Broken);
        }
        if let Work::OpenLoop(load) = work {
            check_load(&self.scenario, load)?;
        }
        let result = match &mut self.ends {
            Ends::Local(local) => local.run(work, barrier),
            Ends::Hosts(cluster) => cluster.run(work),
        };
        if result.is_err() {
            self.broken = true;
            if let Ends::Local(local) = &self.ends {
                local.clients.shutdown();
            }
        }
        result
    }

    /// Facts about the rig.
    #[doc(hidden)]
    pub fn info(&self) -> &RigInfo {
        &self.about
    }
}

/// Checks that the generator of an open loop can have a CPU of its own.
fn check_generator(scenario: &Scenario, cpus: &[usize]) -> Result<(), RigError> {
    let lacks = scenario.open_loop && placement::reserve(true, cpus).0.is_none();
    if lacks { Err(RigError::OpenLoopCpus { cpus: cpus.len() }) } else { Ok(()) }
}

/// Checks that a rig of `scenario` can do `load`.
fn check_load(scenario: &Scenario, load: OpenLoop) -> Result<(), RigError> {
    if !scenario.open_loop {
        return Err(RigError::OpenLoop("this rig has no generator: build it from Scenario::for_open_loop"));
    }
    if load.interval.is_zero() {
        return Err(RigError::OpenLoop("the time between messages of an open loop must be above 0"));
    }
    Ok(())
}

/// Connects all clients in the network namespace of their threads, because a socket belongs to the namespace
/// in which it was made.
fn client_configs(
    scenario: &Scenario,
    placements: Vec<ThreadPlacement>,
    server: SocketAddr,
    ticket: Ticket,
) -> io::Result<Vec<ClientConfig>> {
    let netns = placements.first().and_then(|thread| thread.netns.clone());
    let connect = move || {
        let config = |(client, placement)| client_config(scenario, client, placement, server, ticket);
        placements.into_iter().enumerate().map(config).collect()
    };
    let Some(netns) = netns else { return connect() };
    thread::scope(|scope| {
        let there = move || netns.enter().and_then(|()| connect());
        let thread = thread::Builder::new().name("connect".into()).spawn_scoped(scope, there)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn client_config(
    scenario: &Scenario,
    client: usize,
    placement: ThreadPlacement,
    server: SocketAddr,
    ticket: Ticket,
) -> io::Result<ClientConfig> {
    let socket = connection::connect(server, &scenario.options)?;
    let hello = Hello::data(client as u32, ticket).encode();
    if socket.send(&hello, SendFlags::NONE)? != hello.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let receiver = (scenario.receive.open)(socket.try_clone()?, scenario.offsets.receive_begin())?;
    let deck = scenario.deck(client);
    let verifier = scenario.verify.then(|| match &deck {
        None => Verifier::new(&scenario.spec),
        Some(deck) => Verifier::of_deck(deck.clone(), &scenario.placed_spec()),
    });
    let sizes = deck.map_or(Sizes::Same(scenario.spec.size as u64), |deck| Sizes::Deck(Box::new(deck)));
    let counted = client < scenario.counted_threads;
    Ok(ClientConfig { placement, socket, receiver, verifier, sizes, counted })
}
