//! TCP_ZEROCOPY_RECEIVE: pages of received data, mapped into this process instead of copied (net/ipv4/tcp.c,
//! tcp_zerocopy_receive; include/uapi/linux/tcp.h).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use super::memory::page_size;
use super::socket::Socket;

/// TCP_ZEROCOPY_RECEIVE, which the crate libc does not name.
const TCP_ZEROCOPY_RECEIVE: libc::c_int = 35;

/// TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT: nothing is mapped there any more.
const CLEAN: u32 = 1;

/// The largest segment, in bytes: on loopback, or of several that came as one (GRO).
const SEGMENT: usize = 64 << 10;

/// struct tcp_zerocopy_receive, up to what this file uses: the kernel goes by the length that it is given.
#[repr(C)]
#[derive(Debug, Default)]
struct Raw {
    address: u64,
    length: u32,
    recv_skip_hint: u32,
    inq: u32,
    err: i32,
    copybuf_address: u64,
    copybuf_len: i32,
    flags: u32,
}

/// Addresses of this process at which a socket's pages can be mapped.
#[derive(Debug)]
pub struct Window {
    start: NonNull<libc::c_void>,
    length: usize,
    /// So many bytes from the start on are mapped now.
    mapped: usize,
    /// The last of them, which the last call has taken.
    last: usize,
}

// SAFETY: a Window owns its addresses alone, and they are valid in every thread.
unsafe impl Send for Window {}

/// What one call has taken from the stream, in the order of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that are [`Window::last`] now.
    pub mapped: usize,
    /// Then bytes that were copied to the tail.
    pub copied: usize,
    /// Then so many must be received by other means: they cannot be mapped.
    pub to_copy: usize,
}

impl Window {
    /// Addresses for `length` bytes, rounded up to whole pages, of the data of `socket`.
    pub fn of(socket: &Socket, length: usize) -> io::Result<Self> {
        let length = length.max(1).next_multiple_of(page_size());
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address the kernel chooses overlaps nothing.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length, mapped: 0, last: 0 })
    }

    /// What the last call has mapped.
    pub fn last(&self) -> &[u8] {
        // SAFETY: the kernel has mapped the first `mapped` bytes for reading, of which these are the last, and they stay
        // until `clear`, which needs `&mut self`. Nobody writes them: pages of files and of processes are not mapped
        // (can_map_frag).
        unsafe {
            let first: *const u8 = self.start.as_ptr().cast();
            std::slice::from_raw_parts(first.add(self.mapped - self.last), self.last)
        }
    }

    /// Gives the pages back to the kernel.
    pub fn clear(&mut self) -> io::Result<()> {
        self.last = 0;
        let length = std::mem::take(&mut self.mapped);
        if length == 0 {
            return Ok(());
        }
        // SAFETY: the range lies in this window's own mapping, and no reference into it outlives `last`'s borrow.
        super::checked(unsafe { libc::madvise(self.start.as_ptr(), length, libc::MADV_DONTNEED) }).map(drop)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `of` made; no reference into it outlives self.
        let _ = unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

impl Socket {
    /// `getsockopt(TCP_ZEROCOPY_RECEIVE)`: takes at most `max` bytes from the stream, mapping whole pages into `window` behind
    /// what it has, and copying to `tail` what of the next bytes cannot be mapped, or all where no more than `tail` has
    /// come. A window with less room than a segment is cleared first. Never waits: with nothing there, nothing is taken.
    /// EIO at the end of the stream.
    pub fn zerocopy_receive(&self, window: &mut Window, max: usize, tail: &mut [u8]) -> io::Result<Taken> {
        window.last = 0;
        if window.length - window.mapped < SEGMENT {
            window.clear()?;
        }
        let length = max.min(window.length - window.mapped) & !(page_size() - 1);
        let tail_length = tail.len().min(max - length);
        let mut raw = Raw {
            address: (window.start.as_ptr() as usize + window.mapped) as u64,
            length: u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
            copybuf_address: tail.as_mut_ptr() as u64,
            copybuf_len: i32::try_from(tail_length).map_err(|_| io::ErrorKind::InvalidInput)?,
            flags: CLEAN,
            ..Raw::default()
        };
        let mut size = size_of::<Raw>() as libc::socklen_t;
        self.counted(|fd| {
            // SAFETY: `raw` and `size` are live and `size` is the length of `raw`; the addresses that `raw` holds are
            // those of `window`'s own mapping, of which no borrow is alive, and of `tail`, borrowed to be written.
            libc::c_long::from(unsafe {
                libc::getsockopt(
                    fd,
                    libc::IPPROTO_TCP,
                    TCP_ZEROCOPY_RECEIVE,
                    (&raw mut raw).cast(),
                    &raw mut size,
                )
            })
        })?;
        window.last = length.min(raw.length as usize);
        window.mapped += window.last;
        // A negative length is an error of the copy, which took nothing.
        let copied = usize::try_from(raw.copybuf_len).unwrap_or(0).min(tail_length);
        Ok(Taken { mapped: window.last, copied, to_copy: raw.recv_skip_hint as usize })
    }
}
