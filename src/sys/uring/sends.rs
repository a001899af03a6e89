//! The sends of one socket: chains of requests in flight, and the messages that they hold.
//!
//! Why this is safe: a request points into the [`Gather`] of an `Arc` whose clone lies in its slot until the kernel
//! has said that it is done, in the completion that no other follows. While the clone is there nobody has the memory
//! to write into, because that takes the only `Arc`, and nobody frees it. What is dropped before the kernel is done, is
//! leaked. Headers and iovecs need to live only until they are submitted (IORING_FEAT_SUBMIT_STABLE).

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fixed;
use io_uring::{cqueue, opcode};

use super::{NOBODY, REPORT_USAGE, Ring};
use crate::sys::gather::Gather;
use crate::sys::memory::Lease;
use crate::sys::socket::Socket;

/// IORING_NOTIF_USAGE_ZC_COPIED, in the result of a notification.
const COPIED: u32 = 1 << 31;

/// Messages that one request may take from, at most.
pub const JOINED: usize = 4;

/// The iovecs of one request, at most: eight fields of each message.
const IOVECS: usize = JOINED * 8;

/// The most buffers that a ring registers (IORING_MAX_REG_BUFFERS, io_uring/rsrc.c).
pub const MOST_BUFFERS: usize = 1 << 14;

/// A request of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// IORING_OP_SEND: copies bytes that lie in one piece.
    Send,
    /// IORING_OP_SENDMSG: copies.
    SendMsg,
    /// IORING_OP_SENDMSG_ZC: by reference.
    SendMsgZc,
    /// IORING_OP_SEND_ZC: bytes in one piece by reference, from a registered buffer if they lie in one.
    SendZc,
}

/// Bytes of a message.
#[derive(Debug)]
pub struct Excerpt<'a, T> {
    /// The message.
    pub of: &'a Arc<T>,
    /// Which of its bytes.
    pub range: Range<usize>,
}

/// What comes after the bytes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Bytes of the same message: they wait for them (MSG_MORE).
    More,
    /// Whatever comes.
    Anything,
    /// Nothing that shares their last packet (MSG_EOR).
    Break,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many are in flight as there is room for.
    Full,
    /// Not [`JOINED`] excerpts at most; or the operation takes one piece only, and the bytes do not lie in one.
    Scattered,
}

/// What a completion tells of the request that `note` was given with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<N> {
    /// It is over: bytes that the socket took, or an errno. The memory is free unless the kernel `keeps` it.
    Over {
        /// What the request was pushed with.
        note: N,
        /// Bytes, or an errno.
        result: Result<usize, i32>,
        /// [`Seen::Released`] will follow.
        keeps: bool,
    },
    /// The kernel is done with the memory.
    Released {
        /// What the request was pushed with.
        note: N,
        /// The socket had taken bytes of it.
        sent: bool,
        /// The kernel says that it copied.
        copied: bool,
    },
}

/// A socket and the requests that send on it.
pub struct Sends<T, N> {
    ring: Ring,
    socket: Socket,
    slots: Vec<Slot<T, N>>,
    free: Vec<u16>,
    /// What was pushed and not yet submitted: the slots, in order.
    chain: Vec<(u16, Entry)>,
    /// One for each place in the chain.
    headers: Box<[Header]>,
    /// Requests that are not over.
    going: usize,
    buffers: Buffers,
}

struct Slot<T, N> {
    /// What the kernel may read, until it has said that it is done.
    held: Option<(ArrayVec<Arc<T>, JOINED>, N)>,
    /// The request was submitted and is not over.
    going: bool,
    /// The socket took bytes of it.
    sent: bool,
}

/// What a SENDMSG points at.
struct Header {
    head: libc::msghdr,
    /// Of anything but one whole message, which lends its own.
    cut: [libc::iovec; IOVECS],
}

// SAFETY: the pointers in entries and headers lead to the messages that the slots hold and to the headers, which are
// moved along; the kernel does not care which thread it hears from.
unsafe impl<T: Send + Sync, N: Send> Send for Sends<T, N> {}

/// Memory that the kernel has pinned.
#[derive(Debug, Default)]
struct Buffers {
    /// First address and length of each, in the order of their addresses; and its index in the kernel.
    spans: Vec<(usize, usize, u16)>,
    /// Where the last one was found: messages come in turn.
    last: usize,
    /// An address told to the kernel must not come to mean other memory.
    _leases: Vec<Lease>,
}

impl<T: AsRef<Gather>, N: Copy> Sends<T, N> {
    /// On a connected socket, with so many requests in a chain at most, so many that hold memory, and room for so many
    /// unread completions.
    ///
    /// # Errors
    /// As [`super::probe`]; EINVAL before Linux 5.18; ENOMEM beyond RLIMIT_MEMLOCK.
    pub fn open(socket: Socket, chain: u16, slots: u16, unread: u32) -> io::Result<Self> {
        let ring = Ring::open(chain.into(), unread.max(chain.into()), socket.calls())?;
        // Registered, it is not looked up and counted for each request.
        ring.ring.submitter().register_files(&[socket.as_fd().as_raw_fd()])?;
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: msghdr is plain old data, and all zeroes means no address, no payload, no control.
        let header = || Header { head: unsafe { std::mem::zeroed() }, cut: [nothing; IOVECS] };
        Ok(Self {
            ring,
            socket,
            slots: (0..slots).map(|_| Slot { held: None, going: false, sent: false }).collect(),
            free: (0..slots).rev().collect(),
            chain: Vec::with_capacity(chain.into()),
            headers: (0..chain).map(|_| header()).collect(),
            going: 0,
            buffers: Buffers::default(),
        })
    }

    /// Registers the memory of those `messages` that lie in one mapping; the kernel pins it until this is dropped.
    ///
    /// # Errors
    /// ENOMEM beyond RLIMIT_MEMLOCK, EINVAL beyond [`MOST_BUFFERS`].
    pub fn register<'a>(&mut self, messages: impl IntoIterator<Item = &'a T>) -> io::Result<()>
    where
        T: 'a,
    {
        let (mut iovecs, mut spans, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            let [block] = message.as_ref().blocks() else { continue };
            spans.push((block.as_ptr() as usize, block.len(), iovecs.len() as u16));
            iovecs.push(libc::iovec { iov_base: block.as_ptr().cast_mut().cast(), iov_len: block.len() });
            leases.push(block.lease());
        }
        if iovecs.is_empty() {
            return Ok(());
        }
        // SAFETY: the ranges are mapped, and stay so as long as the leases, which are kept beside the ring.
        unsafe { self.ring.ring.submitter().register_buffers(&iovecs)? };
        spans.sort_unstable();
        self.buffers = Buffers { spans, last: 0, _leases: leases };
        Ok(())
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Pages of 4 KiB that the queues take of the user's locked memory (io_create_region, io_uring/memmap.c).
    pub fn locked_pages(&self) -> u64 {
        const HEADS: u64 = 512;
        let parameters = self.ring.ring.params();
        let (requests, completions) =
            (u64::from(parameters.sq_entries()), u64::from(parameters.cq_entries()));
        (64 * requests).div_ceil(4096) + (HEADS + 4 * requests + 16 * completions).div_ceil(4096)
    }

    /// How many requests may still be pushed: into the chain, and into the slots.
    pub fn room(&self) -> usize {
        (self.headers.len() - self.chain.len()).min(self.free.len())
    }

    /// Adds a request for `excerpts`, in this order, to the chain. A request of the chain begins when the one before has sent
    /// all of its bytes, and ends with ECANCELED when that one has not.
    ///
    /// # Errors
    /// [`Refused`]; nothing was added.
    pub fn push(
        &mut self,
        operation: Operation,
        excerpts: &[Excerpt<'_, T>],
        after: After,
        note: N,
    ) -> Result<(), Refused> {
        if self.room() == 0 {
            return Err(Refused::Full);
        }
        let scattered = Err(Refused::Scattered);
        let Some(first) = excerpts.first().filter(|_| excerpts.len() <= JOINED) else { return scattered };
        let (address, adjacent) = T::as_ref(first.of).run(first.range.start);
        let in_one_piece = excerpts.len() == 1 && first.range.len() <= adjacent;
        let takes_one_piece = matches!(operation, Operation::Send | Operation::SendZc);
        let length = u32::try_from(first.range.len()).ok().filter(|_| !takes_one_piece || in_one_piece);
        let (Some(length), Some(number)) = (length, self.free.pop()) else { return scattered };
        let header = &mut self.headers[self.chain.len()];
        // Partial sends go on within the kernel, so that a request is short only if it fails.
        let after = match after {
            After::More => libc::MSG_MORE,
            After::Anything => 0,
            After::Break => libc::MSG_EOR,
        };
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL | after;
        let (fd, start) = (Fixed(0), address as *const u8);
        let entry = match operation {
            Operation::Send => opcode::Send::new(fd, start, length).flags(flags).build(),
            Operation::SendZc => opcode::SendZc::new(fd, start, length)
                .flags(flags)
                .zc_flags(REPORT_USAGE)
                .buf_index(self.buffers.find(address, first.range.len()))
                .build(),
            Operation::SendMsg => {
                let head = header.of(excerpts, Gather::iovecs_of_fields);
                opcode::SendMsg::new(fd, head).flags(flags as u32).build()
            }
            Operation::SendMsgZc => {
                // The kernel walks the page tables once for each iovec.
                let head = header.of(excerpts, Gather::iovecs_of_runs);
                opcode::SendMsgZc::new(fd, head).flags(flags as u32).ioprio(REPORT_USAGE).build()
            }
        };
        let messages = excerpts.iter().map(|excerpt| Arc::clone(excerpt.of)).collect();
        self.slots[usize::from(number)] = Slot { held: Some((messages, note)), going: false, sent: false };
        self.chain.push((number, entry.user_data(number.into())));
        Ok(())
    }

    /// Submits the chain and waits until each of its requests is over, or until `patience` is over. One system call,
    /// unless notifications wake it early.
    ///
    /// # Errors
    /// ENOMEM when the kernel took only a part of the chain; EEXIST from another thread than the first.
    pub fn submit(&mut self, patience: Duration) -> io::Result<()> {
        let last = self.chain.len().saturating_sub(1);
        for (i, (number, entry)) in self.chain.drain(..).enumerate() {
            let entry = if i < last { entry.flags(Flags::IO_LINK) } else { entry };
            // SAFETY: what the entry points at is held by its slot until the kernel is done with it.
            let pushed = unsafe { self.ring.ring.submission().push(&entry) };
            // The queue is as long as the chain, and empty unless the kernel took only a part of the last chain.
            if pushed.is_err() {
                self.ring.torn = true;
            }
            self.slots[usize::from(number)].going = true;
            self.going += 1;
        }
        self.wait(self.going, patience)
    }

    /// Waits until `want` completions are unread or until `patience` is over.
    ///
    /// # Errors
    /// As [`Sends::submit`].
    pub fn wait(&mut self, want: usize, patience: Duration) -> io::Result<()> {
        self.ring.enter(want, patience)?;
        if self.ring.torn {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        Ok(())
    }

    /// Requests submitted and not over.
    pub fn going(&self) -> usize {
        self.going
    }

    /// Asks the kernel to give up the requests that are not over. Their completions tell how far each had come.
    ///
    /// # Errors
    /// As [`Sends::submit`].
    pub fn cancel(&mut self) -> io::Result<()> {
        // One after the other: where the first of a chain ends so, the others do.
        let first = self.slots.iter().enumerate().filter(|(_, slot)| slot.going).map(|(number, _)| number);
        for number in first {
            let entry = opcode::AsyncCancel::new(number as u64).build().user_data(NOBODY);
            // SAFETY: it points at nothing.
            if unsafe { self.ring.ring.submission().push(&entry) }.is_err() {
                break;
            }
        }
        self.wait(1, CANCELLED_WITHIN)
    }

    /// What the next unread completion tells.
    #[inline]
    pub fn next_seen(&mut self) -> Option<Seen<N>> {
        loop {
            let completion = self.ring.ring.completion().next()?;
            let number = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
            let Some(slot) = self.slots.get_mut(number) else { continue };
            let (result, flags) = (completion.result(), completion.flags());
            if slot.going && !cqueue::notif(flags) {
                slot.going = false;
                self.going -= 1;
            }
            // Given up: the slot is not used again.
            let Some(note) = slot.held.as_ref().map(|(_, note)| *note) else { continue };
            let keeps = cqueue::more(flags);
            if !keeps {
                slot.held = None;
                self.free.push(number as u16);
            }
            if cqueue::notif(flags) {
                return Some(Seen::Released { note, sent: slot.sent, copied: result as u32 & COPIED != 0 });
            }
            slot.sent = result > 0;
            let result = usize::try_from(result).map_err(|_| -result);
            return Some(Seen::Over { note, result, keeps });
        }
    }

    /// Brings the completions that did not fit into the queue. False: there are none.
    ///
    /// # Errors
    /// As [`Sends::submit`].
    pub fn fetch_overflow(&mut self) -> io::Result<bool> {
        let overflown = self.ring.has_overflown();
        if overflown {
            self.wait(0, Duration::ZERO)?;
        }
        Ok(overflown)
    }

    /// Leaks what the kernel still holds, and hears no more of it.
    pub fn give_up(&mut self) {
        for (messages, _) in self.slots.iter_mut().filter_map(|slot| slot.held.take()) {
            std::mem::forget(messages);
        }
    }
}

/// How long a cancelled request may take: it only has to be taken off a list.
const CANCELLED_WITHIN: Duration = Duration::from_millis(100);

impl Header {
    /// For a request of these bytes, which lie where `iovecs` says.
    fn of<T: AsRef<Gather>>(
        &mut self,
        excerpts: &[Excerpt<'_, T>],
        iovecs: fn(&Gather) -> &[libc::iovec],
    ) -> *const libc::msghdr {
        if let [Excerpt { of, range }] = excerpts
            && let all = iovecs(T::as_ref(of))
            && *range == (0..all.iter().map(|field| field.iov_len).sum())
        {
            // Made once: made anew they would still be in the CPU's store buffer when the kernel reads them.
            self.head.msg_iov = all.as_ptr().cast_mut();
            self.head.msg_iovlen = all.len() as _;
            return &raw const self.head;
        }
        let mut count = 0;
        for Excerpt { of, range } in excerpts {
            let (mut skip, mut left) = (range.start, range.len());
            for field in iovecs(T::as_ref(of)) {
                let skipped = skip.min(field.iov_len);
                let length = (field.iov_len - skipped).min(left);
                skip -= skipped;
                left -= length;
                if length > 0
                    && let Some(cut) = self.cut.get_mut(count)
                {
                    let iov_base = field.iov_base.wrapping_byte_add(skipped);
                    *cut = libc::iovec { iov_base, iov_len: length };
                    count += 1;
                }
            }
        }
        self.head.msg_iov = self.cut.as_mut_ptr();
        self.head.msg_iovlen = count as _;
        &raw const self.head
    }
}

impl Buffers {
    /// The index of the buffer that holds these bytes.
    #[inline]
    fn find(&mut self, address: usize, length: usize) -> Option<u16> {
        let holds =
            |&(start, span, _): &(usize, usize, u16)| start <= address && address + length <= start + span;
        let next = if self.last + 1 < self.spans.len() { self.last + 1 } else { 0 };
        for guess in [next, self.last] {
            if self.spans.get(guess).is_some_and(holds) {
                self.last = guess;
                return Some(self.spans[guess].2);
            }
        }
        let after = self.spans.partition_point(|(start, ..)| *start <= address);
        let found = after.checked_sub(1).filter(|at| holds(&self.spans[*at]))?;
        self.last = found;
        Some(self.spans[found].2)
    }
}

impl<T, N> fmt::Debug for Sends<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sends").field("ring", &self.ring).field("going", &self.going).finish_non_exhaustive()
    }
}

impl<T, N> Drop for Sends<T, N> {
    fn drop(&mut self) {
        // Closing the ring lets go of them only some time later.
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

    const SOON: Duration = Duration::from_secs(10);

    impl AsRef<Gather> for Gather {
        fn as_ref(&self) -> &Gather {
            self
        }
    }

    /// A ring of a new connection with room for `unread` completions, and its peer; `None` without SENDMSG_ZC.
    fn connected(unread: u32) -> Option<(Sends<Gather, usize>, TcpStream)> {
        if !super::super::probe().is_ok_and(|operations| operations.sendmsg_zc && operations.reports_usage) {
            eprintln!("skipped: no SENDMSG_ZC here");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Some((Sends::open(client.into(), 2, 64, unread).unwrap(), listener.accept().unwrap().0))
    }

    fn message(fill: u8) -> Arc<Gather> {
        let mut gather = Gather::neighbours(Block::pages(3000).unwrap(), &[1000, 2000]);
        gather.slices_mut().for_each(|field| field.fill(fill));
        Arc::new(gather)
    }

    #[test]
    fn completions_that_overflow_the_queue_are_not_lost() {
        const CHAINS: usize = 12;
        let Some((mut sends, mut peer)) = connected(2) else { return };
        let messages: Vec<_> = (0..2 * CHAINS).map(|n| message(n as u8)).collect();
        for (n, pair) in messages.chunks(2).enumerate() {
            for (m, message) in pair.iter().enumerate() {
                let pushed = sends.push(
                    Operation::SendMsgZc,
                    &[Excerpt { of: message, range: 0..3000 }],
                    After::Break,
                    2 * n + m,
                );
                assert_eq!(pushed, Ok(()));
            }
            // Nothing is read from the queue of two.
            sends.submit(Duration::from_millis(5)).unwrap();
        }
        let mut bytes = vec![0; 2 * CHAINS * 3000];
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes.chunks(3000).zip(0..).all(|(chunk, n): (_, u8)| chunk.iter().all(|byte| *byte == n)));
        assert!(sends.ring.has_overflown(), "else this tests nothing");
        let (mut over, mut released) = (Vec::new(), Vec::new());
        let until = std::time::Instant::now() + SOON;
        while released.len() < 2 * CHAINS {
            match sends.next_seen() {
                Some(Seen::Over { note, result, keeps }) => {
                    assert_eq!((result, keeps), (Ok(3000), true));
                    over.push(note);
                }
                Some(Seen::Released { note, sent, .. }) => {
                    assert!(sent);
                    assert_eq!(Arc::strong_count(&messages[note]), 1, "it is let go of at once");
                    released.push(note);
                }
                None if sends.fetch_overflow().unwrap() => {}
                None => sends.wait(1, Duration::from_millis(50)).unwrap(),
            }
            assert!(std::time::Instant::now() < until, "{over:?} {released:?}");
        }
        released.sort_unstable();
        assert!(over.iter().copied().eq(0..2 * CHAINS) && released.into_iter().eq(0..2 * CHAINS));
        assert_eq!(sends.going(), 0);
    }

    #[test]
    fn what_is_dropped_in_flight_is_leaked() {
        let Some((mut sends, _peer)) = connected(64) else { return };
        let message = message(1);
        sends
            .push(Operation::SendMsgZc, &[Excerpt { of: &message, range: 0..3000 }], After::Anything, 0)
            .unwrap();
        sends.submit(SOON).unwrap();
        assert_eq!(Arc::strong_count(&message), 2);
        drop(sends);
        assert_eq!(Arc::strong_count(&message), 2, "the peer has not read it: it could be sent again");
    }

    #[test]
    fn a_request_that_cannot_be_is_refused() {
        let Some((mut sends, _peer)) = connected(64) else { return };
        let far = Arc::new(Gather::mapped([10, 20].map(|length| Block::pages(length).unwrap()).into()));
        let excerpt = |range| Excerpt { of: &far, range };
        let mut push =
            |excerpts: &[Excerpt<'_, Gather>]| sends.push(Operation::Send, excerpts, After::Anything, 0);
        assert_eq!(push(&[]), Err(Refused::Scattered));
        assert_eq!(push(&[excerpt(5..15)]), Err(Refused::Scattered));
        assert_eq!(push(&[excerpt(5..7), excerpt(7..10)]), Err(Refused::Scattered));
        assert_eq!(push(&[excerpt(5..10)]), Ok(()));
        assert_eq!(push(&[excerpt(10..30)]), Ok(()));
        assert_eq!(push(&[excerpt(0..1)]), Err(Refused::Full));
    }
}
