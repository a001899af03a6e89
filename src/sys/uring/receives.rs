//! The receives of one socket: one multishot request with buffers that the kernel fills.
//!
//! Why this is safe: the kernel writes only into buffers in the buffer ring. A buffer is put there only when
//! nobody has a slice of it, because [`ReceiveRing::recv`] lends a slice until its next call. The memory is
//! dropped when the request has ended, and leaked if it does not end in time.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::Fixed;
use io_uring::{cqueue, opcode};

use super::{IGNORED, Ring};
use crate::sys::memory::{Block, page_size};
use crate::sys::socket::Socket;

/// The only group of buffers.
const GROUP: u16 = 0;

/// An entry of the buffer ring: address u64, length u32, number u16, and in the first entry the tail u16
/// (struct io_uring_buf and io_uring_buf_ring, include/uapi/linux/io_uring.h).
const ENTRY: usize = 16;
const LENGTH_AT: usize = 8;
const NUMBER_AT: usize = 12;
const TAIL_AT: usize = 14;

/// How long a cancelled request may take to end.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(100);

/// A socket and the request that receives from it.
pub struct ReceiveRing {
    ring: Ring,
    socket: Socket,
    /// The buffer ring in the first pages, then the buffers.
    memory: Option<Block>,
    start: NonNull<u8>,
    first_buffer: usize,
    count: u16,
    size: usize,
    tail: u16,
    armed: bool,
    chunk: Option<Chunk>,
}

// SAFETY: the pointer leads into memory that moves with it.
unsafe impl Send for ReceiveRing {}

/// A buffer that the kernel has filled, and how much of it was returned.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    number: u16,
    seen: usize,
    filled: usize,
}

impl ReceiveRing {
    /// A ring on a connected socket with `count` buffers (a power of two) of `size` bytes.
    ///
    /// # Errors
    /// As [`super::probe`]; EINVAL before Linux 5.19.
    pub fn open(socket: Socket, count: u16, size: u32, first: u16) -> io::Result<Self> {
        let ring = Ring::open(2, 4 * u32::from(count), socket.calls())?;
        let first_buffer = (usize::from(count) * ENTRY).next_multiple_of(page_size()) + usize::from(first);
        let size = size as usize;
        let block = Block::pages(first_buffer + usize::from(count) * size)?;
        let start = block.start();
        ring.ring.submitter().register_files(&[socket.as_fd().as_raw_fd()])?;
        let address = start.as_ptr() as u64;
        // SAFETY: the entries are at the start of `block`, which is dropped after they are unregistered, or
        // never.
        unsafe { ring.ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0)? };
        let memory = Some(block);
        let mut opened = Self {
            ring,
            socket,
            memory,
            start,
            first_buffer,
            count,
            size,
            tail: 0,
            armed: false,
            chunk: None,
        };
        (0..count).for_each(|number| opened.lend(number));
        Ok(opened)
    }

    /// The offset in a page at which the first buffer starts.
    pub fn buffer_offset(&self) -> usize {
        (self.start.as_ptr() as usize + self.first_buffer) % page_size()
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The next bytes of the stream, at most `max`; none at its end. It makes a system call only if no data
    /// has arrived.
    ///
    /// `WouldBlock` if nothing arrives within `patience`.
    pub fn recv(&mut self, max: usize, patience: Duration) -> io::Result<&[u8]> {
        if let Some(Chunk { number, seen, filled }) = self.chunk
            && seen == filled
        {
            self.chunk = None;
            self.lend(number);
        }
        while self.chunk.is_none() {
            if !self.next_chunk()? {
                self.wait(patience)?;
            } else if self.chunk.is_none() {
                return Ok(&[]);
            }
        }
        let Some(chunk) = &mut self.chunk else { return Ok(&[]) };
        let length = max.min(chunk.filled - chunk.seen);
        let offset = self.first_buffer + usize::from(chunk.number) * self.size + chunk.seen;
        chunk.seen += length;
        // SAFETY: the kernel has filled these bytes of a buffer inside `memory`. It writes into the buffer
        // only after it is lent again, which needs `&mut self`, and this borrow must be over then.
        Ok(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), length) })
    }

    /// Reads the next completion. Returns false if there is none. Returns true without a chunk if the stream
    /// has ended.
    fn next_chunk(&mut self) -> io::Result<bool> {
        loop {
            let Some(completion) = self.ring.ring.completion().next() else { return Ok(false) };
            let (result, flags) = (completion.result(), completion.flags());
            if completion.user_data() == IGNORED {
                continue;
            }
            self.armed &= cqueue::more(flags);
            let number = cqueue::buffer_select(flags).filter(|number| *number < self.count);
            match (usize::try_from(result), number) {
                (Ok(filled @ 1..), Some(number)) => {
                    self.chunk = Some(Chunk { number, seen: 0, filled: filled.min(self.size) });
                    return Ok(true);
                }
                (Ok(_), number) => {
                    number.into_iter().for_each(|number| self.lend(number));
                    return Ok(true);
                }
                // Every buffer was full; by now all were read.
                (Err(_), _) if [libc::ENOBUFS, libc::EINTR, libc::EAGAIN].contains(&-result) => {}
                (Err(_), _) => return Err(io::Error::from_raw_os_error(-result)),
            }
        }
    }

    /// Waits until there is a completion, and restarts the request if it has ended.
    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        let began = Instant::now();
        loop {
            self.arm()?;
            self.ring.enter(1, patience.saturating_sub(began.elapsed()))?;
            if !self.ring.ring.completion().is_empty() {
                return Ok(());
            }
            if began.elapsed() >= patience {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        if !self.armed {
            let request = opcode::RecvMulti::new(Fixed(0), GROUP).build().user_data(0);
            // SAFETY: it has no pointer; it writes only to buffers of the buffer ring.
            unsafe { self.ring.ring.submission().push(&request) }.map_err(io::Error::other)?;
            self.armed = true;
        }
        Ok(())
    }

    /// Puts a buffer into the buffer ring.
    fn lend(&mut self, number: u16) {
        let entry = usize::from(self.tail % self.count) * ENTRY;
        let buffer = self.first_buffer + usize::from(number) * self.size;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: entry and buffer are inside `memory`, aligned to 16 bytes, and nobody has a slice of
        // either. The kernel reads an entry only when the tail is after it.
        unsafe {
            let start = self.start.as_ptr();
            start.add(entry).cast::<u64>().write(start.add(buffer) as u64);
            start.add(entry + LENGTH_AT).cast::<u32>().write(self.size as u32);
            start.add(entry + NUMBER_AT).cast::<u16>().write(number);
            AtomicU16::from_ptr(start.add(TAIL_AT).cast()).store(self.tail, Ordering::Release);
        }
    }

    /// Cancels the request. Returns whether it has ended, so that the kernel writes no more.
    fn cancel(&mut self) -> bool {
        let until = Instant::now() + CANCEL_TIMEOUT;
        while self.armed && Instant::now() < until {
            let request = opcode::AsyncCancel::new(0).build().user_data(IGNORED);
            // SAFETY: it has no pointer.
            let pushed = unsafe { self.ring.ring.submission().push(&request) };
            if pushed.is_err() || self.ring.enter(1, CANCEL_TIMEOUT).is_err() {
                break;
            }
            // The received data is not needed any more.
            while matches!(self.next_chunk(), Ok(true)) {}
        }
        !self.armed
    }
}

impl fmt::Debug for ReceiveRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receives")
            .field("ring", &self.ring)
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

impl Drop for ReceiveRing {
    fn drop(&mut self) {
        let ended = self.cancel();
        let submitter = self.ring.ring.submitter();
        let _ = submitter.unregister_files();
        let free = submitter.unregister_buf_ring(GROUP).is_ok() && ended;
        if !free {
            // The kernel may still write into it.
            std::mem::forget(self.memory.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::test_rules::{skip, take_turn_with_locked_memory};

    const TIMEOUT: Duration = Duration::from_millis(50);

    fn connected(count: u16, size: u32) -> Option<(ReceiveRing, TcpStream)> {
        take_turn_with_locked_memory();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        if let Err(error) = super::super::probe() {
            skip(&format!("no io_uring: {error}"));
            return None;
        }
        Some((ReceiveRing::open(client.into(), count, size, 64).unwrap(), listener.accept().unwrap().0))
    }

    #[test]
    fn a_stream_arrives_completely_through_few_small_buffers() {
        let Some((mut ring, mut peer)) = connected(2, 100) else { return };
        let sent: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let mut received = Vec::new();
        let writer = std::thread::Builder::new().spawn({
            let sent = sent.clone();
            move || peer.write_all(&sent).map(|()| peer).unwrap()
        });
        for max in [1, 99, 100, 101, 5000].into_iter().cycle() {
            let bytes = ring.recv(max, Duration::from_secs(10)).unwrap();
            assert!((1..=max).contains(&bytes.len()));
            received.extend_from_slice(bytes);
            if received.len() == sent.len() {
                break;
            }
        }
        assert!(received == sent);
        assert_eq!(ring.recv(1, TIMEOUT).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(writer.unwrap().join().unwrap());
        assert!(ring.recv(1, TIMEOUT).unwrap().is_empty());
        assert!(ring.recv(1, TIMEOUT).unwrap().is_empty());
    }

    #[test]
    fn dropping_it_ends_the_connection() {
        let Some((mut ring, mut peer)) = connected(4, 4096) else { return };
        peer.write_all(&[7; 3 * 4096]).unwrap();
        assert_eq!(ring.recv(10, Duration::from_secs(10)).unwrap(), [7; 10]);
        drop(ring);
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        match peer.read(&mut [0]) {
            Ok(read) => assert_eq!(read, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}
