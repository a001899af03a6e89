//! A connection as tasks share it: its events, who waits for them, and the sender.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use ::tokio::io::unix::AsyncFd;
use ::tokio::io::{Interest, ReadBuf};

use crate::payload::Place;
use crate::sys::epoll::{Epoll, Events};
use crate::{Cursor, Payload, Receipt, SendError, Sender, Stats};

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

/// What a call that moved so many bytes counts for: it takes as long for few.
fn worth(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.max(4 << 10) }
}

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

/// Who looks for events, and is not to be woken for what it will see itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    Reader,
    Writer,
    Receipt,
}

impl Waiting {
    /// Another has taken these events.
    fn pass_on(&self, events: Events, looking: Looking) {
        let mut wakers = self.wakers();
        let reader = wakers.reader.take_if(|_| events.readable && looking != Looking::Reader);
        let writer = wakers.writer.take_if(|_| events.writable && looking != Looking::Writer);
        drop(wakers);
        reader.into_iter().chain(writer).for_each(Waker::wake);
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

    /// The receipt of a payload of which so much was copied, and the cursor where another is queued before it. Otherwise it is queued
    /// itself: it must not be cut off, whatever becomes of the future.
    #[cold]
    fn queue(&mut self, payload: Payload, place: Place, sent: usize) -> (Option<Cursor>, Receipt) {
        let (mut cursor, receipt) = Cursor::after(payload, place, sent);
        if self.queued.is_some() {
            return (Some(cursor), receipt);
        }
        if sent > 0 {
            self.sender.set_begun(&mut cursor);
        }
        self.queued = Some(cursor);
        (None, receipt)
    }

    /// Reads what is reported, if anything is. A receipt that it resolves wakes its task itself, and an error is the next call's.
    fn reap(&mut self) {
        if std::mem::take(&mut self.ready.reports) {
            let _ = self.sender.reap();
        }
    }

    /// Sends on what is queued: `Ready` when nothing is any more.
    fn finish(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(cursor) = &mut self.queued else { return Poll::Ready(Ok(())) };
        match self.sender.try_send(cursor) {
            Ok(_) if cursor.is_done() => {
                // It had room after all, also where no event said so yet.
                self.ready.writable = true;
                self.queued = None;
                self.reap();
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
    fn drive(&self, state: &mut State, looking: Looking) -> io::Result<()> {
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
                    self.waiting.pass_on(events, looking);
                    state.ready.reports |= events.reports;
                }
            }
        }
        // Who is sending reads reports now and then, and would look after each of them otherwise.
        let wakers = self.waiting.wakers();
        let is_sending = state.queued.is_some() && wakers.writer.is_some() && wakers.others.is_empty();
        drop(wakers);
        if !is_sending {
            state.reap();
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
        if self.drive(&mut state, Looking::Receipt).is_err() {
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
            let before = state.sender.written();
            let polled = attempt(&mut state);
            state.unbroken += worth((state.sender.written() - before) as usize);
            if let Poll::Ready(result) = polled {
                return Poll::Ready(result);
            }
            if state.ready.writable {
                // There is room: it has had its turn, and has woken this task for the next.
                return Poll::Pending;
            }
            self.waiting.wakers().writer = Some(cx.waker().clone());
            self.drive(&mut state, Looking::Writer)?;
            if !state.ready.writable {
                return Poll::Pending;
            }
        }
    }

    pub(super) fn poll_finish(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(cx, |state| state.finish(cx))
    }

    /// A payload that is copied at once comes back; of another the cursor, if it is not queued, and the receipt.
    #[allow(clippy::result_large_err, reason = "taken apart at once")]
    #[inline]
    pub(super) fn send_now(&self, payload: Payload) -> Result<Payload, (Option<Cursor>, Receipt)> {
        let mut state = self.state();
        let (mut place, mut sent) = (Place::default(), 0);
        if state.queued.is_none() && state.ready.writable && state.unbroken < TURN_BYTES {
            match state.sender.try_copy(&payload, &mut place) {
                Ok(bytes) => sent = bytes,
                Err(error) => state.ready.writable &= error.kind() != io::ErrorKind::WouldBlock,
            }
            state.unbroken += worth(sent);
        }
        if sent == payload.len() && sent > 0 { Ok(payload) } else { Err(state.queue(payload, place, sent)) }
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
                written => {
                    state.ready.writable |= written.is_ok();
                    Poll::Ready(written)
                }
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
                self.drive(&mut state, Looking::Reader)?;
                if !state.ready.readable {
                    return Poll::Pending;
                }
            }
        }
    }
}
