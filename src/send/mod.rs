//! The send paths: ways to hand a message to the kernel. The family's shape, and the one list of its members.
//!
//! A new path is a file beside these, a `mod` line and an entry in [`ALL`]. Benchmark ids, `copycost list`,
//! `--path`, the delivery tests and the README's table read that list.

mod budget;
mod completions;
mod ledger;
mod one_copy;
mod two_copy;
pub mod uring;
mod zero_copy;

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;

use crate::message::{FIELDS, Message, Spec};
use crate::supply::Supply;
use crate::sys::socket::Socket;

pub use budget::{Budget, Limits};
pub use completions::{Completion, Garbled, Tally, Tracker};
pub use ledger::{Copies, Ledger};
pub use one_copy::OneCopy;
pub use two_copy::TwoCopy;
pub use zero_copy::ZeroCopy;

/// Every send path, in the order in which they are shown.
pub static ALL: &[SendPath] = &[
    two_copy::PATH,
    one_copy::PATH,
    zero_copy::PATH,
    uring::send::PATH,
    uring::sendmsg::PATH,
    uring::sendzc::PATH,
    uring::fixed::PATH,
];

/// The three paths of the original experiment: what is measured unless more is asked for.
pub const ORIGINAL: [&str; 3] = [two_copy::PATH.name, one_copy::PATH.name, zero_copy::PATH.name];

/// The path of this name.
pub fn by_name(name: &str) -> Option<&'static SendPath> {
    ALL.iter().find(|path| path.name == name)
}

/// One way to hand messages to the kernel.
#[derive(Debug)]
pub struct SendPath {
    /// The first part of the benchmark id.
    pub name: &'static str,
    /// One line: the copies, in order, and who makes them.
    pub about: &'static str,
    /// When the caller may write into a message again.
    pub release: Release,
    /// Holds messages back to send them in batches: not comparable with paths that do not.
    pub delays: bool,
    /// Whether this kernel and this message can be had.
    pub probe: fn(&Spec) -> Result<(), Unsupported>,
    /// A sender on a connection.
    pub open: fn(Socket, &Supply, Terms) -> io::Result<Box<dyn Sender>>,
}

/// What a sender is opened with, beside its connection and its messages.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What it may have in flight.
    pub budget: Budget,
    /// Each message is waited for (a latency run, with TCP_NODELAY): a path that makes several calls for a message
    /// joins them with MSG_MORE, or each call would be a segment of its own.
    pub urgent: bool,
}

/// When a path lets go of a message's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// As soon as `send` returns, or `flush` of a path that delays: the bytes were copied.
    OnReturn,
    /// When the kernel has said that it is done with the pages.
    OnCompletion,
    /// The kernel never says: only for memory that is never written again.
    Never,
}

/// Why a path cannot be measured here: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Takes messages and hands them to the kernel.
pub trait Sender: Send + fmt::Debug {
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

/// Hands all of `message` to `call`, again with what is left and its length after each short count.
#[inline]
fn send_all(
    message: &Message,
    mut call: impl FnMut(&[IoSlice<'_>], usize) -> io::Result<usize>,
) -> io::Result<()> {
    let mut tail;
    let mut slices = message.slices();
    let mut sent = 0;
    // One place that calls, so that it is inlined (the reason stands in `Socket::counted`).
    while sent < message.size() {
        sent += call(slices, message.size() - sent)?;
        if sent < message.size() {
            tail = tail_of(message, sent);
            slices = &tail;
        }
    }
    Ok(())
}

/// The fields of `message` without its first `sent` bytes.
#[cold]
fn tail_of(message: &Message, sent: usize) -> ArrayVec<IoSlice<'_>, FIELDS> {
    let mut skip = sent;
    let mut tail = ArrayVec::new();
    for field in message.slices() {
        let skipped = skip.min(field.len());
        skip -= skipped;
        if skipped < field.len() {
            tail.push(IoSlice::new(&field[skipped..]));
        }
    }
    tail
}

/// A blocking send reports its timeout as EAGAIN; say what it means.
fn stalled(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "the peer took nothing until the timeout")
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
