//! The sends of one socket: chains of requests in flight, and the messages that they use.
//!
//! Why this is safe: a request points into the [`Message`] of an `Arc`, and its slot keeps a clone until the
//! kernel has reported the last completion. While the clone exists, nobody can free the memory or write into
//! it, which takes the only `Arc`. Memory that is dropped before the kernel is done is leaked. Headers and
//! iovecs must live only until they are submitted (IORING_FEAT_SUBMIT_STABLE), and nothing overwrites those
//! of queued requests. A ring whose entry into the kernel failed never submits again (`Ring::torn`), so
//! requests that the caller takes for failed are not sent later.
//!
//! It stays on the thread that made it (the raw pointers make it not `Send`), because with
//! IORING_SETUP_SINGLE_ISSUER another thread can neither submit nor read completions.
//!
//! The last completion of a request is the one without IORING_CQE_F_MORE, with one exception: a request by
//! reference that was cancelled before it started, because the one before it in the chain fell short
//! (io_fail_links, io_uring/io_uring.c). It has two completions, and the first does not announce the second
//! (measured on Linux 6.18). Its slot is free after the first, because the kernel never read its memory. The
//! second has the number of the earlier use, so it does not release the new request in the slot.

mod buffers;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use io_uring::squeue::{Entry, Flags};
use io_uring::{cqueue, opcode};

use super::{IGNORED, Ring};
use crate::sys::message::Message;
use crate::sys::socket::Socket;

pub use buffers::MOST_BUFFERS;
pub use request::{After, Excerpt, JOINED, Operation, RequestRefused};

use buffers::RegisteredBuffers;
use request::Header;

/// IORING_NOTIF_USAGE_ZC_COPIED, in the result of a notification.
const COPIED: u32 = 1 << 31;

/// What a completion says about the request that was pushed with `note`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionInfo<N> {
    /// The request is over, with the number of sent bytes or an errno. The memory is free unless the kernel
    /// `keeps` it.
    Over {
        /// The note of the request.
        note: N,
        /// The number of bytes, or an errno.
        result: Result<usize, i32>,
        /// [`CompletionInfo::Released`] will follow.
        keeps: bool,
    },
    /// The kernel is done with the memory.
    Released {
        /// The note of the request.
        note: N,
        /// Whether the request sent any bytes.
        sent: bool,
        /// Whether the kernel says that it copied.
        copied: bool,
    },
}

/// A socket and the requests that send on it.
pub struct SendRing<N> {
    ring: Ring,
    socket: Socket,
    slots: Vec<RequestSlot<N>>,
    free: Vec<u16>,
    /// Requests that are not submitted yet: their slots, in order.
    chain: Vec<(u16, Entry)>,
    /// One for each place in the chain.
    headers: Box<[Header]>,
    /// Requests that are not over.
    going: usize,
    buffers: RegisteredBuffers,
}

/// The user data of a request: how many times its slot was used, and the number of the slot.
fn user_data(uses: u32, number: u16) -> u64 {
    u64::from(uses) << 32 | u64::from(number)
}

struct RequestSlot<N> {
    /// How many requests have used it.
    uses: u32,
    /// What the kernel may read until it has reported that it is done.
    held: Option<(ArrayVec<Arc<Message>, JOINED>, N)>,
    /// The request was submitted and is not over.
    going: bool,
    /// The request sent some bytes.
    sent: bool,
}

impl<N: Copy> SendRing<N> {
    /// A ring on a connected socket, for at most `chain` requests in a chain, `slots` requests that hold
    /// memory, and `unread` completions.
    ///
    /// # Errors
    /// As [`super::probe`]; EINVAL before Linux 5.18; ENOMEM beyond RLIMIT_MEMLOCK.
    pub fn open(socket: Socket, chain: u16, slots: u16, unread: u32) -> io::Result<Self> {
        let ring = Ring::open(chain.into(), unread.max(chain.into()), socket.calls())?;
        // A registered socket is not looked up and counted for each request.
        ring.ring.submitter().register_files(&[socket.as_fd().as_raw_fd()])?;
        Ok(Self {
            ring,
            socket,
            slots: (0..slots)
                .map(|_| RequestSlot { uses: 0, held: None, going: false, sent: false })
                .collect(),
            free: (0..slots).rev().collect(),
            chain: Vec::with_capacity(chain.into()),
            headers: (0..chain).map(|_| Header::default()).collect(),
            going: 0,
            buffers: RegisteredBuffers::default(),
        })
    }

    /// Registers the memory of those `messages` that are in one mapping. The kernel pins it until the ring is
    /// dropped.
    ///
    /// # Errors
    /// ENOMEM beyond RLIMIT_MEMLOCK, EINVAL beyond [`MOST_BUFFERS`].
    pub fn register<'a>(&mut self, messages: impl IntoIterator<Item = &'a Message>) -> io::Result<()> {
        self.buffers = RegisteredBuffers::register(&self.ring, messages.into_iter())?;
        Ok(())
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Pages of 4 KiB that the queues use of the user's locked memory (io_create_region, io_uring/memmap.c).
    pub fn locked_pages(&self) -> u64 {
        const HEADS: u64 = 512;
        let parameters = self.ring.ring.params();
        let (requests, completions) =
            (u64::from(parameters.sq_entries()), u64::from(parameters.cq_entries()));
        (64 * requests).div_ceil(4096) + (HEADS + 4 * requests + 16 * completions).div_ceil(4096)
    }

    /// How many more requests fit into the chain and the slots.
    pub fn room(&self) -> usize {
        (self.headers.len() - self.chain.len()).min(self.free.len())
    }

    /// Adds a request for `excerpts`, in this order, to the chain. A request starts when the one before has
    /// sent all of its bytes, and ends with ECANCELED if that one has not.
    ///
    /// # Errors
    /// [`RequestRefused`]; nothing was added.
    pub fn push(
        &mut self,
        operation: Operation,
        excerpts: &[Excerpt<'_>],
        after: After,
        note: N,
    ) -> Result<(), RequestRefused> {
        // Requests that the kernel has not taken yet still point to their headers.
        if self.ring.torn || self.ring.has_unsubmitted() {
            return Err(RequestRefused::Broken);
        }
        if self.room() == 0 {
            return Err(RequestRefused::Full);
        }
        let header = &mut self.headers[self.chain.len()];
        let entry = header.entry(operation, excerpts, after, &mut self.buffers);
        let Some(entry) = entry else { return Err(RequestRefused::Scattered) };
        let Some(number) = self.free.pop() else { return Err(RequestRefused::Full) };
        let messages = excerpts.iter().map(|excerpt| Arc::clone(excerpt.of)).collect();
        let slot = &mut self.slots[usize::from(number)];
        let uses = slot.uses.wrapping_add(1);
        *slot = RequestSlot { uses, held: Some((messages, note)), going: false, sent: false };
        self.chain.push((number, entry.user_data(user_data(uses, number))));
        Ok(())
    }

    /// Submits the chain and waits until each of its requests is over or `patience` is over. It makes one
    /// system call, unless notifications end the wait early.
    ///
    /// ENOMEM if the kernel took only a part of the chain, or the error of io_uring_enter(2). The ring then
    /// submits nothing any more.
    pub fn submit(&mut self, patience: Duration) -> io::Result<()> {
        let last = self.chain.len().saturating_sub(1);
        for (i, (number, entry)) in self.chain.drain(..).enumerate() {
            let entry = if i < last { entry.flags(Flags::IO_LINK) } else { entry };
            // SAFETY: the slot holds the memory that the entry points to until the kernel is done with it.
            let pushed = unsafe { self.ring.ring.submission().push(&entry) };
            // The queue is as long as the chain, and it is empty unless the kernel took only a part of the
            // last chain.
            if pushed.is_err() {
                self.ring.torn = true;
            }
            self.slots[usize::from(number)].going = true;
            self.going += 1;
        }
        self.wait(self.going, patience)
    }

    /// Waits until `want` completions are unread or `patience` is over.
    ///
    /// # Errors
    /// As [`SendRing::submit`].
    pub fn wait(&mut self, want: usize, patience: Duration) -> io::Result<()> {
        self.ring.enter(want, patience)?;
        if self.ring.torn {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        Ok(())
    }

    /// The number of submitted requests that are not over.
    pub fn going(&self) -> usize {
        self.going
    }

    /// Cancels the requests that are not over. Their completions say how far each came.
    ///
    /// # Errors
    /// As [`SendRing::submit`].
    pub fn cancel(&mut self) -> io::Result<()> {
        // One after the other: when the first of a chain ends like this, the others do too.
        for (slot, number) in self.slots.iter().zip(0..).filter(|(slot, _)| slot.going) {
            let entry = opcode::AsyncCancel::new(user_data(slot.uses, number)).build().user_data(IGNORED);
            // SAFETY: it has no pointer.
            if unsafe { self.ring.ring.submission().push(&entry) }.is_err() {
                break;
            }
        }
        self.wait(1, CANCEL_TIMEOUT)
    }

    /// Reads the next completion.
    #[inline]
    pub fn next_seen(&mut self) -> Option<CompletionInfo<N>> {
        loop {
            let completion = self.ring.ring.completion().next()?;
            let number = completion.user_data() as u16;
            let Some(slot) = self.slots.get_mut(usize::from(number)) else { continue };
            if completion.user_data() != user_data(slot.uses, number) {
                continue;
            }
            let (result, flags) = (completion.result(), completion.flags());
            if slot.going && !cqueue::notif(flags) {
                slot.going = false;
                self.going -= 1;
            }
            // The memory was leaked, and the slot is not used again.
            let Some(note) = slot.held.as_ref().map(|(_, note)| *note) else { continue };
            let keeps = cqueue::more(flags);
            if !keeps {
                slot.held = None;
                self.free.push(number);
            }
            if cqueue::notif(flags) {
                return Some(CompletionInfo::Released {
                    note,
                    sent: slot.sent,
                    copied: result as u32 & COPIED != 0,
                });
            }
            slot.sent = result > 0;
            let result = usize::try_from(result).map_err(|_| -result);
            return Some(CompletionInfo::Over { note, result, keeps });
        }
    }

    /// Fetches completions that did not fit into the queue. Returns false if there are none.
    ///
    /// # Errors
    /// As [`SendRing::submit`].
    pub fn fetch_overflow(&mut self) -> io::Result<bool> {
        let overflown = self.ring.has_overflown();
        if overflown {
            self.wait(0, Duration::ZERO)?;
        }
        Ok(overflown)
    }

    /// Leaks the memory that the kernel still holds, and ignores its completions.
    pub fn give_up(&mut self) {
        for (messages, _) in self.slots.iter_mut().filter_map(|slot| slot.held.take()) {
            std::mem::forget(messages);
        }
    }
}

/// How long a cancelled request may take to end. It only has to be removed from a list.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(100);

impl<N> fmt::Debug for SendRing<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sends").field("ring", &self.ring).field("going", &self.going).finish_non_exhaustive()
    }
}

impl<N> Drop for SendRing<N> {
    fn drop(&mut self) {
        // Closing the ring releases them only some time later.
        let _ = self.ring.ring.submitter().unregister_buffers();
        let _ = self.ring.ring.submitter().unregister_files();
        if self.slots.iter().any(|slot| slot.held.is_some() || slot.going) {
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}
