//! A connection as tasks share it: its events, who waits for them, and the sender.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use ::tokio::io::unix::AsyncFd;
use ::tokio::io::{Interest, ReadBuf};

use crate::sys::epoll::{Epoll, Events};
use crate::{Cursor, SendError, Sender, Stats};

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    /// Before the sender, so that the socket is in no epoll instance any more when the sender is waited for in the background.
    epoll: AsyncFd<Epoll>,
    state: Mutex<State>,
    waiting: Arc<Waiting>,
}

#[derive(Debug)]
struct State {
    sender: Sender,
    /// What is to be finished before anything else.
    queued: Option<Cursor>,
    /// What has happened and was not used up yet. Events come once.
    ready: Events,
    /// Bytes that were moved without a wait. The runtime's own budget is asked only where there is one, and a fast peer would keep its
    /// thread.
    unbroken: usize,
}

/// Other tasks have their turn after this much.
const TURN_BYTES: usize = 4 << 20;

/// Who waits. The runtime keeps one waker for the epoll instance, the last that asked, and a task that asked may be gone:
/// so it is always given this, which wakes them all.
#[derive(Debug, Default)]
struct Waiting(Mutex<Wakers>);

#[derive(Debug, Default)]
struct Wakers {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Of receipts.
    others: Vec<Waker>,
}

impl Waiting {
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let wakers = std::mem::take(&mut *self.wakers());
        // Without the lock: it is the runtime's code.
        let others = wakers.others.into_iter();
        wakers.reader.into_iter().chain(wakers.writer).chain(others).for_each(Waker::wake);
    }
}

impl State {
    /// Whether other tasks are next; this one is woken again.
    fn turn_is_over(&mut self, cx: &Context<'_>) -> bool {
        let over = self.unbroken >= TURN_BYTES;
        if over {
            self.unbroken = 0;
            cx.waker().wake_by_ref();
        }
        over
    }

    /// Sends on what is queued: `Ready` when nothing is any more.
    fn finish(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(cursor) = &mut self.queued else { return Poll::Ready(Ok(())) };
        match self.sender.try_send(cursor) {
            Ok(_) if cursor.is_done() => {
                self.queued = None;
                Poll::Ready(Ok(()))
            }
            // It has had its turn: others are next.
            Ok(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.writable = false;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Link {
    pub(super) fn new(sender: Sender) -> io::Result<Self> {
        sender.set_nonblocking(true)?;
        #[allow(
            deprecated,
            reason = "its unsafe replacement is new (tokio 1.54); an Epoll has one descriptor as long as it lives"
        )]
        let epoll = AsyncFd::with_interest(Epoll::watching(sender.stream())?, Interest::READABLE)?;
        let ready = Events { readable: true, writable: true, reports: false };
        let state = Mutex::new(State { sender, queued: None, ready, unbroken: 0 });
        Ok(Self { epoll, state, waiting: Arc::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> Stats {
        self.state().sender.stats()
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.state().sender.peer_addr()
    }

    /// Takes what has happened, and asks to be woken when more does. Whoever waits must be among the wakers before.
    fn drive(&self, state: &mut State) -> io::Result<()> {
        let waker = Waker::from(Arc::clone(&self.waiting));
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(guard) = self.epoll.poll_read_ready(&mut cx) {
            let mut guard = guard?;
            match self.epoll.get_ref().take()? {
                None => {
                    guard.clear_ready();
                    state.unbroken = 0;
                }
                Some(events) => {
                    state.ready.readable |= events.readable;
                    state.ready.writable |= events.writable;
                    // Others may wait for what this task has taken.
                    Arc::clone(&self.waiting).wake();
                    if events.reports {
                        // Its error is the next call's.
                        let _ = state.sender.reap();
                    }
                }
            }
        }
        Ok(())
    }

    /// For a receipt: reads what is reported, and wakes the task when more may be.
    pub(super) fn drive_for(&self, cx: &Context<'_>) {
        let mut state = self.state();
        {
            let mut wakers = self.waiting.wakers();
            if !wakers.others.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.others.push(cx.waker().clone());
            }
        }
        if self.drive(&mut state).is_err() {
            // The runtime has ended, and nobody will wake this task for an event: it looks again by itself.
            let _ = state.sender.reap();
            cx.waker().wake_by_ref();
        }
    }

    /// Calls `attempt` as long as it says that it cannot go on and something has happened that lets it.
    fn poll_writing<T>(
        &self,
        cx: &Context<'_>,
        mut attempt: impl FnMut(&mut State) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.state();
        if state.turn_is_over(cx) {
            return Poll::Pending;
        }
        loop {
            let before = state.sender.stats();
            let polled = attempt(&mut state);
            let after = state.sender.stats();
            state.unbroken += (after.bytes_by_reference + after.bytes_copied
                - before.bytes_by_reference
                - before.bytes_copied) as usize;
            if let Poll::Ready(result) = polled {
                return Poll::Ready(result);
            }
            if state.ready.writable {
                // There is room: it has had its turn, and has woken this task for the next.
                return Poll::Pending;
            }
            self.waiting.wakers().writer = Some(cx.waker().clone());
            self.drive(&mut state)?;
            if !state.ready.writable {
                return Poll::Pending;
            }
        }
    }

    pub(super) fn poll_finish(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(cx, |state| state.finish(cx))
    }

    /// Finishes what is queued, and then queues and finishes what is in `cursor`.
    pub(super) fn poll_send(
        &self,
        cx: &Context<'_>,
        cursor: &mut Option<Cursor>,
    ) -> Poll<Result<(), SendError>> {
        let polled = self.poll_writing(cx, |state| {
            loop {
                std::task::ready!(state.finish(cx))?;
                match cursor.take() {
                    None => return Poll::Ready(Ok(())),
                    Some(next) => state.queued = Some(next),
                }
            }
        });
        polled.map_err(|error| {
            // One that was queued before this has failed, or this one has.
            let failed = cursor.take().or_else(|| self.state().queued.take());
            let payload = failed.and_then(|cursor| cursor.into_payload().ok());
            SendError::new(error, payload)
        })
    }

    pub(super) fn poll_write(&self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, |state| {
            std::task::ready!(state.finish(cx))?;
            match state.sender.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.ready.writable = false;
                    Poll::Pending
                }
                written => Poll::Ready(written),
            }
        })
    }

    pub(super) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(cx, |state| {
            std::task::ready!(state.finish(cx))?;
            Poll::Ready(state.sender.shutdown())
        })
    }

    pub(super) fn poll_read(&self, cx: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.turn_is_over(cx) {
            return Poll::Pending;
        }
        loop {
            if state.ready.readable {
                match io::Read::read(&mut state.sender, buffer.initialize_unfilled()) {
                    Ok(read) => {
                        buffer.advance(read);
                        state.unbroken += read;
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => state.ready.readable = false,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else {
                self.waiting.wakers().reader = Some(cx.waker().clone());
                self.drive(&mut state)?;
                if !state.ready.readable {
                    return Poll::Pending;
                }
            }
        }
    }
}
