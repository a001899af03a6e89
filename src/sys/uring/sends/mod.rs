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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::memory::Block;
    use crate::sys::socket::SendFlags;
    use crate::test_rules::{skip, take_turn_with_locked_memory};

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A ring on a new connection with room for `unread` completions, and its peer. `None` without
    /// SENDMSG_ZC.
    fn connected(unread: u32) -> Option<(SendRing<usize>, TcpStream)> {
        take_turn_with_locked_memory();
        if !super::super::probe().is_ok_and(|operations| operations.sendmsg_zc && operations.reports_usage) {
            skip("this machine has no SENDMSG_ZC of io_uring that reports copies (Linux 6.2 or later)");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Some((SendRing::open(client.into(), 2, 64, unread).unwrap(), listener.accept().unwrap().0))
    }

    fn message(fill: u8) -> Arc<Message> {
        let mut message = Message::adjacent_fields(Block::pages(3000).unwrap(), 0, &[1000, 2000]);
        message.slices_mut().for_each(|field| field.fill(fill));
        Arc::new(message)
    }

    #[test]
    fn completions_that_overflow_the_queue_are_not_lost() {
        const CHAINS: usize = 12;
        let Some((mut ring, mut peer)) = connected(2) else { return };
        let messages: Vec<_> = (0..2 * CHAINS).map(|n| message(n as u8)).collect();
        for (n, pair) in messages.chunks(2).enumerate() {
            for (m, message) in pair.iter().enumerate() {
                let pushed = ring.push(
                    Operation::SendMsgZc,
                    &[Excerpt { of: message, range: 0..3000 }],
                    After::Break,
                    2 * n + m,
                );
                assert_eq!(pushed, Ok(()));
            }
            // Nothing is read from the queue of two.
            ring.submit(Duration::from_millis(5)).unwrap();
        }
        let mut bytes = vec![0; 2 * CHAINS * 3000];
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes.chunks(3000).zip(0..).all(|(chunk, n): (_, u8)| chunk.iter().all(|byte| *byte == n)));
        assert!(ring.ring.has_overflown(), "else this tests nothing");
        let (mut over, mut released) = (Vec::new(), Vec::new());
        let until = std::time::Instant::now() + TIMEOUT;
        while released.len() < 2 * CHAINS {
            match ring.next_seen() {
                Some(CompletionInfo::Over { note, result, keeps }) => {
                    assert_eq!((result, keeps), (Ok(3000), true));
                    over.push(note);
                }
                Some(CompletionInfo::Released { note, sent, .. }) => {
                    assert!(sent);
                    assert_eq!(Arc::strong_count(&messages[note]), 1, "it is let go of at once");
                    released.push(note);
                }
                None if ring.fetch_overflow().unwrap() => {}
                None => ring.wait(1, Duration::from_millis(50)).unwrap(),
            }
            assert!(std::time::Instant::now() < until, "{over:?} {released:?}");
        }
        released.sort_unstable();
        assert!(over.iter().copied().eq(0..2 * CHAINS) && released.into_iter().eq(0..2 * CHAINS));
        assert_eq!(ring.going(), 0);
    }

    #[test]
    fn memory_in_flight_is_leaked() {
        let Some((mut ring, _peer)) = connected(64) else { return };
        let message = message(1);
        ring.push(Operation::SendMsgZc, &[Excerpt { of: &message, range: 0..3000 }], After::Anything, 0)
            .unwrap();
        ring.submit(TIMEOUT).unwrap();
        assert_eq!(Arc::strong_count(&message), 2);
        drop(ring);
        assert_eq!(Arc::strong_count(&message), 2, "the peer has not read it: it could be sent again");
    }

    /// Fills the connection of `socket`, whose peer does not read, until nothing more fits and nothing is in
    /// flight.
    fn fill(socket: &Socket) {
        let until = std::time::Instant::now() + TIMEOUT;
        loop {
            let settled = unacknowledged(socket) == 0;
            let error =
                std::iter::repeat_with(|| socket.send(&[0; 4096], SendFlags::DONTWAIT)).find_map(Result::err);
            assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
            if settled && unacknowledged(socket) == 0 {
                return;
            }
            assert!(std::time::Instant::now() < until, "what was sent is not acknowledged");
            std::thread::yield_now();
        }
    }

    /// Sent segments that the peer's kernel has not acknowledged.
    fn unacknowledged(socket: &Socket) -> u32 {
        // SAFETY: all fields are integers, for which zeroes are valid.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(socket));
        // SAFETY: `info` is writable for `length` bytes, and the kernel writes no more.
        let result = unsafe {
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &mut length)
        };
        assert_eq!(result, 0);
        info.tcpi_unacked
    }

    /// Reads all completions, including those of the next 50 ms.
    fn read_all(ring: &mut SendRing<usize>) -> Vec<CompletionInfo<usize>> {
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.extend(std::iter::from_fn(|| ring.next_seen()));
            ring.wait(1, Duration::from_millis(5)).unwrap();
        }
        seen
    }

    #[test]
    fn a_request_cancelled_before_it_started_does_not_release_the_next_one() {
        // More than fits into the socket, but within the 8 MiB that a user may lock.
        const LARGE: usize = 4 << 20;
        let Some((mut ring, mut peer)) = connected(64) else { return };
        let socket = ring.socket.try_clone().unwrap();
        socket.options().set_send_buffer_size(64 << 10).unwrap();
        let large = Arc::new(Message::adjacent_fields(Block::pages(LARGE).unwrap(), 0, &[LARGE]));
        let small = [message(1), message(2)];
        let push = |ring: &mut SendRing<usize>, of: &Arc<Message>, bytes, note| {
            let excerpt = [Excerpt { of, range: 0..bytes }];
            assert_eq!(ring.push(Operation::SendMsgZc, &excerpt, After::Anything, note), Ok(()));
        };
        push(&mut ring, &large, LARGE, 0);
        push(&mut ring, &small[0], 3000, 1);
        // The peer does not read, so only the first request starts.
        ring.submit(Duration::from_millis(20)).unwrap();
        while ring.going() > 0 {
            ring.cancel().unwrap();
            while ring.next_seen().is_some() {}
        }
        if ring.slots[1].held.is_some() {
            // A kernel that announces the second completion.
            read_all(&mut ring);
        }
        assert_eq!(Arc::strong_count(&small[0]), 1);
        // It uses the slot that was freed last. The socket is full, so nothing can be over.
        fill(&socket);
        // The peer must see the end of the stream when the ring is dropped.
        drop(socket);
        push(&mut ring, &small[1], 3000, 2);
        ring.submit(Duration::ZERO).unwrap();
        assert_eq!(read_all(&mut ring), []);
        assert_eq!((ring.going(), Arc::strong_count(&small[1])), (1, 2));
        let reader =
            std::thread::Builder::new().spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        let until = std::time::Instant::now() + TIMEOUT;
        let mut seen = Vec::new();
        while !seen.iter().any(|seen| matches!(seen, CompletionInfo::Released { note: 2, .. })) {
            assert!(std::time::Instant::now() < until, "{seen:?}");
            seen.extend(read_all(&mut ring));
        }
        assert!(seen.contains(&CompletionInfo::Over { note: 2, result: Ok(3000), keeps: true }), "{seen:?}");
        assert_eq!(Arc::strong_count(&small[1]), 1);
        drop(ring);
        reader.unwrap().join().unwrap().unwrap();
    }

    /// Lets a test move a ring to another thread, which the type forbids.
    struct Forced<T>(T);

    // SAFETY: the test's threads use it one after the other.
    unsafe impl<T> Send for Forced<T> {}

    #[test]
    fn requests_that_another_thread_could_not_submit_are_never_sent() {
        let Some((mut ring, mut peer)) = connected(64) else { return };
        let push = |ring: &mut SendRing<usize>, of: &Arc<Message>| {
            ring.push(Operation::SendMsg, &[Excerpt { of, range: 0..3000 }], After::Anything, 0)
        };
        let (first, second) = (message(1), message(2));
        push(&mut ring, &first).unwrap();
        ring.submit(TIMEOUT).unwrap();
        while ring.next_seen().is_some() {}
        let forced = Forced(&mut ring);
        let refused = std::thread::scope(|scope| {
            let elsewhere = move || {
                let Forced(ring) = { forced };
                push(ring, &second).unwrap();
                ring.submit(Duration::ZERO).unwrap_err().raw_os_error()
            };
            scope.spawn(elsewhere).join().unwrap()
        });
        if refused != Some(libc::EEXIST) {
            // Without IORING_SETUP_DEFER_TASKRUN (before Linux 6.1) any thread may submit.
            return;
        }
        assert_eq!(push(&mut ring, &first), Err(RequestRefused::Broken));
        assert!(ring.wait(0, Duration::ZERO).is_err());
        drop(ring);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert!(received == vec![1; 3000], "{} bytes arrived", received.len());
    }

    #[test]
    fn bytes_that_no_request_can_hold_are_refused_and_not_dropped() {
        let Some((mut ring, _peer)) = connected(64) else { return };
        let fields = (0..40).map(|_| vec![0; 10].into_boxed_slice());
        let many = Arc::new(Message::allocated(fields));
        let mut push =
            |range| ring.push(Operation::SendMsg, &[Excerpt { of: &many, range }], After::Anything, 0);
        assert_eq!(push(0..399), Err(RequestRefused::Scattered), "40 pieces");
        assert_eq!(push(390..401), Err(RequestRefused::Scattered), "a byte beyond the message");
        assert_eq!(push(0..320), Ok(()));
    }

    #[test]
    fn invalid_requests_are_refused() {
        let Some((mut ring, _peer)) = connected(64) else { return };
        let far = Arc::new(Message::mapped([10, 20].map(|length| Block::pages(length).unwrap()).into(), 0));
        let excerpt = |range| Excerpt { of: &far, range };
        let mut push = |excerpts: &[Excerpt<'_>]| ring.push(Operation::Send, excerpts, After::Anything, 0);
        assert_eq!(push(&[]), Err(RequestRefused::Scattered));
        assert_eq!(push(&[excerpt(5..15)]), Err(RequestRefused::Scattered));
        assert_eq!(push(&[excerpt(5..7), excerpt(7..10)]), Err(RequestRefused::Scattered));
        assert_eq!(push(&[excerpt(5..10)]), Ok(()));
        assert_eq!(push(&[excerpt(10..30)]), Ok(()));
        assert_eq!(push(&[excerpt(0..1)]), Err(RequestRefused::Full));
    }
}
