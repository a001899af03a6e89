//! Finds out whether a send goes by reference. The probe looks at the memory and does not ask the kernel: with the
//! relay held, it sends a message and then changes it in place before the relay reads it. Bytes that arrive changed
//! were not copied by the sender.
//!
//! The code in a completion is not reliable. An XDP program that only passes frames makes the kernel copy them and
//! report that it did not. With a packet tap the kernel reports a copy although it only copied the tap's clone.
//!
//! The probe judges only bytes that had left the sender before the change. Bytes that still wait in a socket are held
//! by reference even over loopback, where they are copied later.

use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Lab;
use super::error::LabError;
use super::iproute::inside;
use super::network;
use copycost::internals::connection::{self, AppliedOptions, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::internals::sys::socket::Socket;
use copycost::internals::sys::tcp_info::tcp_info;
use copycost::message::{Buffers, Footprint, Message, Spec, content};
use copycost::scenario::Scenario;
use copycost::send::{Budget, Copies, SendPath, Sender, SenderConfig, ZeroCopyLimits, drain};

/// The largest message of a probe. It must fit into a send buffer with all its pages, or the send would block while the
/// relay is held. A path treats larger messages the same way.
const MOST: usize = 64 << 10;

/// Bytes sent beforehand with the relay running, which opens the congestion window for [`MOST`].
const WARM_UP: usize = 512 << 10;

/// How long the kernel may take to put a message on the wire. It is below the shortest retransmission timeout of TCP
/// (200 ms).
const SENT_WITHIN: Duration = Duration::from_millis(50);

/// The result of probing a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// [`Copies::ByReference`], [`Copies::Copied`], [`Copies::Mixed`], or [`Copies::Unknown`].
    pub copies: Copies,
    /// The observation behind the result, or the reason why it is unknown.
    pub observation: String,
}

/// The path and the message of a probe. A path may treat another message differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProbeKey {
    path: &'static str,
    spec: Spec,
}

impl ProbeKey {
    pub(super) fn of(scenario: &Scenario) -> Self {
        // The probe sends a single message, so the rotation of several does not matter.
        let size = scenario.spec.size.min(MOST);
        let spec =
            Spec { size, buffers: Buffers::Constant, footprint: Footprint::Hot, ..scenario.placed_spec() };
        Self { path: scenario.path.name, spec }
    }
}

/// Probes the scenario's path with one of its messages, cut to [`MOST`] bytes.
pub(super) fn probe(lab: &Lab, scenario: &Scenario, key: ProbeKey) -> Probed {
    match ProbeConnection::open(lab, scenario.path, key.spec, scenario.options)
        .and_then(|connection| connection.run(lab))
    {
        Ok(seen) => seen.judge(),
        Err(error) => Probed { copies: Copies::Unknown, observation: format!("the probe failed: {error}") },
    }
}

/// A connection through the lab and a message to send on it.
struct ProbeConnection {
    sender: Box<dyn Sender>,
    /// Another handle on the sender's socket.
    near: Socket,
    far: Socket,
    message: Arc<Message>,
    patience: Duration,
}

impl ProbeConnection {
    fn open(lab: &Lab, path: &SendPath, spec: Spec, options: ConnectionOptions) -> io::Result<Self> {
        // No segment may wait for an acknowledgement.
        let options = ConnectionOptions { nodelay: true, ..options };
        let listener = lab.listen(&options).map_err(io::Error::other)?;
        let address = listener.local_addr()?;
        let far = lab.connect(address, &options).map_err(io::Error::other)?;
        let (near, _) = listener.accept()?;
        connection::set_timeouts(&near, &options)?;
        let pool = MessagePool::new(&spec, true)?;
        let message = pool.messages().first().cloned().ok_or(io::ErrorKind::InvalidInput)?;
        let applied = AppliedOptions::of(&near)?;
        let budget = Budget::share(&ZeroCopyLimits::of_process(), 1, applied.send_buffer);
        let sender = (path.open)(
            near.try_clone()?,
            pool.messages(),
            SenderConfig { urgent: true, ..SenderConfig::within(budget) },
        )?;
        Ok(Self { sender, near, far, message, patience: options.stall_timeout })
    }

    fn run(mut self, lab: &Lab) -> io::Result<SeenSegments> {
        let size = self.message.size();
        let mut arrived = vec![0; size];
        for _ in 0..WARM_UP.div_ceil(size).min(64) {
            self.send()?;
            self.receive(&mut arrived)?;
        }
        drain(&mut *self.sender, Instant::now() + self.patience)?;
        let before = self.sent()?;
        let held = lab.hold()?;
        self.send()?;
        let until = Instant::now() + SENT_WITHIN;
        let mut left = 0;
        while left < size && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
            left = usize::try_from(self.sent()? - before).unwrap_or(0).min(size);
        }
        flip(&self.message)?;
        drop(held);
        self.receive(&mut arrived)?;
        drain(&mut *self.sender, Instant::now() + self.patience)?;
        Ok(SeenSegments::of(&arrived[..left]))
    }

    fn send(&mut self) -> io::Result<()> {
        self.sender.send(&self.message)?;
        self.sender.flush()
    }

    fn receive(&self, into: &mut [u8]) -> io::Result<()> {
        let complete = self.far.recv_exact(into, Instant::now() + self.patience)?;
        if complete { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Bytes that TCP has sent so far, without retransmissions.
    fn sent(&self) -> io::Result<u64> {
        let info = tcp_info(self.near.as_fd())?;
        let sent = info.bytes_sent.zip(info.bytes_retrans).map(|(all, again)| all - again);
        sent.ok_or_else(|| {
            io::Error::other("this kernel does not report how much has been sent (needs Linux 4.19)")
        })
    }
}

/// Inverts every byte of a message that the kernel may be reading. It writes through `/proc/self/mem`, because Rust
/// does not allow writes to a shared message.
fn flip(message: &Message) -> io::Result<()> {
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    for field in message.slices() {
        let changed: Vec<u8> = field.iter().map(|byte| !byte).collect();
        memory.write_all_at(&changed, field.as_ptr() as u64)?;
    }
    Ok(())
}

/// The arrived bytes of a message, counted by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SeenSegments {
    /// Bytes with the value at the time of the send.
    as_sent: usize,
    /// Bytes with the value after the change.
    changed: usize,
    /// Bytes with neither value.
    strange: usize,
}

impl SeenSegments {
    fn of(arrived: &[u8]) -> Self {
        let mut sent = vec![0; arrived.len()];
        content(0, 0, &mut sent);
        let mut seen = Self::default();
        for (sent, arrived) in sent.iter().zip(arrived) {
            let count = match arrived {
                arrived if arrived == sent => &mut seen.as_sent,
                arrived if *arrived == !sent => &mut seen.changed,
                _ => &mut seen.strange,
            };
            *count += 1;
        }
        seen
    }

    fn judge(self) -> Probed {
        let Self { as_sent, changed, strange } = self;
        let (copies, observation) = match (as_sent, changed, strange) {
            (0, 0, 0) => (Copies::Unknown, "the probe's message was not sent in time".to_owned()),
            (_, _, 1..) => {
                (Copies::Unknown, format!("the probe's message arrived with {strange} unexpected bytes"))
            }
            (0, _, _) => {
                (Copies::ByReference, "bytes that were changed after the send arrived changed".to_owned())
            }
            (_, 0, _) => {
                (Copies::Copied, "bytes that were changed after the send arrived unchanged".to_owned())
            }
            _ => (
                Copies::Mixed,
                format!(
                    "of {} bytes that were changed after the send, {changed} arrived changed",
                    as_sent + changed
                ),
            ),
        };
        Probed { copies, observation }
    }
}

impl Lab {
    /// A listener in the namespace of the server.
    pub fn listen(&self, options: &ConnectionOptions) -> Result<Socket, LabError> {
        let address = SocketAddr::from((network::SERVER, 0));
        inside(&self.network.server.netns, || {
            connection::listen(address, options)
                .map_err(LabError::os("the server could not listen in the lab"))
        })
    }

    /// A connection to `address` from the namespace of the clients.
    pub fn connect(&self, address: SocketAddr, options: &ConnectionOptions) -> Result<Socket, LabError> {
        inside(&self.network.clients.netns, || {
            connection::connect(address, options)
                .map_err(LabError::os("a client could not connect in the lab"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_judged_by_what_they_were_and_became() {
        let mut sent = vec![0; 100];
        content(0, 0, &mut sent);
        let changed: Vec<u8> = sent.iter().map(|byte| !byte).collect();
        let half: Vec<u8> = sent[..50].iter().chain(&changed[50..]).copied().collect();
        let zeroes = vec![0; 100];
        let copies = |bytes: &[u8]| SeenSegments::of(bytes).judge().copies;
        assert_eq!(copies(&sent), Copies::Copied);
        assert_eq!(copies(&changed), Copies::ByReference);
        assert_eq!(copies(&half), Copies::Mixed);
        assert_eq!(copies(&zeroes), Copies::Unknown);
        assert_eq!(copies(&[]), Copies::Unknown);
    }

    #[test]
    fn a_message_that_is_shared_is_changed_in_its_place() {
        for layout in copycost::message::Layout::ALL {
            let spec = Spec { layout: *layout, ..Spec::new(5000).unwrap() };
            let message = Message::new(&spec).unwrap();
            let bytes = || message.slices().iter().flat_map(|field| field.to_vec()).collect::<Vec<u8>>();
            let before = bytes();
            flip(&message).unwrap();
            assert!(
                before.iter().zip(std::hint::black_box(bytes())).all(|(before, after)| *before == !after)
            );
        }
    }
}
