//! TCP_ZEROCOPY_RECEIVE: maps pages of received data into this process instead of copying them
//! (net/ipv4/tcp.c, tcp_zerocopy_receive; include/uapi/linux/tcp.h).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::memory::{Block, page_size};
use super::message::Message;
use super::socket::Socket;
use super::splice::HeldMessages;

/// TCP_ZEROCOPY_RECEIVE, which the crate libc does not have.
const TCP_ZEROCOPY_RECEIVE: libc::c_int = 35;

/// TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT: the range has no mapped pages.
const CLEAN: u32 = 1;

/// The largest segment in bytes, on loopback or after GRO.
const SEGMENT: usize = 64 << 10;

/// struct tcp_zerocopy_receive, up to the last field used here. The kernel uses the length that the caller
/// gives.
#[repr(C)]
#[derive(Debug, Default)]
struct RawZeroCopyReceive {
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
    /// The number of mapped bytes from the start.
    mapped: usize,
    /// The number of bytes at their end that the last call has mapped.
    last: usize,
}

// SAFETY: a Window owns its addresses alone, and they are valid in every thread.
unsafe impl Send for Window {}

/// The bytes that one call has taken from the stream, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MappedRead {
    /// Bytes that are [`Window::last`] now.
    pub mapped: usize,
    /// Bytes after them that were copied to the tail.
    pub copied: usize,
    /// Bytes after them that cannot be mapped and must be received by other means.
    pub to_copy: usize,
}

impl Window {
    /// Addresses for `length` bytes of the data of `socket`, rounded up to whole pages.
    ///
    /// Those of mmap(2); `Unsupported` if the kernel would map pages that their owner can still write.
    pub fn of(socket: &Socket, length: usize) -> io::Result<Self> {
        if maps_pages_of_files()? {
            let why = "this kernel maps received pages that their sender can still write (fixed in Linux 6.8, 6.6.15, 6.1.76)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        Self::new(socket, length)
    }

    fn new(socket: &Socket, length: usize) -> io::Result<Self> {
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
        // SAFETY: the kernel has mapped the first `mapped` bytes for reading, and these are the last of them.
        // They stay until `clear`, which needs `&mut self`. Nobody writes them: `of` has checked that the
        // kernel maps no page of a file or of a process (can_map_frag).
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
        // SAFETY: the range is in this window's own mapping, and no reference into it outlives `last`'s
        // borrow.
        super::checked(unsafe { libc::madvise(self.start.as_ptr(), length, libc::MADV_DONTNEED) }).map(drop)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `of` made, and no reference into it outlives self.
        let _ = unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

impl Socket {
    /// `getsockopt(TCP_ZEROCOPY_RECEIVE)`: takes at most `max` bytes from the stream. It maps whole pages
    /// into `window` after the mapped ones, and copies the next bytes that cannot be mapped to `tail`, or all
    /// bytes if no more than `tail` have arrived. A window with less room than a segment is cleared first. It
    /// never waits: if nothing has arrived, it takes nothing. EIO at the end of the stream.
    pub fn zerocopy_receive(
        &self,
        window: &mut Window,
        max: usize,
        tail: &mut [u8],
    ) -> io::Result<MappedRead> {
        window.last = 0;
        if window.length - window.mapped < SEGMENT {
            window.clear()?;
        }
        let length = max.min(window.length - window.mapped) & !(page_size() - 1);
        let tail_length = tail.len().min(max - length);
        let mut raw = RawZeroCopyReceive {
            address: (window.start.as_ptr() as usize + window.mapped) as u64,
            length: u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
            copybuf_address: tail.as_mut_ptr() as u64,
            copybuf_len: i32::try_from(tail_length).map_err(|_| io::ErrorKind::InvalidInput)?,
            flags: CLEAN,
            ..RawZeroCopyReceive::default()
        };
        let mut size = size_of::<RawZeroCopyReceive>() as libc::socklen_t;
        self.counted(|fd| {
            // SAFETY: `raw` and `size` are live and `size` is the length of `raw`. The addresses in `raw` are
            // those of `window`'s own mapping, which is not borrowed, and of `tail`, which is borrowed
            // mutably.
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
        // A negative length is an error of the copy, which then took nothing.
        let copied = usize::try_from(raw.copybuf_len).unwrap_or(0).min(tail_length);
        Ok(MappedRead { mapped: window.last, copied, to_copy: raw.recv_skip_hint as usize })
    }
}

/// How long loopback may take to deliver a page.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the kernel maps a page of a file that was sent by reference. The file's owner could write it
/// behind a `&[u8]`. Since Linux 6.8 the kernel does not (commit 577e4432f3ac, net/ipv4/tcp.c, can_map_frag).
/// It is tried once in a process.
fn maps_pages_of_files() -> io::Result<bool> {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return Ok(*answer);
    }
    let page = Block::in_memfd(page_size(), 1)?.pop().ok_or(io::ErrorKind::OutOfMemory)?;
    let mut message = Message::adjacent_fields(page, 0, &[page_size()]);
    // A page that was never written is sent as the kernel's zero page, which may be mapped, because nobody
    // can write it.
    message.slices_mut().for_each(|field| field.fill(1));
    let message = Arc::new(message);
    let answer = first_page_is_mapped(|sender| sender.sendfile(&mut HeldMessages::default(), &message, 0))?;
    Ok(*ANSWER.get_or_init(|| answer))
}

/// Whether a receiver can map the page that `send` sends over loopback.
fn first_page_is_mapped(send: impl FnOnce(&Socket) -> io::Result<usize>) -> io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Socket::tcp(address)?;
    listener.options().bind(&address.into())?;
    listener.options().listen(1)?;
    let receiver = Socket::tcp(address)?;
    receiver.options().connect(&listener.local_addr()?.into())?;
    let (sender, _) = listener.accept()?;
    if send(&sender)? != page_size() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    receiver.readable_by(Instant::now() + DELIVERY_TIMEOUT)?;
    let mut window = Window::new(&receiver, SEGMENT)?;
    let taken = receiver.zerocopy_receive(&mut window, page_size(), &mut [])?;
    if taken == MappedRead::default() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "loopback delivered nothing"));
    }
    Ok(taken.mapped > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerosend::{Memory, Payload};

    #[test]
    fn pages_that_their_owner_can_write_are_not_mapped_but_copies_are() {
        let page =
            || Arc::new(Message::adjacent_fields(Block::pages(page_size()).unwrap(), 0, &[page_size()]));
        // Over loopback the kernel copies data sent by reference into its own pages, which can be mapped.
        let copied = first_page_is_mapped(|sender| {
            let sender = sender.try_clone()?;
            let (stream, _) = sender.into_stream();
            let mut sender = zerosend::Sender::with_options(stream, zerosend::Policy::Always)?;
            sender.try_send(&mut zerosend::Cursor::new(Payload::from(page() as Arc<dyn Memory>)))
        });
        assert!(copied.unwrap(), "else the other answer says nothing");
        assert!(!maps_pages_of_files().unwrap());
    }
}
