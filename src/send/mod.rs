//! The send paths: the ways to hand a message to the kernel. This file has their common interface and the
//! list of them.
//!
//! A new path is a file in this directory, a `mod` line and an entry in [`ALL`]. Benchmark ids, `copycost
//! list`, `--path`, the delivery tests and the table in docs/paths.md use this list.

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

/// Every send path, in display order.
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

/// The three paths of the original experiment, which `cargo bench` measures by default.
pub const ORIGINAL: [&str; 3] = [two_copy::PATH.name, one_copy::PATH.name, zero_copy::PATH.name];

/// The paths that are compared by default: those of the original experiment, and the one that is often faster
/// for small messages.
pub const USUAL: [&str; 4] = [ORIGINAL[0], ORIGINAL[1], ORIGINAL[2], flatten::PATH.name];

/// The path of this name.
pub fn by_name(name: &str) -> Option<&'static SendPath> {
    ALL.iter().find(|path| path.name == name)
}

/// The path that uses `alias`: a system call, a flag, a function of a library.
pub fn known_as(alias: &str) -> Option<&'static SendPath> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '(', ')'], "");
    let wanted = plain(alias);
    ALL.iter().find(|path| [path.name].iter().chain(path.aliases).any(|known| plain(known) == wanted))
}

/// One way to hand messages to the kernel.
///
/// Other names lead to a path too:
///
/// ```
/// assert_eq!(copycost::send::known_as("write_vectored").unwrap().name, "onecopy");
/// ```
#[derive(Debug)]
pub struct SendPath {
    /// The first part of the benchmark id.
    pub name: &'static str,
    /// One line: the copies in order and who makes them.
    pub description: &'static str,
    /// Calls and types that users may know it by. Case does not matter.
    pub aliases: &'static [&'static str],
    /// When the caller may write into a message again.
    pub release: Release,
    /// Whether it holds messages back to send them in batches. It is then not comparable with other paths.
    pub delays: bool,
    /// Checks whether this kernel can send this message by this path.
    pub probe: fn(&Spec) -> Result<(), Unsupported>,
    /// Opens a sender on a connection.
    pub open: OpenSender,
}

/// Opens a sender on a connection. It may register the memory of the messages with the kernel.
pub type OpenSender = fn(Socket, &[Arc<Message>], SenderConfig) -> io::Result<Box<dyn Sender>>;

impl SendPath {
    /// The message nearest to `spec` that this path can send here. If necessary, it is never rewritten or has
    /// another layout. The error says why even that is not possible.
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

/// The settings of a sender.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// How much it may have in flight.
    pub budget: Budget,
    /// Whether the client waits for each message (a latency run with TCP_NODELAY). A path with several calls
    /// for a message then joins them with MSG_MORE, because otherwise each call would be a segment.
    pub urgent: bool,
    /// The offset of the buffer in which a path joins fields. `None`: an offset at which no copy is slow.
    pub staging: Option<BufferStart>,
}

impl SenderConfig {
    /// Settings within `budget` for messages that no client waits for.
    pub fn within(budget: Budget) -> Self {
        Self { budget, urgent: false, staging: None }
    }
}

/// When a path releases a message's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// When `send` returns, because the bytes were copied.
    OnReturn,
    /// When the path is flushed: it holds messages back and copies them then.
    OnFlush,
    /// When the kernel has reported that it is done with the pages.
    OnCompletion,
    /// Never, because the kernel does not report it. The path keeps the message as long as anyone else has a
    /// clone of its `Arc`, so that it is never rewritten.
    Never,
}

/// For a path that never learns when memory is free, so that it cannot be rewritten.
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
/// Not `Send`, because an io_uring works only on the thread that entered it first. Open a sender on the
/// thread that uses it.
///
/// ```compile_fail
/// fn moves<T: Send>() {}
/// moves::<Box<dyn copycost::send::Sender>>();
/// ```
pub trait Sender: fmt::Debug {
    /// Sends one message completely, after all earlier ones. Keeps a clone of the `Arc` for as long as the
    /// kernel may read the memory. An error ends the connection: part of the message may have been sent.
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()>;

    /// Sends the messages that the path holds back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Releases at least one message that the kernel is done with. Waits for it until `by`, then fails with
    /// `TimedOut`. Returns false if no message is held.
    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        let _ = by;
        Ok(false)
    }

    /// Ends the connection without waiting for the peer, to get back memory that the peer never read. Memory
    /// that the kernel still keeps is leaked, because freed memory could be sent.
    fn abort(&mut self) {}

    /// The offset in a page of the buffer in which fields are joined; `None` if there is none or nothing was
    /// sent yet.
    fn staging_offset(&self) -> Option<usize> {
        None
    }

    /// How it has chosen to send its messages so far, and why; cheap, unlike the ledger, which has the same.
    fn decisions(&self) -> Decisions {
        Decisions::default()
    }

    /// What the kernel has reported so far. It can be read after any error. All zeros for a path without
    /// reports.
    fn ledger(&self) -> Ledger {
        Ledger::default()
    }
}

/// Flushes, then reaps until no message is held. Fails with `TimedOut` at `by`.
pub fn drain(sender: &mut dyn Sender, by: Instant) -> io::Result<()> {
    sender.flush()?;
    while sender.reap(by)? {}
    Ok(())
}

/// A sender at its limit waits this long for a release and then copies. Memory that is not released by then
/// usually waits for a delayed acknowledgement: see docs/tuning.md, "Waiting at the bound".
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1);

/// Waits by `reap` for the kernel to release something. Returns false if it is faster to copy. A `starved`
/// sender has waited in vain before: it does not wait until something was released.
fn released_soon(starved: bool, reap: impl FnOnce(Instant) -> io::Result<bool>) -> io::Result<bool> {
    let timeout = if starved { Duration::ZERO } else { RELEASE_TIMEOUT };
    match reap(Instant::now() + timeout) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        result => result,
    }
}

/// Passes all of `message` to `call`, and after each short count the rest and its length.
#[inline]
fn send_all(
    message: &Message,
    call: impl FnMut(&[IoSlice<'_>], usize) -> io::Result<usize>,
) -> io::Result<()> {
    send_slices(message.slices(), message.size(), call)
}

/// As [`send_all`], for `slices` of `size` bytes.
#[inline]
fn send_slices(
    slices: &[IoSlice<'_>],
    size: usize,
    mut call: impl FnMut(&[IoSlice<'_>], usize) -> io::Result<usize>,
) -> io::Result<()> {
    let mut tail;
    let mut rest = slices;
    let mut sent = 0;
    // A single call site, so that `call` is inlined (`Socket::counted` has the reason).
    while sent < size {
        sent += call(rest, size - sent)?;
        if sent < size {
            tail = tail_of(slices, sent);
            rest = &tail;
        }
    }
    Ok(())
}

/// `slices` without their first `sent` bytes. There are at most as many as a message has fields.
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
#[inline(always)] // `Socket::counted` has the reason.
fn send_bytes(socket: &Socket, bytes: &[u8], flags: SendFlags) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = socket.send(rest, flags).map_err(stalled)?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// A blocking send reports its timeout as EAGAIN, which the user would not understand.
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
            assert!(path.description.len() <= 120 && !path.description.is_empty(), "{}", path.name);
        }
    }

    #[test]
    fn messages_that_are_never_released_are_never_rewritten() {
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
