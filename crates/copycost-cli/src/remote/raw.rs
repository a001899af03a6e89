//! The original experiment's two programs: a server that sends to whoever connects until it closes, and a client
//! that receives for a while. There is no hello and no ask; nothing is assumed of what the other end is.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender as Departures;

use super::LONGEST;
use super::server::room_for;
use copycost::cost::cpu::{CpuSpent, ThreadCpu};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::internals::server::{ConnectionHandler, Incoming};
use copycost::internals::sys::socket::{Socket, WakeReason};
use copycost::message::Spec;
use copycost::offset::BufferStart;
use copycost::recv::ReceivePath;
use copycost::send::{Ledger, SendPath, Sender, SenderConfig, drain};

/// How long the kernel may take at most to release everything when a client has gone.
const DRAIN: Duration = Duration::from_secs(5);

/// Sends messages of one path and size to whoever connects.
#[derive(Debug)]
pub struct RawHost {
    /// How.
    pub path: &'static SendPath,
    /// What.
    pub spec: Spec,
    /// What each sender is opened with.
    pub terms: SenderConfig,
    /// How long a client may take nothing.
    pub stall: Duration,
    /// How many clients are served at once; one more is shown the door.
    pub most_clients: usize,
    /// How many are being served.
    pub serving: Arc<AtomicUsize>,
    /// Finish the message at hand and end.
    pub stopping: Arc<AtomicBool>,
    /// Where it is told that a client has gone.
    pub departures: Departures<Departure>,
}

/// A client that has gone, or was sent away.
#[derive(Debug)]
pub struct Departure {
    /// Who.
    pub peer: SocketAddr,
    /// Bytes handed to the kernel for it.
    pub bytes: u64,
    /// How long it was served.
    pub elapsed: Duration,
    /// What the kernel told; `None` for a path that is told nothing.
    pub ledger: Option<Ledger>,
    /// Why it ended, where that was not the client's wish.
    pub error: Option<io::Error>,
}

impl ConnectionHandler for RawHost {
    fn handle(&self, visit: Incoming) {
        let began = Instant::now();
        let mut bytes = 0;
        let one_more = |served| (served < self.most_clients).then_some(served + 1);
        let result = match self.serving.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more) {
            Ok(_) => {
                visit.pending.is_over(None);
                let result = self.serve(&visit, &mut bytes);
                // Before the departure is told: whoever reads of it may send the next client.
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
        // Nobody listens any more when the host has stopped.
        let _ = self.departures.send(Departure {
            peer: visit.peer,
            bytes,
            elapsed: began.elapsed(),
            ledger,
            error,
        });
    }
}

impl RawHost {
    fn serve(&self, visit: &Incoming, bytes: &mut u64) -> io::Result<Option<Ledger>> {
        room_for(MessagePool::memory(&self.spec)).map_err(|left| {
            io::Error::other(format!("its messages need more than half of the memory that is left: {left}"))
        })?;
        let mut supply = MessagePool::new(&self.spec, false)?;
        let terms = self.terms.clone();
        let mut sender = (self.path.open)(visit.socket.try_clone()?, &supply, terms)?;
        let result = self.send_until_gone(&mut supply, &mut *sender, bytes);
        if result.is_ok() {
            // What is on its way arrives before the end does.
            connection::flush_nagle(&visit.socket)?;
        }
        if drain(&mut *sender, Instant::now() + DRAIN.min(self.stall)).is_err() {
            sender.abort();
        }
        end(&visit.socket);
        let told = self.path.release == copycost::send::Release::OnCompletion;
        result.map(|()| told.then(|| sender.ledger()))
    }

    fn send_until_gone(
        &self,
        supply: &mut MessagePool,
        sender: &mut dyn Sender,
        bytes: &mut u64,
    ) -> io::Result<()> {
        /// Reading the clock costs nothing beside so many messages.
        const MESSAGES_PER_LOOK: u64 = 64;
        let end = Instant::now() + LONGEST;
        let mut messages = 0u64;
        while !self.stopping.load(Ordering::Relaxed) {
            messages += 1;
            if messages.is_multiple_of(MESSAGES_PER_LOOK) && Instant::now() > end {
                let minutes = LONGEST.as_secs() / 60;
                return Err(io::Error::other(format!("the time limit of {minutes} minutes is over")));
            }
            let message = supply.next(sender, self.stall)?;
            match sender.send(message) {
                Ok(()) => *bytes += message.size() as u64,
                // This is how a client says that it has enough.
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

/// Ends a connection so that the client gets all that was sent: closed with something unread, as from a client that
/// says what it wants, the connection would be reset.
fn end(socket: &Socket) {
    const PATIENCE: Duration = Duration::from_secs(1);
    // ENOTCONN: the client was faster.
    let _ = socket.options().shutdown(Shutdown::Write);
    let by = Instant::now() + PATIENCE;
    let mut waste = [0; 4096];
    while Instant::now() < by
        && matches!(socket.readable_by(by), Ok(WakeReason::Ready))
        && socket.recv(&mut waste).is_ok_and(|bytes| bytes > 0)
    {}
}

/// What a client of a raw server received.
#[derive(Debug, Clone, Copy)]
pub struct RawReceived {
    /// Bytes.
    pub bytes: u64,
    /// From the connection to the last byte.
    pub elapsed: Duration,
    /// CPU time of the receiving thread.
    pub cpu: Option<CpuSpent>,
    /// The server ended the connection before the time was over.
    pub ended: bool,
}

/// Receives from a raw server at the first of `addresses` that answers, for `time`. `progress` is called about every 100 ms with the bytes and the
/// time so far, and ends it early by returning false.
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
    // A silent server must not hold the last tick.
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
