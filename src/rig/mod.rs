//! A warm scenario: server, fleet and connections, ready to run. Every measurement in this crate is
//! [`Rig::run`].

mod barrier;
mod cluster;
mod collector;
mod error;
mod local;
mod memory;
mod open_files;
mod sample;
mod site;

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crossbeam::channel::unbounded;

use crate::cgroup::throttle::ThrottleCounters;
use crate::clients::{ClientConfig, Clients};
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

pub use crate::clients::Work;
pub use barrier::WindowBarrier;
pub use cluster::{BufferOffsets, ClientCluster, RigInfo};
pub use error::{MemoryDemand, RigError, Side, SiteError};
pub use memory::check_memory;
pub use sample::{HostShare, Sample};
pub use site::{
    DRAIN_TIMEOUT, Loopback, RelayMeter, ServerGuard, ServerHandle, ServerSite, Site, SiteReport, available,
    serve,
};

/// What a new rig does before it is handed out: buffers are faulted in, congestion windows are open.
const WARM_UP: Duration = Duration::from_millis(20);

/// A running scenario.
#[derive(Debug)]
pub struct Rig {
    ends: Ends,
    scenario: Scenario,
    about: RigInfo,
    /// An end failed: nothing more can be measured.
    broken: bool,
}

/// Where the clients are.
#[derive(Debug)]
enum Ends {
    Own(Box<LocalRig>),
    Hosts(Box<dyn ClientCluster>),
}

impl Rig {
    /// Sets everything up over loopback in this process and warms it.
    pub fn build(scenario: &Scenario) -> Result<Self, RigError> {
        Loopback.build(scenario)
    }

    /// A rig whose clients are on other hosts, which have set it up.
    pub fn of_crew(scenario: &Scenario, crew: Box<dyn ClientCluster>, about: RigInfo) -> Self {
        Self { ends: Ends::Hosts(crew), scenario: scenario.clone(), about, broken: false }
    }

    /// Sets everything up with the server at `site` and the clients in this process, and warms it.
    pub fn with_clients_here(site: &impl ServerSite, scenario: &Scenario) -> Result<Self, RigError> {
        (scenario.receive.probe)(scenario.verify)
            .map_err(|reason| RigError::Unsupported { path: scenario.receive.name, reason })?;
        open_files::allow(scenario)?;
        if site.serves_here() {
            check_memory(std::slice::from_ref(scenario))?;
        }
        let cpus = placement::cpus().map_err(setup("the process's CPUs could not be read"))?;
        let (news_to, news) = unbounded();
        let reached = site.reach(scenario, &cpus, news_to)?;
        let cpus = reached.shared_cpus.clone().unwrap_or(cpus);
        let seats = site.client_seats(scenario, reached.one_host, &cpus);
        let mut placed = seats.cpu_usage(cpus.len());
        if let (false, Some(sender_cpus)) = (reached.one_host, reached.sender_cpus) {
            placed = CpuUsage { cpus: placed.cpus + sender_cpus, sender_cpus, apart: true };
        }
        let members = members(scenario, seats.clients, reached.address, reached.ticket)
            .map_err(setup("a client could not connect"))?;
        let applied = members.first().map(|member| AppliedOptions::of(&member.socket)).transpose();
        let applied = applied.map_err(setup("socket options could not be read back"))?.unwrap_or_default();
        let receive = members.first().and_then(|member| member.receiver.buffer_offset());
        let (outcomes_to, outcomes) = unbounded();
        let fleet =
            Clients::start(members, &outcomes_to).map_err(setup("a client's thread could not start"))?;
        let own = LocalRig {
            fleet,
            _server: reached.end,
            news,
            outcomes,
            clients: scenario.clients,
            stall: scenario.options.stall_timeout,
            preparation: scenario.preparation(),
            relay: reached.relay,
            throttling: ThrottleCounters::open(),
        };
        let ready = own.await_ready()?;
        let about = RigInfo {
            // A client's own TCP_NODELAY is for its asks.
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
            Self { ends: Ends::Own(Box::new(own)), scenario: scenario.clone(), about, broken: false };
        rig.run(Work::Window(WARM_UP))?;
        Ok(rig)
    }

    /// What it is a rig of.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What its connections have, as read back.
    pub fn applied(&self) -> &AppliedOptions {
        &self.about.applied
    }

    /// For the layout `huge`: the share of the messages' memory, 0 to 1, that the kernel gave huge pages for.
    pub fn huge_share(&self) -> Option<f64> {
        self.about.huge_share
    }

    /// Where in a page its buffers begin, as read back.
    pub fn offsets(&self) -> BufferOffsets {
        self.about.offsets
    }

    /// Why the kernel copies zero-copy sends on this way, where that is known.
    pub fn copied_because(&self) -> Option<&str> {
        self.about.copied_because.as_deref()
    }

    /// The CPUs its threads were placed on.
    pub fn placed(&self) -> CpuUsage {
        self.about.placed
    }

    /// The pointer chase of all server threads before anything was sent, if one was asked for.
    pub fn idle_walk(&self) -> Walk {
        self.about.idle_walk
    }

    /// Where its server listens.
    pub fn address(&self) -> SocketAddr {
        self.about.address
    }

    /// What its site has found out while it set this rig up; `None` where it has nothing of this type.
    pub fn site_report<T: Any>(&self) -> Option<&T> {
        self.about.report.as_deref()?.downcast_ref()
    }

    /// Does `work` on all clients. After an error the rig cannot be used again.
    pub fn run(&mut self, work: Work) -> Result<Sample, RigError> {
        self.run_in_step(work, &mut NoBarrier)
    }

    /// The same, with the window in step with `gate`. Of a rig of many hosts it is their affair with whom they keep
    /// step.
    pub fn run_in_step(&mut self, work: Work, gate: &mut dyn WindowBarrier) -> Result<Sample, RigError> {
        if self.broken {
            return Err(RigError::Broken);
        }
        let result = match &mut self.ends {
            Ends::Own(own) => own.run(work, gate),
            Ends::Hosts(crew) => crew.run(work),
        };
        if result.is_err() {
            self.broken = true;
            if let Ends::Own(own) = &self.ends {
                own.fleet.shutdown();
            }
        }
        result
    }

    /// What there is to know of it, without the rig.
    pub fn about(&self) -> &RigInfo {
        &self.about
    }
}

/// The clients, each with a connection: made where they sit, because a socket belongs to the network in which it was
/// made.
fn members(
    scenario: &Scenario,
    seats: Vec<ThreadPlacement>,
    server: SocketAddr,
    ticket: Ticket,
) -> io::Result<Vec<ClientConfig>> {
    let netns = seats.first().and_then(|seat| seat.netns.clone());
    let connect = move || {
        let member = |(client, seat)| member(scenario, client, seat, server, ticket);
        seats.into_iter().enumerate().map(member).collect()
    };
    let Some(netns) = netns else { return connect() };
    thread::scope(|scope| {
        let there = move || netns.enter().and_then(|()| connect());
        let thread = thread::Builder::new().name("connect".into()).spawn_scoped(scope, there)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn member(
    scenario: &Scenario,
    client: usize,
    seat: ThreadPlacement,
    server: SocketAddr,
    ticket: Ticket,
) -> io::Result<ClientConfig> {
    let socket = connection::connect(server, &scenario.options)?;
    let hello = Hello::data(client as u32, ticket).encode();
    if socket.send(&hello, SendFlags::NONE)? != hello.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let receiver = (scenario.receive.open)(socket.try_clone()?, scenario.offsets.receive_begin())?;
    let verifier = scenario.verify.then(|| Verifier::new(&scenario.spec));
    let (size, counted) = (scenario.spec.size as u64, client < scenario.counted_threads);
    Ok(ClientConfig { placement: seat, socket, receiver, verifier, size, counted })
}
