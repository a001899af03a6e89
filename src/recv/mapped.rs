//! `mapped`: TCP_ZEROCOPY_RECEIVE maps whole pages of received data into this process.
//!
//! The copies: none for a page that can be mapped, which is a page that a segment fills completely.
//! Everything else (the ends of segments, pages that the kernel may not map) is copied: a little by the same
//! call, the rest by `recv()` (tcp_zerocopy_receive, net/ipv4/tcp.c; tools/testing/selftests/net/tcp_mmap.c).
//!
//! Mapped pages must be unmapped, which costs a call, and an invalidation on every CPU that runs this
//! process. So pages are unmapped when the window is full, not after each segment. This still takes more CPU
//! time than `recv`: to copy bytes that are in the cache is cheaper than to make and remove a page table
//! entry for each page (docs/tuning.md, "`mapped`").
//!
//! Unlike tcp_mmap.c this does not set SO_RCVLOWAT, because the end of the data would then wait forever. It
//! does not set TCP_MAXSEG either, because every receive path gets the same connections.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::buffer::ReceiveBuffer;
use super::{Mapped, ReceivePath, Receiver};
use crate::offset::BufferStart;
use crate::sys::memory::page_size;
use crate::sys::socket::{Socket, WakeReason};
use crate::sys::tcp_info::tcp_info;
use crate::sys::zerocopy_receive::{MappedRead, Window};
use crate::unsupported::Unsupported;

pub(super) const PATH: ReceivePath = ReceivePath {
    name: "mapped",
    description: "TCP_ZEROCOPY_RECEIVE: the kernel maps whole pages without a copy and copies the rest",
    probe: |_| probe(),
    open: |socket, begin| Ok(Box::new(MappedReceiver::new(socket, begin)?)),
};

/// The most that is mapped at a time, so that many segments share one invalidation: see docs/tuning.md,
/// "`mapped`".
const WINDOW: usize = 1 << 20;

/// The call that maps also copies a tail of up to this length, which is not worth a call. If less than this
/// has arrived, the call copies it and maps nothing, so this must not exceed a page.
const TAIL: usize = 4096;

/// The length of the buffer for bytes that cannot be mapped.
const BUFFER: usize = 256 << 10;

fn probe() -> Result<(), Unsupported> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    Socket::tcp(address).and_then(|socket| Window::of(&socket, page_size())).map(drop).map_err(|error| {
        Unsupported(format!("this kernel has no TCP_ZEROCOPY_RECEIVE (needs Linux 4.18 or later): {error}"))
    })
}

/// Maps received pages.
#[derive(Debug)]
pub struct MappedReceiver {
    socket: Socket,
    window: Window,
    tail: ReceiveBuffer,
    buffer: ReceiveBuffer,
    /// SO_RCVTIMEO when the receiver was opened.
    patience: Option<Duration>,
    mapped: u64,
    copied: u64,
}

impl MappedReceiver {
    /// A receiver on a connected socket. Its buffers for bytes that cannot be mapped start at `begin`.
    pub fn new(socket: Socket, begin: BufferStart) -> io::Result<Self> {
        let window = Window::of(&socket, WINDOW)?;
        let patience = socket.options().read_timeout()?;
        let (tail, buffer) = (ReceiveBuffer::new(begin, TAIL)?, ReceiveBuffer::new(begin, BUFFER)?);
        Ok(Self { socket, window, tail, buffer, patience, mapped: 0, copied: 0 })
    }

    fn take(&mut self, max: usize) -> io::Result<MappedRead> {
        match self.socket.zerocopy_receive(&mut self.window, max, &mut self.tail) {
            // The stream has ended or failed; `recv` reports which.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(MappedRead::default()),
            result => result,
        }
    }

    fn copy(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let limit = max.min(self.buffer.len());
        let got = self.socket.recv(&mut self.buffer[..limit])?;
        see(&self.buffer[..got]);
        self.copied += got as u64;
        Ok(got)
    }

    /// Waits for data, as `recv` would.
    fn wait(&self) -> io::Result<()> {
        // Without a timeout `recv` itself waits forever.
        let Some(patience) = self.patience else { return Ok(()) };
        match self.socket.readable_by(Instant::now() + patience)? {
            WakeReason::Late => Err(io::ErrorKind::WouldBlock.into()),
            WakeReason::Ready | WakeReason::ByErrorQueue => Ok(()),
        }
    }
}

impl Receiver for MappedReceiver {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        if max < page_size() {
            return self.copy(max, see);
        }
        let mut taken = self.take(max)?;
        if taken == MappedRead::default() {
            self.wait()?;
            taken = self.take(max)?;
        }
        let MappedRead { mapped, copied, to_copy } = taken;
        if mapped > 0 {
            see(self.window.last());
        }
        see(&self.tail[..copied]);
        self.mapped += mapped as u64;
        self.copied += copied as u64;
        let got = mapped + copied;
        // Nothing arrived: `recv` reports what ended the wait.
        let limit = if got == 0 && to_copy == 0 { max } else { to_copy.min(max - got) };
        if limit == 0 {
            return Ok(got);
        }
        Ok(got + self.copy(limit, see)?)
    }

    fn release(&mut self) -> io::Result<()> {
        self.window.clear()
    }

    fn buffer_offset(&self) -> Option<usize> {
        Some(self.buffer.offset())
    }

    fn mapped(&self) -> Option<Mapped> {
        let segment = tcp_info(self.socket.as_fd()).ok().and_then(|info| info.rcv_mss);
        Some(Mapped { mapped: self.mapped, copied: self.copied, segment })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connected() -> (MappedReceiver, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        client.options().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        (MappedReceiver::new(client, BufferStart::default()).unwrap(), listener.accept().unwrap().0)
    }

    #[test]
    fn no_more_is_received_than_requested() {
        let (mut receiver, mut peer) = connected();
        let sent: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        peer.write_all(&sent).unwrap();
        let mut received = Vec::new();
        for max in [1, 100, 4095, 4096, 4097, 8193, 20_000, 1 << 20].into_iter().cycle() {
            let before = received.len();
            let got = receiver.recv(max, &mut |bytes| received.extend_from_slice(bytes)).unwrap();
            assert!((1..=max).contains(&got), "{got} of {max}");
            assert_eq!(received.len() - before, got, "what is counted is what was shown");
            if received.len() == sent.len() {
                break;
            }
        }
        assert!(received == sent);
        let Mapped { mapped, copied, .. } = receiver.mapped().unwrap();
        assert_eq!(mapped + copied, 100_000);
    }

    #[test]
    fn a_timeout_differs_from_the_end_of_the_stream() {
        let (mut receiver, peer) = connected();
        for max in [1, 1 << 20] {
            let error = receiver.recv(max, &mut |_| panic!("nothing came")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        drop(peer);
        for max in [1, 1 << 20] {
            assert_eq!(receiver.recv(max, &mut |bytes| assert!(bytes.is_empty())).unwrap(), 0);
        }
    }
}
