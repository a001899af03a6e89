//! A sender that waits.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use crate::sys::socket::Interest;
use crate::{Cursor, Payload, ReadHalf, Receipt, Released, Sender, Stats};

/// A [`Sender`] whose calls wait, until a deadline where one is set.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # use std::io::Read;
/// # use std::net::{TcpListener, TcpStream};
/// # use std::time::Duration;
/// use zerosend::{Blocking, Payload, Sender};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
///
/// let mut sender = Blocking::new(Sender::new(stream)?);
/// sender.set_timeout(Some(Duration::from_secs(10)))?;
///
/// let body = vec![7; 100_000];
/// let mut receipt = sender.send_with_receipt(Payload::new().copied("a header\n").by_reference(body))?;
///
/// # let mut received = vec![0; 100_009];
/// # client.read_exact(&mut received)?;
/// // The kernel is done with the body when the peer has acknowledged it. Then it is ours again.
/// let released = sender.wait(&mut receipt)?;
/// let body = Vec::try_from(released.payload.into_segments().last().unwrap()).unwrap();
/// assert_eq!(body, vec![7; 100_000]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Blocking {
    sender: Sender,
    /// A payload whose send has passed its deadline in the middle; it is finished before the next.
    unfinished: Option<Cursor>,
    timeout: Option<Duration>,
}

/// While a connection that is over makes every wait end at once, it is looked at this often.
const PAUSE: Duration = Duration::from_millis(1);

impl Blocking {
    /// Waits for ever, until [`set_timeout`](Self::set_timeout) says otherwise.
    pub fn new(sender: Sender) -> Self {
        Self { sender, unfinished: None, timeout: None }
    }

    /// For how long each of the calls waits at most; `None`: for ever. Sets SO_SNDTIMEO.
    ///
    /// # Errors
    /// Those of setsockopt(2), and `InvalidInput` for no time.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sender.stream().set_write_timeout(timeout)?;
        self.timeout = timeout;
        Ok(())
    }

    /// Hands all of a payload to the kernel. It is freed when the kernel is done with it.
    ///
    /// # Errors
    /// `TimedOut` when the peer reads too slowly: what is left of the payload stays here and is sent before the next one, so that it must
    /// not be sent again. Otherwise those of the connection.
    pub fn send(&mut self, payload: impl Into<Payload>) -> io::Result<()> {
        self.put(Cursor::new(payload))
    }

    /// The same, with a receipt by which the payload comes back.
    ///
    /// # Errors
    /// As [`Blocking::send`]; the payload is lost where the connection fails.
    pub fn send_with_receipt(&mut self, payload: impl Into<Payload>) -> io::Result<Receipt> {
        let (cursor, receipt) = Cursor::with_receipt(payload);
        self.put(cursor).map(|()| receipt)
    }

    fn put(&mut self, cursor: Cursor) -> io::Result<()> {
        self.finish()?;
        self.unfinished = Some(cursor);
        self.finish()
    }

    /// Sends what is left of a payload whose send has passed its deadline.
    ///
    /// # Errors
    /// As [`Blocking::send`].
    pub fn finish(&mut self) -> io::Result<()> {
        let Self { sender, unfinished, timeout } = self;
        let Some(cursor) = unfinished else { return Ok(()) };
        // Read when the first call did not send everything: most do.
        let mut deadline = None;
        loop {
            // The kernel waits, for SO_SNDTIMEO: to be woken for each report by poll(2) would cost more than to send.
            match sender.advance(cursor, 0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    *unfinished = None;
                    return Err(error);
                }
                Ok(_) if cursor.is_done() => {
                    *unfinished = None;
                    return Ok(());
                }
                Ok(_) => {}
            }
            let now = Instant::now();
            let deadline = *deadline.get_or_insert_with(|| timeout.map(|timeout| now + timeout));
            // Either the time was over, or the socket is a non-blocking one.
            if !wait_until_writable(sender, deadline)? {
                return Err(timed_out("the peer reads too slowly"));
            }
        }
    }

    /// Waits until the kernel is done with everything that was sent.
    ///
    /// # Errors
    /// `TimedOut`, and those of [`Blocking::finish`] and [`Sender::reap`].
    pub fn drain(&mut self) -> io::Result<()> {
        self.finish()?;
        self.reap_until(|sender| sender.pending() == 0)
    }

    /// Waits for the payload of a receipt of this sender.
    ///
    /// # Errors
    /// As [`Blocking::drain`]; `NotFound` where it was taken before or is [lost](crate::Lost).
    pub fn wait(&mut self, receipt: &mut Receipt) -> io::Result<Released> {
        self.finish()?;
        self.reap_until(|_| receipt.is_resolved())?;
        match receipt.try_take() {
            Ok(Some(released)) => Ok(released),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn reap_until(&mut self, mut done: impl FnMut(&Sender) -> bool) -> io::Result<()> {
        if done(&self.sender) {
            return Ok(());
        }
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let released = self.sender.reap()?;
            if done(&self.sender) {
                return Ok(());
            }
            if self.sender.pending() == 0 {
                // Nothing is in flight that could be it.
                return Err(io::ErrorKind::NotFound.into());
            }
            match self.sender.wait(Interest::Reports, deadline)? {
                None => {
                    return Err(timed_out(
                        "the kernel still refers to what was sent: the peer has not acknowledged it",
                    ));
                }
                Some(ready) if ready.hung_up && released == 0 => pause(deadline),
                Some(_) => {}
            }
        }
    }

    /// How many calls by reference the kernel is not done with.
    pub fn pending(&self) -> usize {
        self.sender.pending()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.sender.stats()
    }

    /// A handle that receives from the connection.
    pub fn read_half(&self) -> ReadHalf {
        self.sender.read_half()
    }

    /// The sender, for what only it has.
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }

    /// The sender, for what only it has. A payload that is not finished stays here.
    pub fn get_mut(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// The sender.
    ///
    /// # Errors
    /// This, where a payload is not finished.
    pub fn into_inner(self) -> Result<Sender, Self> {
        if self.unfinished.is_some() { Err(self) } else { Ok(self.sender) }
    }
}

impl io::Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.sender.read(buffer)
    }
}

impl AsRawFd for Blocking {
    /// As [`Sender`]'s.
    fn as_raw_fd(&self) -> RawFd {
        self.sender.as_raw_fd()
    }
}

/// Waits until a send may go on, and reads what is reported meanwhile. False: the deadline has passed.
fn wait_until_writable(sender: &mut Sender, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        match sender.wait(Interest::Writable, deadline)? {
            None => return Ok(false),
            Some(ready) if ready.writable => return Ok(true),
            // An error of the connection is the next send's.
            Some(_) => match sender.reap() {
                Ok(0) => pause(deadline),
                Ok(_) => {}
                Err(_) => return Ok(true),
            },
        }
    }
}

fn pause(deadline: Option<Instant>) {
    let left = deadline.map_or(PAUSE, |deadline| deadline.saturating_duration_since(Instant::now()));
    std::thread::sleep(left.min(PAUSE));
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}
