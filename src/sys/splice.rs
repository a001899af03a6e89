//! sendfile(2), vmsplice(2) and splice(2): bytes that reach a socket by reference to the pages that hold them. The
//! calls are counted as the socket's, like every other call that sends.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::memory::page_size;
use super::sigpipe;
use super::socket::Socket;

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
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for the two descriptors that the call writes.
        super::checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: the call has just made both descriptors, and nobody else owns them.
        let [read, write] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        let pipe = Self { read, write };
        let mut wanted = slots.next_power_of_two();
        // Fewer than it has is never refused.
        while wanted != pipe.slots() && pipe.resize(wanted).is_err() && wanted > pipe.slots() {
            wanted /= 2;
        }
        Ok(pipe)
    }

    /// How many slots it has.
    pub fn slots(&self) -> usize {
        // SAFETY: it reads no memory of ours.
        let bytes = unsafe { libc::fcntl(self.write.as_raw_fd(), libc::F_GETPIPE_SZ) };
        usize::try_from(bytes).unwrap_or(0) / page_size()
    }

    fn resize(&self, slots: usize) -> io::Result<()> {
        let bytes = libc::c_int::try_from(slots.saturating_mul(page_size())).unwrap_or(libc::c_int::MAX);
        // SAFETY: it reads no memory of ours.
        super::checked(unsafe { libc::fcntl(self.write.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
    }
}

impl Socket {
    /// `sendfile(2)` of `count` bytes of `file` from `offset` on; the file's own position is not used. The kernel refers
    /// to the file's pages for as long as it likes. Blocks SIGPIPE in the calling thread.
    ///
    /// SO_SNDTIMEO ends it, after twice that time at most: inside is a `sendmsg` (splice_to_socket, fs/splice.c), which
    /// is called again after a short count.
    #[inline]
    pub fn sendfile(&self, file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<usize> {
        sigpipe::block();
        let offset = libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.counted(|fd| {
            let mut from = offset;
            // SAFETY: `from` is live and written by the call alone; no other memory of ours is read or written.
            unsafe { libc::sendfile64(fd, file.as_raw_fd(), &raw mut from, count) as libc::c_long }
        })
    }

    /// `vmsplice(2)`: puts references to the pages of `slices` into `pipe`, as many as there are slots, and returns how
    /// many bytes those are. Never waits: a full pipe is `WouldBlock`. The kernel refers to the pages for as long as it
    /// likes, and holds them when they are unmapped.
    #[inline]
    pub fn vmsplice(&self, pipe: &Pipe, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.counted(|_| {
            // SAFETY: an IoSlice is an iovec (documented); the pointer and the count are those of a live slice of
            // them, each of which is a live slice of bytes, and the call writes to none of them.
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
    fn a_pipe_has_the_slots_asked_for_or_as_many_as_are_allowed() {
        for slots in [1, 2, 16, 32] {
            assert_eq!(Pipe::new(slots).unwrap().slots(), slots);
        }
        assert_eq!(Pipe::new(3).unwrap().slots(), 4);
        // More than fs.pipe-max-size allows anybody without CAP_SYS_RESOURCE.
        assert!(Pipe::new(1 << 40).unwrap().slots() >= 2);
    }
}
