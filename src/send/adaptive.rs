//! `adaptive`: the crate `zerosend` with its policy `Auto`, the choice for a server that does not want to
//! decide itself.
//!
//! The copies, by message: several pieces of at most 16 KiB together are sent as `flatten` sends them. Pieces
//! from 32 KiB on go by reference, as long as the kernel does not copy them. All others are sent as `onecopy`
//! sends them. Whether the kernel copies is checked once for each pair of addresses and again after a minute,
//! for all connections of the process. The bounds are constants, not timings at run time. The ledger has the
//! decisions and their reasons ([`Decisions`]).

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
    description: "zerosend's Auto: small messages as flatten, large pieces as zerocopy unless the kernel copies them, others as onecopy",
    aliases: &["auto"],
    release: Release::OnCompletion,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, config| Ok(Box::new(Adaptive::new(socket, config.budget)?)),
};

/// Sends each message as zerosend's policy `Auto` decides. In your own server, use that crate.
#[derive(Debug)]
pub struct Adaptive {
    inner: ZeroCopy,
}

impl Adaptive {
    /// A sender on a connected socket. Sets SO_ZEROCOPY; without it, the sender copies.
    ///
    /// If the socket is not connected, or already has SO_ZEROCOPY.
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

    fn decisions(&self) -> Decisions {
        Decisions::from(self.inner.stats().decisions)
    }

    fn ledger(&self) -> Ledger {
        Ledger { decisions: Box::new(self.decisions()), ..self.inner.ledger() }
    }
}
