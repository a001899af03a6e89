//! The send paths: ways to hand a message to the kernel. The family's shape, and the one list of its members.
//!
//! A new path is a file beside these, a `mod` line and an entry in [`ALL`]. Benchmark ids, `copycost list`,
//! `--path`, the delivery tests and the README's table read that list.

mod adaptive;
mod batched;
mod budget;
mod decisions;
mod flatten;
mod hybrid;
mod ledger;
mod more;
mod one_copy;
mod sendfile;
mod staging;
mod two_copy;
pub mod uring;
mod vmsplice;
mod zero_copy;

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::message::{Buffers, FIELDS, Layout, Message, Spec};
use crate::offset::BufferStart;
use crate::pool::MessagePool;
use crate::sys::socket::SendFlags;

pub use crate::sys::socket::Socket;
pub use crate::unsupported::Unsupported;
pub use adaptive::Adaptive;
pub use batched::Batched;
pub use budget::{Budget, ZeroCopyLimits};
pub use decisions::{Decisions, Reason, SendMethod};
pub use flatten::Flatten;
pub use hybrid::Hybrid;
pub use ledger::{Copies, Ledger};
pub use one_copy::OneCopy;
pub use sendfile::SendFile;
pub use two_copy::TwoCopy;
pub use vmsplice::Vmsplice;
pub use zero_copy::ZeroCopy;

/// Every send path, in the order in which they are shown.
pub static ALL: &[SendPath] = &[
    two_copy::PATH,
    one_copy::PATH,
    zero_copy::PATH,
    flatten::PATH,
    more::PATH,
    batched::PATH,
    hybrid::PATH,
    sendfile::PATH,
    vmsplice::PATH,
    uring::send::PATH,
    uring::sendmsg::PATH,
    uring::sendzc::PATH,
    uring::fixed::PATH,
    adaptive::PATH,
];

/// The three paths of the original experiment: what `cargo bench` measures unless more is asked for.
pub const ORIGINAL: [&str; 3] = [two_copy::PATH.name, one_copy::PATH.name, zero_copy::PATH.name];

/// What is compared unless paths are named: those of the original experiment, and the one that is often ahead of them where
/// messages are small.
pub const USUAL: [&str; 4] = [ORIGINAL[0], ORIGINAL[1], ORIGINAL[2], flatten::PATH.name];

/// The path of this name.
pub fn by_name(name: &str) -> Option<&'static SendPath> {
    ALL.iter().find(|path| path.name == name)
}

/// The path that does what `word` names: a system call, a flag, a function of a library.
pub fn known_as(word: &str) -> Option<&'static SendPath> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '(', ')'], "");
    let wanted = plain(word);
    ALL.iter().find(|path| [path.name].iter().chain(path.also).any(|known| plain(known) == wanted))
}

/// One way to hand messages to the kernel.
///
/// What else people call a path leads to it:
///
/// ```
/// assert_eq!(copycost::send::known_as("write_vectored").unwrap().name, "onecopy");
/// ```
#[derive(Debug)]
pub struct SendPath {
    /// The first part of the benchmark id.
    pub name: &'static str,
    /// One line: the copies, in order, and who makes them.
    pub about: &'static str,
    /// Calls and types by which people know it, whatever their case.
    pub also: &'static [&'static str],
    /// When the caller may write into a message again.
    pub release: Release,
    /// Holds messages back to send them in batches: not comparable with paths that do not.
    pub delays: bool,
    /// Whether this kernel and this message can be had.
    pub probe: fn(&Spec) -> Result<(), Unsupported>,
    /// A sender on a connection.
    pub open: fn(Socket, &MessagePool, SenderConfig) -> io::Result<Box<dyn Sender>>,
}

impl SendPath {
    /// The message nearest to `spec` that this path can send here: where it must be, one that is never rewritten, or
    /// laid out otherwise. The error is the reason why not even that can be had.
    pub fn nearest(&self, spec: &Spec) -> Result<Spec, Unsupported> {
        let reason = match (self.probe)(spec) {
            Ok(()) => return Ok(*spec),
            Err(reason) => reason,
        };
        let laid_out =
            |buffers| Layout::ALL.iter().map(move |layout| Spec { layout: *layout, buffers, ..*spec });
        let constant = Spec { buffers: Buffers::Constant, ..*spec };
        let mut others = laid_out(spec.buffers).chain([constant]).chain(laid_out(Buffers::Constant));
        others.find(|other| (self.probe)(other).is_ok()).ok_or(reason)
    }
}

/// What a sender is opened with, beside its connection and its messages.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// What it may have in flight.
    pub budget: Budget,
    /// Each message is waited for (a latency run, with TCP_NODELAY): a path that makes several calls for a message
    /// joins them with MSG_MORE, or each call would be a segment of its own.
    pub urgent: bool,
    /// Where the buffer begins that a path gathers fields in; `None`: where no copy to or from it is slow.
    pub staging: Option<BufferStart>,
}

impl SenderConfig {
    /// Within `budget`, for messages that nobody waits for, of a server that has learned nothing yet.
    pub fn within(budget: Budget) -> Self {
        Self { budget, urgent: false, staging: None }
    }
}

/// When a path lets go of a message's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// As soon as `send` returns: the bytes were copied.
    OnReturn,
    /// When it has been flushed: the path holds messages back, and copies them then.
    OnFlush,
    /// When the kernel has said that it is done with the pages.
    OnCompletion,
    /// Never, because the kernel does not say: the path keeps the message for as long as anybody else has a clone of its
    /// `Arc`, so that it is never written again.
    Never,
}

/// For a path that is never told that memory is free: such memory cannot be written again.
fn constant_only(spec: &Spec) -> Result<(), Unsupported> {
    match spec.buffers {
        Buffers::Constant => Ok(()),
        Buffers::Ring(_) => Err(Unsupported(
            "the kernel never reports when it is done with a message, so messages cannot be rewritten: use \
             --buffers constant"
                .to_owned(),
        )),
    }
}

/// Takes messages and hands them to the kernel.
///
/// Not `Send`: an io_uring that one thread has entered works on that thread alone. Open a sender on the thread that uses
/// it.
///
/// ```compile_fail
/// fn moves<T: Send>() {}
/// moves::<Box<dyn copycost::send::Sender>>();
/// ```
pub trait Sender: fmt::Debug {
    /// Takes one message, in order, short writes included. Keeps a clone of the `Arc` for as long as the kernel
    /// may read the memory. An error ends the connection: part of the message may have been sent.
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()>;

    /// Hands over what the path holds back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Lets go of at least one message that the kernel has released, waiting for it until `by` (then
    /// `TimedOut`). False: nothing is held.
    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        let _ = by;
        Ok(false)
    }

    /// Ends the connection without waiting for the peer, to get back what it never read. What the kernel keeps
    /// even so is leaked, because freed memory could still be sent.
    fn abort(&mut self) {}

    /// Where in a page the buffer begins that fields are gathered in, as read back; `None` where there is none, or nothing was
    /// sent yet.
    fn staging_offset(&self) -> Option<usize> {
        None
    }

    /// What the kernel has said so far; readable after any error. Zeroes for a path that is told nothing.
    fn ledger(&self) -> Ledger {
        Ledger::default()
    }
}

/// Flushes, then reaps until nothing is held. `TimedOut` when that is not so at `by`.
pub fn drain(sender: &mut dyn Sender, by: Instant) -> io::Result<()> {
    sender.flush()?;
    while sender.reap(by)? {}
    Ok(())
}

/// A sender at its bound waits this long for a release before it copies instead. To copy 64 KiB takes 10 µs, and what
/// is not released within a millisecond waits for a delayed acknowledgement of 40 ms: with 64 KiB of lockable memory
/// waiting for it moved 1 MB/s over loopback, where copying moves gigabytes.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1);

/// Waits a moment by `reap` for the kernel to release something. False: copying is the faster way on. A sender that is
/// `starved` has waited in vain: it copies without waiting, until something is released.
fn released_soon(starved: bool, reap: impl FnOnce(Instant) -> io::Result<bool>) -> io::Result<bool> {
    let moment = if starved { Duration::ZERO } else { RELEASE_TIMEOUT };
    match reap(Instant::now() + moment) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        result => result,
    }
}

/// Hands all of `message` to `call`, again with what is left and its length after each short count.
#[inline]
fn send_all(
    message: &Message,
    call: impl FnMut(&[IoSlice<'_>], usize) -> io::Result<usize>,
) -> io::Result<()> {
    send_slices(message.slices(), message.size(), call)
}

/// The same for `slices` of `size` bytes.
#[inline]
fn send_slices(
    slices: &[IoSlice<'_>],
    size: usize,
    mut call: impl FnMut(&[IoSlice<'_>], usize) -> io::Result<usize>,
) -> io::Result<()> {
    let mut tail;
    let mut rest = slices;
    let mut sent = 0;
    // One place that calls, so that it is inlined (the reason stands in `Socket::counted`).
    while sent < size {
        sent += call(rest, size - sent)?;
        if sent < size {
            tail = tail_of(slices, sent);
            rest = &tail;
        }
    }
    Ok(())
}

/// `slices`, a message's at most, without their first `sent` bytes.
#[cold]
fn tail_of<'a>(slices: &'a [IoSlice<'_>], sent: usize) -> ArrayVec<IoSlice<'a>, FIELDS> {
    let mut skip = sent;
    let mut tail = ArrayVec::new();
    for field in slices {
        let skipped = skip.min(field.len());
        skip -= skipped;
        if skipped < field.len() {
            tail.push(IoSlice::new(&field[skipped..]));
        }
    }
    tail
}

/// Sends all of `bytes`, again after each short count.
#[inline(always)] // For the reason that stands in `Socket::counted`.
fn send_bytes(socket: &Socket, bytes: &[u8], flags: SendFlags) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = socket.send(rest, flags).map_err(stalled)?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// A blocking send reports its timeout as EAGAIN; say what it means.
fn stalled(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "the peer read nothing before the timeout")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_an_id() {
        for path in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == path.name).count(), 1, "{}", path.name);
            assert!(path.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", path.name);
            assert!(path.about.len() <= 120 && !path.about.is_empty(), "{}", path.name);
        }
    }

    #[test]
    fn what_is_never_released_is_never_rewritten() {
        for path in ALL.iter().filter(|path| path.release == Release::Never) {
            let fitting = path.nearest(&Spec::new(64).unwrap()).unwrap();
            let ring = Spec { buffers: Buffers::Ring(2), ..fitting };
            let reason = (path.probe)(&ring).unwrap_err().to_string();
            assert!(reason.contains("--buffers constant"), "{}: {reason}", path.name);
            assert_eq!(path.nearest(&ring), Ok(fitting), "{}", path.name);
        }
    }

    #[test]
    fn short_counts_continue_in_the_middle_of_a_field() {
        let message = Message::new(&Spec::new(27).unwrap()).unwrap();
        let whole: Vec<u8> = message.slices().iter().flat_map(|field| field.to_vec()).collect();
        for step in 1..=28 {
            let mut got = Vec::new();
            send_all(&message, |rest, left| {
                let bytes: Vec<u8> = rest.iter().flat_map(|field| field.to_vec()).collect();
                assert_eq!(bytes.len(), left);
                let taken = step.min(left);
                got.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            })
            .unwrap();
            assert_eq!(got, whole, "{step} bytes a call");
        }
    }
}
