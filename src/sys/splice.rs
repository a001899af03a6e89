//! sendfile(2), vmsplice(2) and splice(2): sending by reference to pages. The socket counts these calls, as
//! every call that sends.
//!
//! The kernel never reports when it is done with such pages, so nobody may write into them again:
//! [`HeldMessages`] keeps a clone of each message's `Arc` as long as anyone else has one.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use super::memory::page_size;
use super::message::Message;
use super::sigpipe;
use super::socket::Socket;

/// Messages whose pages the kernel may use for an unknown time. While this clone of the `Arc` exists, nobody
/// gets a `&mut` to them.
#[derive(Debug, Default)]
pub struct HeldMessages(Vec<Arc<Message>>);

/// Messages of dropped [`HeldMessages`] that still have other owners, who could write into them.
static ORPHANS: Mutex<Vec<Arc<Message>>> = Mutex::new(Vec::new());

impl HeldMessages {
    /// Keeps `message`, once for all its senders.
    #[inline]
    fn keep(&mut self, message: &Arc<Message>) {
        if message.mark_kept() {
            self.0.push(Arc::clone(message));
        }
    }

    /// How many messages are kept although their senders were dropped, because they still have other owners.
    pub fn orphans() -> usize {
        let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.retain_mut(|message| !is_last_owner(message));
        orphans.len()
    }
}

/// Without another owner nobody can write into the message. Its pages can go: the kernel keeps the pages of a
/// removed mapping and gives them to nobody else until it is done with them.
fn is_last_owner(message: &mut Arc<Message>) -> bool {
    Arc::get_mut(message).is_some()
}

impl Drop for HeldMessages {
    fn drop(&mut self) {
        self.0.retain_mut(|message| !is_last_owner(message));
        let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
        // Owners of earlier orphans may be gone now.
        orphans.retain_mut(|message| !is_last_owner(message));
        orphans.append(&mut self.0);
    }
}

/// How many bytes a pipe holds before a write blocks (`fcntl(F_GETPIPE_SZ)`).
pub fn pipe_bytes(pipe: &impl AsRawFd) -> io::Result<usize> {
    // SAFETY: it reads no memory of the process.
    let bytes = super::checked(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// A pipe, which splice(2) needs between memory and a socket: a list of slots, each of which refers to a part
/// of a page.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A pipe with `slots` slots, or with as many as this user may have (fs.pipe-max-size for one pipe,
    /// fs.pipe-user-pages-soft for all of the user's pipes). A message that does not fit is sent in several
    /// steps.
    pub fn new(slots: usize) -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        let pipe = Self { read: read.into(), write: write.into() };
        let mut wanted = slots.next_power_of_two();
        // A smaller size than the current one is never refused.
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
        // SAFETY: it reads no memory of the process.
        super::checked(unsafe { libc::fcntl(self.write.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
    }
}

impl Socket {
    /// `sendfile(2)` of a message in a file, without its first `sent` bytes. The kernel may use the file's
    /// pages for an unknown time, so `kept` keeps the message. Blocks SIGPIPE in the calling thread. Fails
    /// with `InvalidInput` for a message that is not in a file.
    ///
    /// SO_SNDTIMEO limits it, to twice that time at most, because the `sendmsg` inside (splice_to_socket,
    /// fs/splice.c) is repeated after a short count.
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
            // SAFETY: `from` is live and only the call writes it. The kernel may read the message's pages at
            // any later time: `kept`, and the orphans it leaves, keep everyone from writing into them.
            unsafe { libc::sendfile64(fd, file.as_raw_fd(), &raw mut from, count) as libc::c_long }
        })
    }

    /// `vmsplice(2)`: puts references to the pages of `slices`, which are parts of `message`, into the free
    /// slots of `pipe`, and returns their number of bytes. Never blocks: a full pipe is `WouldBlock`. The
    /// kernel may use the pages for an unknown time, even when they are unmapped, so `kept` keeps the
    /// message. Fails with `InvalidInput` for other slices and for memory of an allocator, which would reuse
    /// it.
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
            // SAFETY: an IoSlice is an iovec (documented); the pointer and the count are those of a live
            // slice of them, and each of them is a live slice of bytes of `message`. The kernel may read its
            // pages at any later time: `kept`, and the orphans it leaves, keep everyone from writing into
            // them.
            unsafe {
                let (fd, flags) = (pipe.write.as_raw_fd(), libc::SPLICE_F_NONBLOCK);
                libc::vmsplice(fd, slices.as_ptr().cast(), slices.len(), flags) as libc::c_long
            }
        })
    }

    /// `splice(2)` of at most `count` bytes, which must be in `pipe`, to this socket. With `more` the kernel
    /// may wait for the next data before it sends a segment. Blocks SIGPIPE in the calling thread.
    ///
    /// SO_SNDTIMEO limits it as it limits [`Socket::sendfile`].
    #[inline]
    pub fn splice(&self, pipe: &Pipe, count: usize, more: bool) -> io::Result<usize> {
        sigpipe::block();
        // The flag applies to the pipe. The socket's own mode decides whether the call waits for the socket.
        let flags = libc::SPLICE_F_NONBLOCK | if more { libc::SPLICE_F_MORE } else { 0 };
        self.counted(|fd| {
            // SAFETY: a pipe and a socket need null offsets; no memory of the process is read or written.
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
    fn sent_messages_are_kept_while_they_have_other_owners() {
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
    fn a_pipe_has_the_requested_slots_or_as_many_as_are_allowed() {
        for slots in [1, 2, 16, 32] {
            assert_eq!(Pipe::new(slots).unwrap().slots(), slots);
        }
        assert_eq!(Pipe::new(3).unwrap().slots(), 4);
        // More than fs.pipe-max-size allows without CAP_SYS_RESOURCE.
        assert!(Pipe::new(1 << 40).unwrap().slots() >= 2);
    }
}
