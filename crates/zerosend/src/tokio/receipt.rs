//! A receipt that drives its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use super::link::Link;
use crate::{Lost, Released};

/// A claim to a payload, as a future: it resolves when the kernel is done with it.
///
/// To poll it reads the reports of its connection, so that nobody else has to. When the stream is dropped it resolves in the background.
#[derive(Debug)]
pub struct Receipt {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Copied by the send itself; `None` when it was taken.
    Here(Option<Released>),
    /// With whom reads the reports.
    Pending(crate::Receipt, Weak<Link>),
}

impl Receipt {
    pub(super) fn new(receipt: crate::Receipt, link: Weak<Link>) -> Self {
        Self { kind: Kind::Pending(receipt, link) }
    }

    pub(super) fn released(released: Released) -> Self {
        Self { kind: Kind::Here(Some(released)) }
    }

    /// The payload, if the kernel was seen to be done with it: as [`crate::Receipt::try_take`].
    ///
    /// # Errors
    /// As there.
    pub fn try_take(&mut self) -> Result<Option<Released>, Lost> {
        match &mut self.kind {
            Kind::Here(released) => Ok(released.take()),
            Kind::Pending(receipt, _) => receipt.try_take(),
        }
    }
}

impl Future for Receipt {
    type Output = Result<Released, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.kind {
            Kind::Here(released) => Poll::Ready(released.take().ok_or(Lost)),
            Kind::Pending(receipt, link) => {
                if let Some(link) = link.upgrade() {
                    link.drive_for(cx);
                }
                Pin::new(receipt).poll(cx)
            }
        }
    }
}
