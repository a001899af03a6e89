//! sendfile(2), vmsplice(2) and splice(2): bytes that reach a socket by reference to the pages that hold them. The
//! calls are counted as the socket's, like every other call that sends.
//!
//! The kernel never says when it is done with such pages, so nobody may write into them any more: [`HeldMessages`] holds a clone
//! of each message's `Arc` for as long as somebody else has one.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use super::memory::page_size;
use super::message::Message;
use super::sigpipe;
use super::socket::Socket;

/// Messages whose pages the kernel refers to for an unknown time: with this clone of their `Arc` around, nobody gets `&mut`
/// to one again.
#[derive(Debug, Default)]
pub struct HeldMessages(Vec<Arc<Message>>);

/// What was kept by a [`HeldMessages`] that is gone, and still has other owners, who could write into it.
static ORPHANS: Mutex<Vec<Arc<Message>>> = Mutex::new(Vec::new());

impl HeldMessages {
    /// Keeps `message`, once for all that send it.
    #[inline]
    fn keep(&mut self, message: &Arc<Message>) {
        if message.keep_for_ever() {
            self.0.push(Arc::clone(message));
        }
    }

    /// How many messages are kept for ever, because their senders are gone and other owners are not.
    pub fn orphans() -> usize {
        let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.retain_mut(|message| !is_last_owner(message));
        orphans.len()
    }
}

/// Without another owner nobody can write into it. Its pages can go: a mapping that is unmapped leaves them to the kernel,
/// which gives them to nobody else before it is done with them.
fn is_last_owner(message: &mut Arc<Message>) -> bool {
    Arc::get_mut(message).is_some()
}

impl Drop for HeldMessages {
    fn drop(&mut self) {
        self.0.retain_mut(|message| !is_last_owner(message));
        let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
        // Owners of earlier ones may have gone meanwhile.
        orphans.retain_mut(|message| !is_last_owner(message));
        orphans.append(&mut self.0);
    }
}

/// How many bytes a pipe takes before a write waits (`fcntl(F_GETPIPE_SZ)`).
pub fn pipe_bytes(pipe: &impl AsRawFd) -> io::Result<usize> {
    // SAFETY: it reads no memory of ours.
    let bytes = super::checked(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// A pipe, as splice(2) needs one between memory and a socket: a row of slots, each of which refers to a part of a page.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A pipe of `slots` slots, or of as many as this user may have (fs.pipe-max-size for one pipe,
    /// fs.pipe-user-pages-soft for all of the user's): what does not fit is sent in several turns.
    pub fn new(slots: usize) -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        let pipe = Self { read: read.into(), write: write.into() };
        let mut wanted = slots.next_power_of_two();
        // Fewer than it has is never refused.
        while wanted != pipe.slots() && pipe.resize(wanted).is_err() && wanted > pipe.slots() {
            wanted /= 2;
        }
        Ok(pipe)
    }

    /// How many slots it has.
    pub fn slots(&self) -> usize {
        pipe_bytes(&self.write).unwrap_or(0) / page_size()
    }

    fn resize(&self, slots: usize) -> io::Result<()> {
        let bytes = libc::c_int::try_from(slots.saturating_mul(page_size())).unwrap_or(libc::c_int::MAX);
        // SAFETY: it reads no memory of ours.
        super::checked(unsafe { libc::fcntl(self.write.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
    }
}

impl Socket {
    /// `sendfile(2)` of what follows the first `sent` bytes of a message that lies in a file. The kernel refers to the
    /// file's pages for as long as it likes, so `kept` keeps the message. Blocks SIGPIPE in the calling thread.
    /// `InvalidInput` for a message that lies in no file.
    ///
    /// SO_SNDTIMEO ends it, after twice that time at most: inside is a `sendmsg` (splice_to_socket, fs/splice.c), which
    /// is called again after a short count.
    #[inline]
    pub fn sendfile(
        &self,
        kept: &mut HeldMessages,
        message: &Arc<Message>,
        sent: usize,
    ) -> io::Result<usize> {
        sigpipe::block();
        let (file, offset) = message.extent().ok_or(io::ErrorKind::InvalidInput)?;
        let count = message.size().checked_sub(sent).ok_or(io::ErrorKind::InvalidInput)?;
        let offset =
            libc::off64_t::try_from(offset + sent as u64).map_err(|_| io::ErrorKind::InvalidInput)?;
        kept.keep(message);
        self.counted(|fd| {
            let mut from = offset;
            // SAFETY: `from` is live and written by the call alone. The kernel may read the message's pages at any later
            // time: `kept` and what it leaves behind keep everyone from writing into them.
            unsafe { libc::sendfile64(fd, file.as_raw_fd(), &raw mut from, count) as libc::c_long }
        })
    }

    /// `vmsplice(2)`: puts references to the pages of `slices`, which are parts of `message`, into `pipe`, as many as there
    /// are slots, and returns how many bytes those are. Never waits: a full pipe is `WouldBlock`. The kernel refers to the
    /// pages for as long as it likes, and holds them when they are unmapped, so `kept` keeps the message. `InvalidInput`
    /// for slices of something else and for memory of an allocator, which would give it to others.
    #[inline]
    pub fn vmsplice(
        &self,
        kept: &mut HeldMessages,
        pipe: &Pipe,
        message: &Arc<Message>,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !message.has_own_pages() || !message.holds(slices) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        kept.keep(message);
        self.counted(|_| {
            // SAFETY: an IoSlice is an iovec (documented); the pointer and the count are those of a live slice of
            // them, each of which is a live slice of bytes of `message`. The kernel may read its pages at any later time:
            // `kept` and what it leaves behind keep everyone from writing into them.
            unsafe {
                let (fd, flags) = (pipe.write.as_raw_fd(), libc::SPLICE_F_NONBLOCK);
                libc::vmsplice(fd, slices.as_ptr().cast(), slices.len(), flags) as libc::c_long
            }
        })
    }

    /// `splice(2)` of at most `count` bytes from `pipe`, which has them, to this socket; with `more` the kernel may wait
    /// for what follows before it sends a segment. Blocks SIGPIPE in the calling thread.
    ///
    /// SO_SNDTIMEO ends it as it ends [`Socket::sendfile`].
    #[inline]
    pub fn splice(&self, pipe: &Pipe, count: usize, more: bool) -> io::Result<usize> {
        sigpipe::block();
        // Not to wait for the pipe; whether to wait for the socket is the socket's matter.
        let flags = libc::SPLICE_F_NONBLOCK | if more { libc::SPLICE_F_MORE } else { 0 };
        self.counted(|fd| {
            // SAFETY: null offsets are what a pipe and a socket ask for; no memory of ours is read or written.
            unsafe {
                let (from, nowhere) = (pipe.read.as_raw_fd(), ptr::null_mut());
                libc::splice(from, nowhere, fd, nowhere, count, flags) as libc::c_long
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_kept_until_nobody_else_could_write_it() {
        let is_orphan = |address: usize| {
            HeldMessages::orphans();
            let orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
            orphans.iter().any(|message| Arc::as_ptr(message) as usize == address)
        };
        let mut message = Arc::new(Message::from_bytes(*b"four"));
        let address = Arc::as_ptr(&message) as usize;
        let (mut first, mut second) = (HeldMessages::default(), HeldMessages::default());
        first.keep(&message);
        first.keep(&message);
        second.keep(&message);
        assert_eq!((first.0.len(), second.0.len()), (1, 0), "once is enough");
        drop(first);
        assert!(is_orphan(address) && Arc::get_mut(&mut message).is_none());
        drop(message);
        assert!(!is_orphan(address), "it had no other owner any more");
        let alone = Arc::new(Message::from_bytes(*b"five"));
        let address = Arc::as_ptr(&alone) as usize;
        second.keep(&alone);
        drop(alone);
        drop(second);
        assert!(!is_orphan(address));
    }

    #[test]
    fn a_pipe_has_the_slots_asked_for_or_as_many_as_are_allowed() {
        for slots in [1, 2, 16, 32] {
            assert_eq!(Pipe::new(slots).unwrap().slots(), slots);
        }
        assert_eq!(Pipe::new(3).unwrap().slots(), 4);
        // More than fs.pipe-max-size allows anybody without CAP_SYS_RESOURCE.
        assert!(Pipe::new(1 << 40).unwrap().slots() >= 2);
    }
}
