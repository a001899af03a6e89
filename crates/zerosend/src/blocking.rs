//! A sender that waits.

use std::fmt;
use std::io;
use std::mem;
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

/// A send that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct SendError {
    /// Why.
    pub error: io::Error,
    /// The payload again; `None` where some of it was sent.
    pub payload: Option<Payload>,
    /// Of a payload of which some was sent.
    pub receipt: Option<Receipt>,
}

impl SendError {
    #[cfg(feature = "tokio")]
    pub(crate) fn new(error: io::Error, payload: Option<Payload>) -> Self {
        Self { error, payload, receipt: None }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        error.error
    }
}

/// While a connection that is over makes every wait end at once, it is looked at this often.
const PAUSE: Duration = Duration::from_millis(1);

impl Blocking {
    /// Waits for ever, until [`set_timeout`](Self::set_timeout) says otherwise.
    pub fn new(sender: Sender) -> Self {
        Self { sender, unfinished: None, timeout: None }
    }

    /// For how long each of the calls waits; `None`: for ever. Each call to the kernel waits as long, and a send may take a second
    /// and a third one: it takes three times as long at most. Sets SO_SNDTIMEO.
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
    /// [`SendError`], which has the payload again where nothing of it was sent. `TimedOut` when the peer reads too slowly: where some
    /// of the payload was sent, the rest stays here and is sent before the next one. Otherwise those of the connection.
    #[inline]
    pub fn send(&mut self, payload: impl Into<Payload>) -> Result<(), SendError> {
        self.put(&mut Cursor::new(payload))
    }

    /// The same, with a receipt by which the payload comes back.
    ///
    /// # Errors
    /// As [`Blocking::send`]; where some of it was sent, the receipt is in the error.
    pub fn send_with_receipt(&mut self, payload: impl Into<Payload>) -> Result<Receipt, SendError> {
        let (mut cursor, receipt) = Cursor::with_receipt(payload);
        match self.put(&mut cursor) {
            Ok(()) => Ok(receipt),
            Err(error) if error.payload.is_some() => Err(error),
            Err(error) => Err(SendError { receipt: Some(receipt), ..error }),
        }
    }

    #[inline]
    fn put(&mut self, cursor: &mut Cursor) -> Result<(), SendError> {
        let result = match self.unfinished {
            None => Ok(()),
            Some(_) => self.finish(),
        };
        match result.and_then(|()| finish(&mut self.sender, cursor, self.timeout)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(mem::replace(cursor, Cursor::new(Payload::new())), error)),
        }
    }

    #[cold]
    fn failed(&mut self, cursor: Cursor, error: io::Error) -> SendError {
        let timed_out = is_late(&error);
        match cursor.into_payload() {
            Ok(payload) => SendError { error, payload: Some(payload), receipt: None },
            Err(cursor) => {
                if timed_out && !cursor.is_done() {
                    self.unfinished = Some(cursor);
                }
                SendError { error, payload: None, receipt: None }
            }
        }
    }

    /// Sends what is left of a payload whose send has passed its deadline.
    ///
    /// # Errors
    /// `TimedOut`, and then it still is unfinished, and those of the connection.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(cursor) = &mut self.unfinished else { return Ok(()) };
        let result = finish(&mut self.sender, cursor, self.timeout);
        if !result.as_ref().is_err_and(is_late) {
            self.unfinished = None;
        }
        result
    }

    /// Half-closes, after what is unfinished: the peer gets everything, then the end of the stream.
    ///
    /// # Errors
    /// As [`Blocking::finish`], and those of shutdown(2).
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.finish()?;
        self.sender.shutdown()
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

    /// Waits until the kernel has released a call, whatever the timeout is: how many it has.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, and those of [`Sender::reap`]; `NotFound` where nothing is in flight.
    pub fn wait_for_release(&mut self, deadline: Instant) -> io::Result<usize> {
        let before = self.sender.stats().released;
        let count = |sender: &Sender| (sender.stats().released - before) as usize;
        reap_until(&mut self.sender, Some(deadline), |sender| count(sender) > 0)?;
        Ok(count(&self.sender))
    }

    fn reap_until(&mut self, mut done: impl FnMut(&Sender) -> bool) -> io::Result<()> {
        if done(&self.sender) {
            return Ok(());
        }
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        reap_until(&mut self.sender, deadline, done)
    }

    /// How many calls by reference the kernel is not done with.
    #[inline]
    pub fn pending(&self) -> usize {
        self.sender.pending()
    }

    /// What was counted so far.
    #[inline]
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
    #[allow(clippy::result_large_err, reason = "it comes back by value, as it was given")]
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

/// Sends what is left. The first call waits as long as the timeout, in the kernel; what comes after it has one timeout together.
// Each frame between the call and who waits for it is a mispredicted return: see `repeated` in sys/socket.rs.
#[inline(always)]
fn finish(sender: &mut Sender, cursor: &mut Cursor, timeout: Option<Duration>) -> io::Result<()> {
    // Read when the first call did not send everything: most do.
    let mut deadline: Option<Option<Instant>> = None;
    loop {
        // The kernel waits, for SO_SNDTIMEO: to be woken for each report by poll(2) would cost more than to send.
        let blocked = match sender.step(cursor, 0) {
            Ok(()) if cursor.is_done() => return Ok(()),
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let deadline = *deadline.get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
        // Either the time was over, or the socket is a non-blocking one.
        let late = deadline.is_some_and(|deadline| now >= deadline);
        if late || (blocked && !wait_until_writable(sender, deadline)?) {
            return Err(timed_out("the peer reads too slowly"));
        }
    }
}

/// Reads reports until `done`.
fn reap_until(
    sender: &mut Sender,
    deadline: Option<Instant>,
    mut done: impl FnMut(&Sender) -> bool,
) -> io::Result<()> {
    loop {
        let released = sender.reap()?;
        if done(sender) {
            return Ok(());
        }
        if sender.pending() == 0 {
            // Nothing is in flight that could be it.
            return Err(io::ErrorKind::NotFound.into());
        }
        match sender.wait(Interest::Reports, deadline)? {
            None => {
                let why = "the kernel still refers to what was sent: the peer has not acknowledged it";
                return Err(timed_out(why));
            }
            Some(ready) if ready.hung_up && released == 0 => pause(deadline),
            Some(_) => {}
        }
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

/// Whether it is an error of [`timed_out`], and not ETIMEDOUT, which has ended the connection.
fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}
