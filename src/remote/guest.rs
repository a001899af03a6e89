//! The end that measures: a control connection for each rig, whose news are those of the host's threads.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use super::frame;
use super::handshake::{HandshakeError, greet_host};
use super::order::{Answer, Offered, Order, sentence};
use super::token::Token;
use super::{HANDSHAKE, frame::MOST_FROM_HOST};
use crate::connection::{self, Options};
use crate::protocol::{Hello, Purpose};
use crate::send::Ledger;
use crate::server::{Failure, News, STACK_BYTES, Told};
use crate::sys::socket::Socket;

/// Where another host serves.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its addresses, of which the first that answers is taken; at least one.
    pub addresses: Vec<SocketAddr>,
    /// The secret that both know.
    pub token: Option<Token>,
}

impl Site {
    /// Makes sure that the host is there and lets this one in, and keeps only the address that answered: what is
    /// wrong for all cells of a matrix is told once, before the first.
    pub fn reach(&mut self, options: &Options) -> Result<(), CallError> {
        let (_, address) = dial(self, options)?;
        self.addresses = vec![address];
        Ok(())
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
pub struct Call {
    socket: Socket,
    address: SocketAddr,
    reader: Option<JoinHandle<()>>,
}

/// How long a host may take to set a scenario up: cold messages are gigabytes to fill.
const SET_UP: Duration = Duration::from_secs(30);

impl Call {
    /// Asks the host at `site` to serve `order`. From then on its news go to `news`.
    pub fn place(
        site: &Site,
        order: &Order,
        options: &Options,
        news: Sender<News>,
    ) -> Result<(Self, Offered), CallError> {
        let (socket, address) = dial(site, options)?;
        let unreachable = |error| CallError::Unreachable { address, error };
        frame::send(&socket, order).map_err(unreachable)?;
        let answer = frame::receive(&socket, MOST_FROM_HOST, Instant::now() + SET_UP).map_err(unreachable)?;
        let offered = match answer {
            Some(Answer::Offered(offered)) => *offered,
            Some(Answer::Refused(reason)) => {
                return Err(CallError::Refused { address, reason: sentence(&reason) });
            }
            Some(Answer::News(_)) | None => return Err(unreachable(io::ErrorKind::UnexpectedEof.into())),
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

/// A control connection to the first address that answers, this end let in.
fn dial(site: &Site, options: &Options) -> Result<(Socket, SocketAddr), CallError> {
    let mut failed = CallError::Nowhere;
    for address in site.addresses.iter().copied() {
        let connected = connection::connect(address, options).and_then(|socket| {
            connection::keep_alive(&socket)?;
            frame::send_bytes(&socket, &Hello { purpose: Purpose::Control }.encode())?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => {
                return greet_host(&socket, site.token.as_ref(), Instant::now() + HANDSHAKE)
                    .map(|()| (socket, address))
                    .map_err(|error| CallError::Handshake { address, error });
            }
            Err(error) => failed = CallError::Unreachable { address, error },
        }
    }
    Err(failed)
}

impl Drop for Call {
    fn drop(&mut self) {
        self.socket.shutdown();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Passes the host's news on until the connection ends, and that it has ended.
fn pass_on(socket: &Socket, news: &Sender<News>) {
    let error = loop {
        match next(socket) {
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
    let failed = Told::Failed(Failure { error, ledger: Ledger::default() });
    let _ = news.send(News { client: 0, told: failed });
}

fn next(socket: &Socket) -> io::Result<Option<News>> {
    // Between runs the host is silent for as long as others take their turns; a host that is gone is found out by
    // the keep-alive.
    while !socket.readable_by(Instant::now() + HANDSHAKE)? {}
    match frame::receive(socket, MOST_FROM_HOST, Instant::now() + HANDSHAKE)? {
        Some(Answer::News(message)) => Ok(Some((*message).into())),
        Some(Answer::Refused(reason)) => Err(io::Error::other(sentence(&reason))),
        Some(Answer::Offered(_)) => Err(io::Error::other("it offered twice")),
        None => Ok(None),
    }
}
