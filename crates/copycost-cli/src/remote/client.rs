//! The end that measures: a control connection for each rig, whose news are those of the host's threads.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::frame;
use super::frame::MOST_FROM_HOST;
use super::handshake::{HandshakeError, greet_host};
use super::order::{OfferedService, ServerReply, ServiceOrder, sentence};
use super::token::Token;
use super::{HANDSHAKE, LONGEST, ProcessLocation};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::placement::{ClientRange, PlacementPlan};
use copycost::internals::server::{STACK_BYTES, SenderFailure, WorkerEvent, WorkerUpdate};
use copycost::internals::sys::socket::{Socket, WakeReason};
use copycost::rig::{Rig, RigError, ServerGuard, ServerHandle, ServerSite, Site, SiteError};
use copycost::scenario::{MAX_CLIENTS, Scenario};
use copycost::send::Ledger;

/// Where another host serves.
#[derive(Debug, Clone)]
pub struct RemoteSite {
    /// Its addresses, of which the first that answers is taken; at least one.
    pub addresses: Vec<SocketAddr>,
    /// The secret that both know.
    pub token: Option<Token>,
    /// Which of several guests' clients these are.
    pub shares: ClientShares,
    /// The address that answered [`Site::check`].
    answered: OnceLock<SocketAddr>,
}

/// Which of all clients a guest's are, where several guests measure together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientShares {
    /// Of those whom the host serves.
    pub server: ClientRange,
    /// Of those on the CPUs of the guest.
    pub client: ClientRange,
}

impl RemoteSite {
    /// The host at `addresses`, for a guest that measures alone.
    pub fn new(addresses: Vec<SocketAddr>, token: Option<Token>) -> Self {
        Self { addresses, token, shares: ClientShares::default(), answered: OnceLock::new() }
    }

    /// The addresses to try: once one has answered, that one.
    fn candidates(&self) -> &[SocketAddr] {
        self.answered.get().map_or(&self.addresses, std::slice::from_ref)
    }
}

impl Site for RemoteSite {
    fn transport(&self) -> &'static str {
        // Another process on this host, not another host.
        let here = self.candidates().iter().all(|address| address.ip().is_loopback());
        if here { "loopback" } else { "remote" }
    }

    fn check(&self, options: &ConnectionOptions) -> Result<(), RigError> {
        let (_, address) = dial(self, options)?;
        let _ = self.answered.set(address);
        Ok(())
    }

    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError> {
        Rig::with_clients_here(self, scenario)
    }
}

impl ServerSite for RemoteSite {
    /// The other host judges for itself.
    fn serves_here(&self) -> bool {
        false
    }

    fn seats(&self, scenario: &Scenario, cpus: &[usize]) -> PlacementPlan {
        PlacementPlan::plan(scenario.placement, self.shares.client.total(scenario.clients), cpus)
    }

    /// With the clients of other rigs on the same CPUs, beside them.
    fn client_seats(&self, scenario: &Scenario, one_host: bool, cpus: &[usize]) -> PlacementPlan {
        let seats = self.seats(scenario, cpus).for_clients(one_host, cpus);
        seats.range(self.shares.client, scenario.clients)
    }

    /// The server probes, plans and bounds by itself. The site's report is the [`crate::conditions::Conditions`] of its host.
    fn reach(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        news: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError> {
        let machine = ProcessLocation::here(cpus);
        let order = ServiceOrder { among: self.shares.server, machine, ..ServiceOrder::of(scenario) };
        let (call, offered) = ControlConnection::place(self, &order, &scenario.options, news)?;
        // Only CPUs that this process has: what another host says is not to be trusted.
        let own = |shared: Vec<usize>| -> Vec<usize> {
            shared.into_iter().filter(|cpu| cpus.contains(cpu)).collect()
        };
        let shared_cpus = offered.shared_cpus.map(own);
        Ok(ServerHandle {
            one_host: shared_cpus.as_ref().map_or_else(|| call.one_host(), |shared| !shared.is_empty()),
            shared_cpus: shared_cpus.filter(|shared| !shared.is_empty()),
            address: call.address(),
            end: Box::new(call),
            ticket: offered.ticket.into(),
            sender_cpus: Some(offered.sender_cpus),
            copied_because: offered.copied_because,
            relay: None,
            report: Some(Arc::new(offered.conditions)),
        })
    }
}

impl ServerGuard for ControlConnection {}

impl SiteError for CallError {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl From<CallError> for RigError {
    fn from(error: CallError) -> Self {
        Self::Site(Box::new(error))
    }
}

/// Why a host does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no address to try.
    #[error("the host has no address")]
    Nowhere,
    /// Nobody answers there.
    #[error("{address} does not answer: {error}")]
    Unreachable {
        /// The host.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// It is not the host that was meant, or does not let this one in.
    #[error("{address}: {error}")]
    Handshake {
        /// The host.
        address: SocketAddr,
        /// Why.
        error: HandshakeError,
    },
    /// It refuses the scenario.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// The host.
        address: SocketAddr,
        /// Its sentence.
        reason: String,
    },
}

/// An open control connection. Dropped, it ends what the host serves for it.
#[derive(Debug)]
pub struct ControlConnection {
    socket: Socket,
    address: SocketAddr,
    reader: Option<JoinHandle<()>>,
}

/// How long a host may take to set a scenario up: cold messages are gigabytes to fill.
const SET_UP: Duration = Duration::from_secs(30);

impl ControlConnection {
    /// Asks the host at `site` to serve `order`. From then on its news go to `news`.
    pub fn place(
        site: &RemoteSite,
        order: &ServiceOrder,
        options: &ConnectionOptions,
        news: Sender<WorkerUpdate>,
    ) -> Result<(Self, OfferedService), CallError> {
        let (socket, address) = dial(site, options)?;
        let unreachable = |error| CallError::Unreachable { address, error };
        frame::send(&socket, order).map_err(unreachable)?;
        let by = Instant::now() + SET_UP;
        let answer = frame::receive_to_show(&socket, MOST_FROM_HOST, by).map_err(unreachable)?;
        let offered = match answer {
            Some(ServerReply::Offered(offered)) => *offered,
            Some(ServerReply::Refused(reason)) => {
                return Err(CallError::Refused { address, reason: sentence(&reason) });
            }
            Some(ServerReply::News(_)) | None => {
                return Err(unreachable(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        let listening = socket.try_clone().map_err(unreachable)?;
        let reader = thread::Builder::new()
            .name("news".into())
            .stack_size(STACK_BYTES)
            .spawn(move || pass_on(&listening, &news))
            .map_err(unreachable)?;
        Ok((Self { socket, address, reader: Some(reader) }, offered))
    }

    /// Where the host answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the host is this one, seen by another address: then both ends share their CPUs.
    pub fn one_host(&self) -> bool {
        let ends = (self.socket.local_addr(), self.socket.options().peer_addr());
        matches!(ends, (Ok(own), Ok(peer)) if peer.as_socket().is_some_and(|peer| peer.ip() == own.ip()))
    }
}

/// How often a host is asked that ends the connection before it has answered: under a flood of strangers it ends who
/// has been silent longest, and that may be a guest that is slow.
const TRIES: u32 = 4;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// A control connection to the first address that answers, this end let in.
fn dial(site: &RemoteSite, options: &ConnectionOptions) -> Result<(Socket, SocketAddr), CallError> {
    let mut failed = CallError::Nowhere;
    for address in site.candidates().iter().copied() {
        let mut tries = 1;
        loop {
            match dial_once(address, site.token.as_ref(), options) {
                Ok(socket) => return Ok((socket, address)),
                Err(CallError::Handshake { error: HandshakeError::Ended, .. }) if tries < TRIES => {
                    thread::sleep(PAUSE * tries);
                    tries += 1;
                }
                Err(error @ CallError::Unreachable { .. }) => {
                    failed = error;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(failed)
}

fn dial_once(
    address: SocketAddr,
    token: Option<&Token>,
    options: &ConnectionOptions,
) -> Result<Socket, CallError> {
    let unreachable = |error| CallError::Unreachable { address, error };
    let socket = connection::connect(address, options).map_err(unreachable)?;
    connection::configure_control(&socket, options.stall_timeout).map_err(unreachable)?;
    greet_host(&socket, token, Instant::now() + HANDSHAKE)
        .map_err(|error| CallError::Handshake { address, error })?;
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

/// News that may wait while the rig does not listen: each client's thread has two between runs at most.
const MOST_UNHEARD: usize = 4 * MAX_CLIENTS;

/// Passes the host's news on until the connection ends, and that it has ended.
fn pass_on(socket: &Socket, news: &Sender<WorkerUpdate>) {
    let error = loop {
        match next(socket) {
            Ok(Some(_)) if news.len() > MOST_UNHEARD => {
                break io::Error::other("the host sends more messages than its threads can produce");
            }
            Ok(Some(message)) => {
                if news.send(message).is_err() {
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
    let _ = news.send(WorkerUpdate { client: 0, event: failed });
}

fn next(socket: &Socket) -> io::Result<Option<WorkerUpdate>> {
    // Between runs the host is silent for as long as others take their turns; a host that is gone is found out by
    // the keep-alive.
    while socket.readable_by(Instant::now() + HANDSHAKE)? == WakeReason::Late {}
    let by = Instant::now() + HANDSHAKE;
    frame::receive_to_show::<Value>(socket, MOST_FROM_HOST, by)?.map(news).transpose()
}

/// The news in a host's frame.
///
/// # Errors
/// Another answer, or figures that cannot be.
pub fn news(value: Value) -> io::Result<WorkerUpdate> {
    if !is_believable(&value) {
        return Err(io::Error::other("the host reports impossible figures"));
    }
    match serde_json::from_value(value)? {
        ServerReply::News(message) => Ok((*message).into()),
        ServerReply::Refused(reason) => Err(io::Error::other(sentence(&reason))),
        ServerReply::Offered(_) => Err(io::Error::other("it sent a second offer")),
    }
}

/// Whether the figures of a host's news can be. They are added up here, and sums of what somebody makes up would
/// overflow.
fn is_believable(value: &Value) -> bool {
    /// No thread does anything so often in an hour.
    const MOST: f64 = (1u64 << 50) as f64;
    /// No thread's time, of whatever kind, is above that.
    const MOST_SECONDS: f64 = 2.0 * LONGEST.as_secs() as f64;
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() <= MOST),
        Value::Array(values) => values.iter().all(is_believable),
        Value::Object(fields) => fields.iter().all(|(name, value)| match (name.as_str(), value.as_f64()) {
            ("secs", Some(seconds)) => seconds <= MOST_SECONDS,
            _ => is_believable(value),
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
    fn figures_of_an_hour_are_believed_and_those_that_overflow_are_not() {
        let report = serde_json::to_value(SenderReport::default()).unwrap();
        assert!(is_believable(&report));
        assert!(is_believable(
            &json!({"wall": {"secs": 3600, "nanos": 999_999_999}, "bytes": 360_000_000_000_000u64})
        ));
        for value in
            [json!({"secs": 7201}), json!([u64::MAX]), json!({"a": [{"b": -2e15}]}), json!(1u64 << 51)]
        {
            assert!(!is_believable(&value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_number_is_judged(number: u64, float: f64) {
            prop_assert_eq!(is_believable(&json!(number)), number <= 1 << 50);
            let _ = is_believable(&json!({"secs": float}));
        }
    }
}
