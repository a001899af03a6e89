//! The two programs of the original experiment: a server that sends to every client until the client closes, and a
//! client that receives for a given time. There is no hello and no request, so the other end may be any program.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender as Departures;

use super::LONGEST;
use super::server::room_for;
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::cost::cpu::{CpuSpent, ThreadCpu};
use copycost::internals::pool::MessagePool;
use copycost::internals::server::{ConnectionHandler, Incoming};
use copycost::internals::sys::socket::{Socket, WakeReason};
use copycost::message::Spec;
use copycost::offset::BufferStart;
use copycost::recv::ReceivePath;
use copycost::send::{Ledger, SendPath, Sender, SenderConfig, drain};

/// How long the kernel may take to release all pages after a client has closed.
const DRAIN: Duration = Duration::from_secs(5);

/// A raw server: it sends messages of one path and size to every client.
#[derive(Debug)]
pub struct RawServer {
    pub path: &'static SendPath,
    /// The messages to send.
    pub spec: Spec,
    /// The configuration of each sender.
    pub terms: SenderConfig,
    /// How long a client may receive nothing before its connection is ended.
    pub stall: Duration,
    /// The most clients at once; further ones are rejected.
    pub most_clients: usize,
    /// The number of clients being served now.
    pub serving: Arc<AtomicUsize>,
    /// If set, each connection ends after its current message.
    pub stopping: Arc<AtomicBool>,
    /// Receives a [`Departure`] for every client that has left.
    pub departures: Departures<Departure>,
}

/// A client that has left or was rejected.
#[derive(Debug)]
pub struct Departure {
    /// The client's address.
    pub peer: SocketAddr,
    /// Bytes handed to the kernel for this client.
    pub bytes: u64,
    /// How long the connection lasted.
    pub elapsed: Duration,
    /// The completions that the kernel reported; `None` for a path without completions.
    pub ledger: Option<Ledger>,
    /// The reason for the end; `None` if the client closed the connection.
    pub error: Option<io::Error>,
}

impl ConnectionHandler for RawServer {
    fn handle(&self, incoming: Incoming) {
        let began = Instant::now();
        let mut bytes = 0;
        let one_more = |served| (served < self.most_clients).then_some(served + 1);
        let result = match self.serving.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more) {
            Ok(_) => {
                incoming.pending.identified(None);
                let result = self.serve(&incoming, &mut bytes);
                // Before the departure is reported: its reader may connect the next client at once.
                self.serving.fetch_sub(1, Ordering::SeqCst);
                result
            }
            Err(served) => {
                Err(io::Error::other(format!("the server already has {served} clients: raise --max-clients")))
            }
        };
        let (ledger, error) = match result {
            Ok(ledger) => (ledger, None),
            Err(error) => (None, Some(error)),
        };
        // Sending fails if the server has stopped.
        let _ = self.departures.send(Departure {
            peer: incoming.peer,
            bytes,
            elapsed: began.elapsed(),
            ledger,
            error,
        });
    }
}

impl RawServer {
    fn serve(&self, incoming: &Incoming, bytes: &mut u64) -> io::Result<Option<Ledger>> {
        room_for(self.spec.pool_bytes()).map_err(|left| {
            io::Error::other(format!("its messages need more than half of the memory that is left: {left}"))
        })?;
        let mut pool = MessagePool::new(&self.spec, false)?;
        let config = self.terms.clone();
        let mut sender = (self.path.open)(incoming.socket.try_clone()?, pool.messages(), config)?;
        let result = self.send_until_gone(&mut pool, &mut *sender, bytes);
        if result.is_ok() {
            // Data that TCP still holds back must be sent before the connection ends.
            connection::flush_nagle(&incoming.socket)?;
        }
        if drain(&mut *sender, Instant::now() + DRAIN.min(self.stall)).is_err() {
            sender.abort();
        }
        end(&incoming.socket);
        let has_completions = self.path.release == copycost::send::Release::OnCompletion;
        result.map(|()| has_completions.then(|| sender.ledger()))
    }

    fn send_until_gone(
        &self,
        pool: &mut MessagePool,
        sender: &mut dyn Sender,
        bytes: &mut u64,
    ) -> io::Result<()> {
        /// The clock is read once in this many messages, so that its cost is negligible.
        const MESSAGES_PER_LOOK: u64 = 64;
        let end = Instant::now() + LONGEST;
        let mut messages = 0u64;
        while !self.stopping.load(Ordering::Relaxed) {
            messages += 1;
            if messages.is_multiple_of(MESSAGES_PER_LOOK) && Instant::now() > end {
                let minutes = LONGEST.as_secs() / 60;
                return Err(io::Error::other(format!("the time limit of {minutes} minutes is over")));
            }
            let message = pool.next(sender, self.stall)?;
            match sender.send(message) {
                Ok(()) => *bytes += message.size() as u64,
                // A client ends the transfer by closing the connection.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        sender.flush()
    }
}

/// Ends a connection so that the client gets all data. It first reads what the client may have sent, such as a request:
/// closing a socket with unread data would reset the connection.
fn end(socket: &Socket) {
    const PATIENCE: Duration = Duration::from_secs(1);
    // Fails with ENOTCONN if the client closed first.
    let _ = socket.options().shutdown(Shutdown::Write);
    let by = Instant::now() + PATIENCE;
    let mut waste = [0; 4096];
    while Instant::now() < by
        && matches!(socket.readable_by(by), Ok(WakeReason::Ready))
        && socket.recv(&mut waste).is_ok_and(|bytes| bytes > 0)
    {}
}

/// The result of a client of a raw server.
#[derive(Debug, Clone, Copy)]
pub struct RawReceived {
    /// The number of bytes received.
    pub bytes: u64,
    /// The time from connecting to the last byte, or to the end of the given time.
    pub elapsed: Duration,
    /// The CPU time of the receiving thread; `None` if it cannot be read.
    pub cpu: Option<CpuSpent>,
    /// Whether the server ended the connection before the time was over.
    pub ended: bool,
}

/// Receives for `time` from a raw server at the first of `addresses` that answers. `progress` is called about every 100
/// ms with the bytes and the time so far; it can end the transfer early by returning false.
pub fn receive(
    addresses: &[SocketAddr],
    path: &ReceivePath,
    time: Duration,
    options: &ConnectionOptions,
    progress: &mut dyn FnMut(u64, Duration) -> bool,
) -> io::Result<RawReceived> {
    const TICK: Duration = Duration::from_millis(100);
    let mut connected = Err(io::Error::other("the host has no address"));
    for address in addresses {
        connected = connected.or_else(|_| connection::connect(*address, options));
    }
    let socket = connected?;
    // A silent server must not delay the last tick.
    socket.options().set_read_timeout(Some(TICK))?;
    let mut receiver = (path.open)(socket.try_clone()?, BufferStart::default())?;
    let mut cpu = ThreadCpu::open();
    let (began, earlier) = (Instant::now(), cpu.now());
    let mut received = RawReceived { bytes: 0, elapsed: Duration::ZERO, cpu: None, ended: false };
    let mut next = TICK;
    let mut last_byte = began;
    while began.elapsed() < time {
        match receiver.recv(usize::MAX, &mut |_| {}) {
            Ok(0) => {
                received.ended = true;
                break;
            }
            Ok(n) => {
                received.bytes += n as u64;
                last_byte = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if last_byte.elapsed() > options.stall_timeout {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the server sent nothing before the timeout",
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                received.ended = true;
                break;
            }
            Err(error) => return Err(error),
        }
        if began.elapsed() >= next {
            next += TICK;
            if !progress(received.bytes, began.elapsed()) {
                break;
            }
        }
    }
    received.elapsed = if received.ended { last_byte - began } else { began.elapsed() };
    received.cpu = earlier.ok().and_then(|earlier| cpu.since(earlier).ok());
    Ok(received)
}
