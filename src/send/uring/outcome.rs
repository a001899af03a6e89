//! Runs a chain: submits it, waits for it, cancels it if the peer takes too long, and finds out what it sent.

use std::io;
use std::time::Instant;

use super::Uring;
use crate::send::stalled;

/// How often to cancel a chain before the sender gives up.
const CANCELS: usize = 20;

impl Uring {
    /// Submits the chain, waits until each request is over, and cancels them if the peer takes too long.
    /// Returns whether it did.
    pub(super) fn run_chain(&mut self) -> io::Result<bool> {
        let by = Instant::now().checked_add(self.stall);
        self.ring.submit(self.stall)?;
        self.read_completions()?;
        while self.ring.going() > 0 {
            let left = by.map_or(self.stall, |by| by.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return self.cancel_chain().map(|()| true);
            }
            self.ring.wait(self.ring.going(), left)?;
            self.read_completions()?;
        }
        Ok(false)
    }

    fn cancel_chain(&mut self) -> io::Result<()> {
        for _ in 0..CANCELS {
            self.ring.cancel()?;
            self.read_completions()?;
            if self.ring.going() == 0 {
                return Ok(());
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not end a cancelled request"))
    }

    /// Removes the sent bytes from the waiting messages. Returns true if the kernel refused the next request
    /// by reference and copying it is faster.
    pub(super) fn settle(&mut self, timed_out: bool) -> io::Result<bool> {
        let mut progress = 0;
        let mut ended = None;
        let chain = std::mem::take(&mut self.chain);
        // If the kernel refuses a request before the chain starts, it ends the requests before it too.
        let cause = chain.iter().find_map(|link| match link.result {
            Some(Err(errno)) if errno != libc::ECANCELED => Some(errno),
            _ => None,
        });
        for link in chain {
            let result = link.result.unwrap_or(Err(libc::ECANCELED));
            match (result, ended) {
                (Ok(bytes), None) => {
                    progress += bytes;
                    ended = (bytes < link.bytes).then_some(libc::ECANCELED);
                }
                (Err(_), None) => ended = Some(cause.unwrap_or(libc::ECANCELED)),
                (Ok(bytes @ 1..), Some(_)) => {
                    let message =
                        format!("{bytes} bytes were sent after a request that was sent only in part");
                    return Err(io::Error::other(message));
                }
                (_, Some(_)) => {}
            }
        }
        self.advance(progress);
        match ended {
            None => Ok(false),
            Some(libc::ENOMEM | libc::ENOBUFS) if self.by_reference() => {
                self.ledger.enobufs += 1;
                Ok(!self.released_soon()?)
            }
            Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) if progress > 0 => Ok(false),
            Some(libc::EINTR) => Ok(false),
            Some(libc::ECANCELED) if timed_out => Err(stalled(io::Error::from_raw_os_error(libc::EAGAIN))),
            Some(errno) => Err(stalled(io::Error::from_raw_os_error(errno))),
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(left) = self.waiting.front().map(|message| message.size() - self.sent) {
            if bytes < left {
                break;
            }
            bytes -= left;
            self.sent = 0;
            self.waiting.pop_front();
        }
        self.sent += bytes;
    }
}
