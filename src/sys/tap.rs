//! The user's end of a macvtap link: `ioctl(2)` on its node, frames by `read(2)` and `write(2)`, and a wait
//! for frames.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// The length of the `struct virtio_net_hdr` before every frame. It has the checksum and segmentation
/// requests, as for a network card.
pub const HEADER_BYTES: usize = 10;

/// An open tap. It never blocks.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Takes the node of a macvtap, opened for reading and writing with O_NONBLOCK, and makes it carry whole
    /// frames of up to 64 KiB. Otherwise the kernel would split them to the link's MTU and copy them
    /// (tap_handle_frame, drivers/net/tap.c).
    pub fn new(node: File) -> io::Result<Self> {
        let offloads = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
        // SAFETY: TUNSETOFFLOAD takes its argument by value; the descriptor is open.
        super::checked(unsafe { libc::ioctl(node.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) })?;
        let size = HEADER_BYTES as libc::c_int;
        // SAFETY: TUNSETVNETHDRSZ reads one int, which is live; the descriptor is open.
        super::checked(unsafe { libc::ioctl(node.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })?;
        // By default it refuses frames when 208 KiB, which is three frames, are on the way to the other end.
        // TCP's window limits them anyway.
        let unbounded = libc::c_int::MAX;
        // SAFETY: TUNSETSNDBUF reads one int, which is live; the descriptor is open.
        super::checked(unsafe { libc::ioctl(node.as_raw_fd(), libc::TUNSETSNDBUF, &raw const unbounded) })?;
        Ok(Self(node))
    }

    /// For tests: a datagram socket, or anything else that transfers whole frames.
    pub fn stand_in(socket: impl Into<OwnedFd>) -> Self {
        Self(File::from(socket.into()))
    }

    /// Reads the next frame with its header into `buffer` and returns its length; `None` if there is no frame
    /// yet.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a frame with its header.
    #[inline]
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write(frame).map(drop)
    }
}

/// Wakes a thread that waits for taps: `eventfd(2)`.
#[derive(Debug)]
pub struct TapWaker(File);

impl TapWaker {
    /// A new waker, not ringing.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes two numbers.
        let fd = super::checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was made by the call above and belongs to nobody else.
        Ok(Self(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Wakes the thread that waits, or the next one that waits.
    pub fn wake(&self) {
        // It fails only after 2^64 calls that nobody waited for.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Resets it.
    pub fn clear(&self) {
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

/// `ppoll(2)`: waits until a tap has a frame or `waker` rings, at most `patience`. Fails with NotConnected if
/// a tap has lost its link, because that would end every wait at once.
pub fn wait_for(taps: &[&Tap], waker: &TapWaker, patience: Duration) -> io::Result<()> {
    const MOST: usize = 4;
    let readable = |file: &File| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut polled = [readable(&waker.0); MOST];
    let count = 1 + taps.len().min(MOST - 1);
    polled[1..].iter_mut().zip(taps).for_each(|(place, tap)| *place = readable(&tap.0));
    // `as _`, because the libc crate has deprecated the name of musl's type. Both types are i64 on all
    // supported targets.
    let timeout = libc::timespec { tv_sec: patience.as_secs() as _, tv_nsec: patience.subsec_nanos().into() };
    // SAFETY: `polled` is live and has at least `count` entries, `timeout` is live, and no signal mask is given.
    let woken = unsafe {
        libc::ppoll(polled.as_mut_ptr(), count as libc::nfds_t, &raw const timeout, std::ptr::null())
    };
    match super::checked(woken) {
        Ok(_) if polled[1..count].iter().any(|tap| tap.revents & !libc::POLLIN != 0) => {
            Err(io::ErrorKind::NotConnected.into())
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}
