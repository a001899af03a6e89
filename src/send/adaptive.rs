//! `adaptive`: what the crate `zerosend` does by its policy `Auto`, which a server gets that leaves the choice to it.
//!
//! The copies, by message: in several pieces and of at most 16 KiB as `flatten` makes them; by reference from 32 KiB in a piece on, as
//! long as the kernel does not copy what it is given so; otherwise as `onecopy` makes them. Whether the kernel copies is asked once
//! for each pair of addresses, for all connections of the process, and again after a minute. Nothing is timed: the bounds are
//! measured beforehand. How messages went, and why, stands in the ledger ([`Decisions`]).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use zerosend::{Memory, Payload, Policy};

use super::{Budget, Decisions, Ledger, Release, SendPath, Sender, ZeroCopy};
use crate::message::Message;
use crate::sys::message::InRuns;
use crate::sys::socket::Socket;

pub(super) const PATH: SendPath = SendPath {
    name: "adaptive",
    about: "zerosend's Auto: small messages as flatten, large pieces as zerocopy unless the kernel copies them, others as onecopy",
    also: &["auto"],
    release: Release::OnCompletion,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, terms| Ok(Box::new(Adaptive::new(socket, terms.budget)?)),
};

/// Sends each message as zerosend's policy `Auto` decides. In a server of your own, use that crate.
#[derive(Debug)]
pub struct Adaptive {
    inner: ZeroCopy,
}

impl Adaptive {
    /// A sender on a connected socket; sets SO_ZEROCOPY where the kernel has it, and copies where it has not.
    ///
    /// # Errors
    /// Where the socket is not connected, or the connection has SO_ZEROCOPY already.
    pub fn new(socket: Socket, budget: Budget) -> io::Result<Self> {
        Ok(Self { inner: ZeroCopy::with_policy(socket, budget, Policy::Auto)? })
    }
}

impl Sender for Adaptive {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        let memory = InRuns::of(Arc::clone(message)) as Arc<dyn Memory>;
        self.inner.send_payload(Payload::from(memory))
    }

    fn reap(&mut self, by: Instant) -> io::Result<bool> {
        self.inner.reap(by)
    }

    fn abort(&mut self) {
        self.inner.abort();
    }

    fn ledger(&self) -> Ledger {
        let decisions = Decisions::from(self.inner.stats().decisions);
        Ledger { decisions: Box::new(decisions), ..self.inner.ledger() }
    }
}
