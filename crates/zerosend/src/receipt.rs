//! What comes back from a send: the payload, and what the kernel said of it.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::Payload;
use crate::report::Outcome;
use crate::sync::{Arc, Mutex, PoisonError};

/// A payload that the kernel is done with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Released {
    /// As it was sent; its segments convert back to what they were.
    pub payload: Payload,
    /// What became of its bytes.
    pub outcome: Outcome,
}

/// The payload will not come back: its cursor was dropped before anything was sent, or it came before. The receipt of memory that is leaked,
/// because the kernel never reported that it is done with it, stays pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload was not sent, or the kernel never released it")
    }
}

impl std::error::Error for Lost {}

/// A claim to a payload: it resolves when the kernel is done with it.
///
/// Nobody but the sender drives it: it resolves within [`Sender::try_send`](crate::Sender::try_send),
/// [`Sender::reap`](crate::Sender::reap) and [`Sender::abort`](crate::Sender::abort), and after the sender was dropped in the
/// background. It is a future too, of any runtime. To drop it is fine: the payload is freed when the kernel is done.
#[derive(Debug)]
pub struct Receipt {
    slot: Arc<Slot>,
}

impl Receipt {
    /// A receipt, and where its payload is to be put.
    pub(crate) fn new() -> (Self, Claim) {
        let slot = Arc::new(Slot { state: Mutex::new(State::Pending(None)) });
        (Self { slot: Arc::clone(&slot) }, Claim { slot: Some(slot) })
    }

    /// The payload, if the kernel is done with it; `None` before that, and after it was taken.
    ///
    /// # Errors
    /// [`Lost`] where it will never come.
    pub fn try_take(&mut self) -> Result<Option<Released>, Lost> {
        let mut state = self.slot.state.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Taken) {
            State::Resolved(released) => Ok(Some(released)),
            State::Taken => Ok(None),
            State::Pending(waker) => {
                *state = State::Pending(waker);
                Ok(None)
            }
            State::Lost => {
                *state = State::Lost;
                Err(Lost)
            }
        }
    }

    /// Whether [`Receipt::try_take`] would return something, or has.
    pub fn is_resolved(&self) -> bool {
        !matches!(*self.slot.state.lock().unwrap_or_else(PoisonError::into_inner), State::Pending(_))
    }
}

impl Future for Receipt {
    type Output = Result<Released, Lost>;

    /// Waits for the payload, and drives nothing: see above. `Lost` also where it was taken before.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.state.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Taken) {
            State::Resolved(released) => Poll::Ready(Ok(released)),
            State::Taken => Poll::Ready(Err(Lost)),
            State::Pending(_) => {
                *state = State::Pending(Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Lost => {
                *state = State::Lost;
                Poll::Ready(Err(Lost))
            }
        }
    }
}

#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
}

impl Slot {
    /// Ends the wait.
    fn set(&self, state: State) {
        let before = {
            let mut slot = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut *slot, state)
        };
        // Without the lock: it is anybody's code.
        if let State::Pending(Some(waker)) = before {
            waker.wake();
        }
    }
}

#[derive(Debug)]
enum State {
    /// Whom to wake.
    Pending(Option<Waker>),
    Resolved(Released),
    Taken,
    Lost,
}

/// The sender's side of a receipt. Dropped unresolved it is lost.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Until it is resolved.
    slot: Option<Arc<Slot>>,
}

impl Claim {
    /// Gives the payload to whoever holds the receipt; otherwise it is freed here.
    pub(crate) fn resolve(mut self, released: Released) {
        if let Some(slot) = self.slot.take() {
            slot.set(State::Resolved(released));
            // Where the receipt is gone this was the last owner, and frees the payload after the lock.
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.set(State::Lost);
        }
    }
}

/// `RUSTFLAGS='--cfg loom' cargo test -p zerosend --lib --release loom`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::thread;

    use super::*;

    /// Resolved or lost in one thread, taken in another: it comes once, and nothing stays pending.
    #[test]
    fn loom_a_payload_comes_once() {
        for lost in [false, true] {
            loom::model(move || {
                let (mut receipt, claim) = Receipt::new();
                let resolving = thread::spawn(move || match lost {
                    true => drop(claim),
                    false => claim.resolve(Released { payload: Payload::new(), outcome: Outcome::Copied }),
                });
                let early = receipt.try_take();
                resolving.join().unwrap();
                let late = receipt.try_take();
                match lost {
                    true => assert_eq!(late.unwrap_err(), Lost),
                    false => {
                        let came = [early.unwrap(), late.unwrap()].iter().flatten().count();
                        assert_eq!(came, 1);
                    }
                }
                assert!(receipt.is_resolved());
            });
        }
    }

    /// The receipt is dropped while it is resolved: the payload is freed by one of them.
    #[test]
    fn loom_a_dropped_receipt_frees_the_payload() {
        loom::model(|| {
            let memory = std::sync::Arc::<[u8]>::from([1, 2, 3]);
            let payload = Payload::from(std::sync::Arc::clone(&memory));
            let (receipt, claim) = Receipt::new();
            let resolving =
                thread::spawn(move || claim.resolve(Released { payload, outcome: Outcome::ByReference }));
            drop(receipt);
            resolving.join().unwrap();
            assert_eq!(std::sync::Arc::strong_count(&memory), 1);
        });
    }
}
