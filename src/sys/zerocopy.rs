//! MSG_ZEROCOPY: sends by reference that hold what they refer to until the kernel has said that it is done.
//!
//! Why this is safe: the bytes of a call lie in a [`Message`], and a clone of its `Arc` lies in the tracker until a
//! completion names the call. While the clone is there nobody has the memory to write into, because that takes the only
//! `Arc`, and nobody frees it. What is dropped before the kernel is done is leaked.

use std::io::{self, IoSlice};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::completions::{Completion, Garbled, Tally, Tracker};
use super::message::Message;
use super::socket::{CONTROL_BYTES, SendFlags, Socket};

/// A connection and the sends on it that the kernel has not released. `N` is a note for each of them.
#[derive(Debug)]
pub struct References<N> {
    socket: Socket,
    tracker: Tracker<Lent<N>>,
    able: bool,
}

/// What one call refers to, and what its caller wants to know when it is released. Dropped with the tracker it leaks the
/// message.
#[derive(Debug)]
struct Lent<N> {
    message: ManuallyDrop<Arc<Message>>,
    note: N,
}

impl<N> Lent<N> {
    /// The kernel is done with the message.
    fn release(self) -> N {
        drop(ManuallyDrop::into_inner(self.message));
        self.note
    }
}

impl<N> References<N> {
    /// On a connected socket, whose SO_ZEROCOPY it sets: whoever sets it is the only one on this connection, also beside
    /// other handles of it, and so counts as the kernel does.
    ///
    /// # Errors
    /// Where the kernel has no MSG_ZEROCOPY, and `AlreadyExists` where the connection has SO_ZEROCOPY already.
    pub fn new(socket: Socket) -> io::Result<Self> {
        socket.begin_zerocopy()?;
        Ok(Self { socket, tracker: Tracker::default(), able: true })
    }

    /// The same, for who can do without: where it cannot send by reference, [`References::send`] is refused as
    /// `Unsupported`.
    pub fn if_able(socket: Socket) -> Self {
        let able = socket.begin_zerocopy().is_ok();
        Self { socket, tracker: Tracker::default(), able }
    }

    /// Whether it can send by reference.
    pub fn is_able(&self) -> bool {
        self.able
    }

    /// The connection.
    #[inline]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// One `sendmsg(2)` with MSG_ZEROCOPY of `slices`, which are parts of `message`. Returns how many bytes it took, and
    /// the number of the call, from 0 on; [`References::reap`] names it when it is released.
    ///
    /// # Errors
    /// Those of the call; `InvalidInput` for slices of something else.
    ///
    /// # Panics
    /// Where `note` does; the call then stays unreleased, as do all that follow.
    #[inline]
    pub fn send(
        &mut self,
        message: &Arc<Message>,
        slices: &[IoSlice<'_>],
        flags: SendFlags,
        note: impl FnOnce(usize) -> N,
    ) -> io::Result<(u64, usize)> {
        if !self.able {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if !message.holds(slices) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let lent = ManuallyDrop::new(Arc::clone(message));
        // SAFETY: the clone keeps the message from being freed or written until the kernel has released this call, or
        // for ever.
        match unsafe { self.socket.sendmsg_with(slices, libc::MSG_ZEROCOPY | flags.bits()) } {
            // A call that took nothing consumes no id, and the kernel refers to nothing.
            Ok(0) => {
                drop(ManuallyDrop::into_inner(lent));
                Err(io::ErrorKind::WriteZero.into())
            }
            Ok(sent) => {
                // Where `note` panics the kernel has counted a call that the tracker has not: no number means the same to
                // both any more, so nothing more is released or sent.
                self.able = false;
                let note = note(sent);
                self.able = true;
                Ok((self.tracker.issue(Lent { message: lent, note }), sent))
            }
            Err(error) => {
                drop(ManuallyDrop::into_inner(lent));
                Err(error)
            }
        }
    }

    /// Reads every notification that is there, and gives the number and the note of each call that is released to
    /// `released`.
    ///
    /// # Errors
    /// Those of recvmsg(2), and [`Garbled`] for what is no completion of this connection.
    pub fn reap(&mut self, mut released: impl FnMut(u64, N)) -> io::Result<()> {
        if !self.able {
            return Ok(());
        }
        let mut control = [0; CONTROL_BYTES];
        while let Some((bytes, truncated)) = self.socket.recv_error_queue(&mut control)? {
            let completion = Completion::parse(bytes, truncated).map_err(io::Error::other)?;
            self.complete(completion, &mut released).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn complete(&mut self, completion: Completion, mut released: impl FnMut(u64, N)) -> Result<(), Garbled> {
        self.tracker.complete(completion, |id, lent| released(id, lent.release()))
    }

    /// How many calls the kernel has not released.
    pub fn outstanding(&self) -> u64 {
        self.tracker.outstanding()
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.tracker.tally()
    }

    /// Leaks what the kernel has not released, and says how many calls those were.
    pub fn give_up(&mut self) -> u64 {
        self.tracker.take_outstanding().count() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bytes_of_something_else_are_refused_and_what_failed_is_not_held() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let handle = client.try_clone().unwrap();
        let mut references = References::new(client).unwrap();
        // Another would count from 0 as well, and take this one's releases for its own.
        let second = References::<()>::new(handle).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        let mut message = Arc::new(Message::from_bytes(vec![1; 5000]));
        let other = vec![2; 5000];
        let mut send = |slices: &[IoSlice<'_>]| references.send(&message, slices, SendFlags::NONE, drop);
        assert_eq!(send(&[IoSlice::new(&other)]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(send(&[]).unwrap_err().kind(), io::ErrorKind::WriteZero);
        let middle = [IoSlice::new(&message.slices()[0][100..200])];
        assert_eq!(send(&middle).unwrap(), (0, 100));
        references.socket().shutdown();
        let error = references.send(&message, message.slices(), SendFlags::NONE, drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(references.outstanding(), 1);
        assert!(Arc::get_mut(&mut message).is_none());
        drop(references);
        assert!(
            Arc::get_mut(&mut message).is_none(),
            "the kernel has not said that it is done: it is leaked"
        );
    }
}
