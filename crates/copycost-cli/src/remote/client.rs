//! The client's end: one control connection per rig, which delivers the updates of the server's threads.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::frame;
use super::frame::MOST_FROM_SERVER;
use super::handshake::{HandshakeError, greet_server};
use super::order::{OfferedService, ServerReply, ServiceOrder, sentence};
use super::token::Token;
use super::{HANDSHAKE, LONGEST, ProcessLocation};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::placement::{ClientRange, PlacementPlan, STACK_BYTES};
use copycost::internals::rig::{ServerGuard, ServerHandle, ServerSite};
use copycost::internals::server::{SenderFailure, WorkerEvent, WorkerUpdate};
use copycost::internals::sys::socket::{Socket, WakeReason};
use copycost::rig::{Rig, RigError, Site, SiteError};
use copycost::scenario::{MAX_CLIENTS, Scenario};
use copycost::send::Ledger;

/// A server on another host, as a [`Site`].
#[derive(Debug, Clone)]
pub struct RemoteSite {
    /// The addresses of the server, at least one. The first that answers is used.
    pub addresses: Vec<SocketAddr>,
    /// The shared secret; `None` for an open server.
    pub token: Option<Token>,
    /// The position of these clients among those of all client hosts.
    pub shares: ClientShares,
    /// The address that answered [`Site::check`].
    answered: OnceLock<SocketAddr>,
}

/// The position of a host's clients among all clients, for several client hosts that measure together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientShares {
    /// Among all clients of the server.
    pub server: ClientRange,
    /// Among all clients on the CPUs of the client host.
    pub client: ClientRange,
}

impl RemoteSite {
    /// The server at `addresses`, for a single client host.
    pub fn new(addresses: Vec<SocketAddr>, token: Option<Token>) -> Self {
        Self { addresses, token, shares: ClientShares::default(), answered: OnceLock::new() }
    }

    /// The addresses to try: only the one that has answered, if any has.
    fn candidates(&self) -> &[SocketAddr] {
        self.answered.get().map_or(&self.addresses, std::slice::from_ref)
    }
}

impl Site for RemoteSite {
    fn transport(&self) -> &'static str {
        // The server is another process on this host.
        let local = self.candidates().iter().all(|address| address.ip().is_loopback());
        if local { "loopback" } else { "remote" }
    }

    fn check(&self, options: &ConnectionOptions) -> Result<(), RigError> {
        let (_, address) = connect(self, options)?;
        let _ = self.answered.set(address);
        Ok(())
    }

    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError> {
        Rig::with_local_clients(self, scenario)
    }
}

impl ServerSite for RemoteSite {
    /// The remote host checks its own conditions.
    fn serves_here(&self) -> bool {
        false
    }

    fn placement_plan(&self, scenario: &Scenario, cpus: &[usize]) -> PlacementPlan {
        scenario.placement_plan(self.shares.client.total(scenario.clients), cpus)
    }

    /// Places the clients next to those of other rigs on the same CPUs.
    fn client_plan(&self, scenario: &Scenario, one_host: bool, cpus: &[usize]) -> PlacementPlan {
        let plan = self.placement_plan(scenario, cpus).for_clients(one_host, cpus);
        plan.range(self.shares.client, scenario.clients)
    }

    /// The server probes the path, plans the placement and sets the limits itself. The report of the handle holds the
    /// [`crate::conditions::Conditions`] of the server's host.
    fn start_server(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        updates: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError> {
        let machine = ProcessLocation::here(cpus);
        let order = ServiceOrder { among: self.shares.server, machine, ..ServiceOrder::of(scenario) };
        let (control, offered) = ControlConnection::open(self, &order, &scenario.options, updates)?;
        if scenario.workload.is_some() && !offered.plays_workload {
            let reason = "its copycost sends messages of one size only: use the same copycost at both ends";
            let address = control.address();
            return Err(ConnectError::Refused { address, reason: reason.to_owned() }.into());
        }
        // The server's list is not trusted: keep only CPUs that this process may use.
        let usable = |shared: Vec<usize>| -> Vec<usize> {
            shared.into_iter().filter(|cpu| cpus.contains(cpu)).collect()
        };
        let shared_cpus = offered.shared_cpus.map(usable);
        Ok(ServerHandle {
            one_host: shared_cpus.as_ref().map_or_else(|| control.one_host(), |shared| !shared.is_empty()),
            shared_cpus: shared_cpus.filter(|shared| !shared.is_empty()),
            address: control.address(),
            guard: Box::new(control),
            ticket: offered.ticket.into(),
            sender_cpus: Some(offered.sender_cpus),
            copied_because: offered.copied_because,
            relay: None,
            report: Some(Arc::new(offered.conditions)),
        })
    }
}

impl ServerGuard for ControlConnection {}

impl SiteError for ConnectError {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl From<ConnectError> for RigError {
    fn from(error: ConnectError) -> Self {
        Self::Site(Box::new(error))
    }
}

/// The reason why no server could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The list of addresses is empty.
    #[error("the host has no address")]
    Nowhere,
    /// No server answers at the address.
    #[error("{address} does not answer: {error}")]
    Unreachable {
        /// The server.
        address: SocketAddr,
        /// The error of the last attempt.
        error: io::Error,
    },
    /// The server is not the intended one, or it rejects this client.
    #[error("{address}: {error}")]
    Handshake {
        /// The server.
        address: SocketAddr,
        /// The step that failed.
        error: HandshakeError,
    },
    /// The server refuses the scenario.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// The server.
        address: SocketAddr,
        /// The server's sentence for the user.
        reason: String,
    },
}

/// An open control connection. Drop ends the service on the server.
#[derive(Debug)]
pub struct ControlConnection {
    socket: Socket,
    address: SocketAddr,
    reader: Option<JoinHandle<()>>,
}

/// How long a server may take to set a scenario up. Cold messages can take gigabytes, all of which are written.
const SET_UP: Duration = Duration::from_secs(30);

impl ControlConnection {
    /// Asks the server at `site` to serve `order`. From then on the updates of its threads go to `updates`.
    pub fn open(
        site: &RemoteSite,
        order: &ServiceOrder,
        options: &ConnectionOptions,
        updates: Sender<WorkerUpdate>,
    ) -> Result<(Self, OfferedService), ConnectError> {
        let (socket, address) = connect(site, options)?;
        let unreachable = |error| ConnectError::Unreachable { address, error };
        frame::send(&socket, order).map_err(unreachable)?;
        let by = Instant::now() + SET_UP;
        let reply = frame::receive_to_show(&socket, MOST_FROM_SERVER, by).map_err(unreachable)?;
        let offered = match reply {
            Some(ServerReply::Offered(offered)) => *offered,
            Some(ServerReply::Refused(reason)) => {
                return Err(ConnectError::Refused { address, reason: sentence(&reason) });
            }
            Some(ServerReply::News(_)) | None => {
                return Err(unreachable(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        let listening = socket.try_clone().map_err(unreachable)?;
        let reader = thread::Builder::new()
            .name("news".into())
            .stack_size(STACK_BYTES)
            .spawn(move || forward_updates(&listening, &updates))
            .map_err(unreachable)?;
        Ok((Self { socket, address, reader: Some(reader) }, offered))
    }

    /// The address at which the server answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the server runs on this host, so that both ends share the CPUs. Judged by the IP addresses of both ends.
    pub fn one_host(&self) -> bool {
        let ends = (self.socket.local_addr(), self.socket.options().peer_addr());
        matches!(ends, (Ok(local), Ok(peer)) if peer.as_socket().is_some_and(|peer| peer.ip() == local.ip()))
    }
}

/// How often a client tries again if the server closes the connection during the handshake. A server that is flooded
/// with connections closes those that have been silent longest, and a slow client may be among them.
const TRIES: u32 = 4;

/// The pause after the first try; later pauses are multiples of it.
const PAUSE: Duration = Duration::from_millis(100);

/// Connects to the first address that answers and completes the handshake.
fn connect(site: &RemoteSite, options: &ConnectionOptions) -> Result<(Socket, SocketAddr), ConnectError> {
    let mut failed = ConnectError::Nowhere;
    for address in site.candidates().iter().copied() {
        let mut attempts = 1;
        loop {
            match connect_once(address, site.token.as_ref(), options) {
                Ok(socket) => return Ok((socket, address)),
                Err(ConnectError::Handshake { error: HandshakeError::Ended, .. }) if attempts < TRIES => {
                    thread::sleep(PAUSE * attempts);
                    attempts += 1;
                }
                Err(error @ ConnectError::Unreachable { .. }) => {
                    failed = error;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(failed)
}

fn connect_once(
    address: SocketAddr,
    token: Option<&Token>,
    options: &ConnectionOptions,
) -> Result<Socket, ConnectError> {
    let unreachable = |error| ConnectError::Unreachable { address, error };
    let socket = connection::connect(address, options).map_err(unreachable)?;
    connection::configure_control(&socket, options.stall_timeout).map_err(unreachable)?;
    greet_server(&socket, token, Instant::now() + HANDSHAKE)
        .map_err(|error| ConnectError::Handshake { address, error })?;
    Ok(socket)
}

impl Drop for ControlConnection {
    fn drop(&mut self) {
        self.socket.shutdown();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Updates that may wait while the rig does not read them. Between runs each client's thread sends two at most.
const MOST_QUEUED: usize = 4 * MAX_CLIENTS;

/// Forwards the server's updates until the connection ends, and then reports its end as a failure.
fn forward_updates(socket: &Socket, updates: &Sender<WorkerUpdate>) {
    let error = loop {
        match next(socket) {
            Ok(Some(_)) if updates.len() > MOST_QUEUED => {
                break io::Error::other("the host sends more messages than its threads can produce");
            }
            Ok(Some(update)) => {
                if updates.send(update).is_err() {
                    return;
                }
            }
            Ok(None) => break io::Error::other("the host ended the control connection"),
            Err(error) => {
                break io::Error::other(format!("the control connection to the host failed: {error}"));
            }
        }
    };
    let failed = WorkerEvent::Failed(SenderFailure { error, ledger: Ledger::default() });
    let _ = updates.send(WorkerUpdate { client: 0, event: failed });
}

fn next(socket: &Socket) -> io::Result<Option<WorkerUpdate>> {
    // Between runs the server is silent while other rigs run, so this wait has no limit. The keep-alive detects a
    // server that is gone.
    while socket.readable_by(Instant::now() + HANDSHAKE)? == WakeReason::Late {}
    let by = Instant::now() + HANDSHAKE;
    frame::receive_to_show::<Value>(socket, MOST_FROM_SERVER, by)?.map(parse_update).transpose()
}

/// The update in a frame of the server.
///
/// # Errors
/// The frame holds another reply, or numbers that are out of range.
pub fn parse_update(value: Value) -> io::Result<WorkerUpdate> {
    if !is_plausible(&value) {
        return Err(io::Error::other("the host reports impossible figures"));
    }
    match serde_json::from_value(value)? {
        ServerReply::News(mut update) => {
            if let WorkerEvent::Failed(failure) = &mut update.event {
                failure.error = io::Error::other(sentence(&failure.error.to_string()));
            }
            Ok(*update)
        }
        ServerReply::Refused(reason) => Err(io::Error::other(sentence(&reason))),
        ServerReply::Offered(_) => Err(io::Error::other("it sent a second offer")),
    }
}

/// Whether all numbers in an update are in range. The client sums them, and made-up numbers could overflow the sums.
fn is_plausible(value: &Value) -> bool {
    /// Above any count that a thread can reach in an hour.
    const MOST: f64 = (1u64 << 50) as f64;
    /// Above any time of a thread, of whatever kind.
    const MOST_SECONDS: f64 = 2.0 * LONGEST.as_secs() as f64;
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() <= MOST),
        Value::Array(values) => values.iter().all(is_plausible),
        Value::Object(fields) => fields.iter().all(|(name, value)| match (name.as_str(), value.as_f64()) {
            ("secs", Some(seconds)) => seconds <= MOST_SECONDS,
            _ => is_plausible(value),
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copycost::internals::server::SenderReport;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn numbers_of_an_hour_are_accepted_and_overflowing_ones_are_not() {
        let report = serde_json::to_value(SenderReport::default()).unwrap();
        assert!(is_plausible(&report));
        assert!(is_plausible(
            &json!({"wall": {"secs": 3600, "nanos": 999_999_999}, "bytes": 360_000_000_000_000u64})
        ));
        for value in
            [json!({"secs": 7201}), json!([u64::MAX]), json!({"a": [{"b": -2e15}]}), json!(1u64 << 51)]
        {
            assert!(!is_plausible(&value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_number_is_checked(number: u64, float: f64) {
            prop_assert_eq!(is_plausible(&json!(number)), number <= 1 << 50);
            let _ = is_plausible(&json!({"secs": float}));
        }
    }
}
