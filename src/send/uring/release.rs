//! The memory that the kernel still holds: reads completions and waits for them.

use std::io;
use std::time::Instant;

use super::{InFlight, RequestInfo, Uring};
use crate::send::released_soon;
use crate::sys::uring::CompletionInfo;

impl Uring {
    /// Waits briefly for the kernel to release something. Returns false if it is faster to copy.
    pub(super) fn released_soon(&mut self) -> io::Result<bool> {
        let released = released_soon(self.starved, |by| self.await_release(by))?;
        self.starved = !released;
        Ok(released)
    }

    /// Reads all available completions and returns how many requests released their memory.
    pub(super) fn read_completions(&mut self) -> io::Result<usize> {
        let before = self.in_flight.requests;
        loop {
            while let Some(completion) = self.ring.next_seen() {
                self.take(completion);
            }
            if !self.ring.fetch_overflow()? {
                return Ok(before - self.in_flight.requests);
            }
        }
    }

    fn take(&mut self, completion: CompletionInfo<RequestInfo>) {
        let part = match completion {
            CompletionInfo::Over { note, result, keeps } => {
                if let Some(link) = self.chain.get_mut(usize::from(note.place)) {
                    link.result = Some(result);
                }
                // A release can follow an error too, but then nothing was sent.
                let counted = keeps && result.is_ok_and(|bytes| bytes > 0);
                if counted {
                    self.ledger.sends += 1;
                    self.in_flight.counted += 1;
                }
                if keeps {
                    return;
                }
                note
            }
            CompletionInfo::Released { note, sent, copied } => {
                if sent {
                    self.count_release(copied);
                }
                note
            }
        };
        self.in_flight.requests -= 1;
        self.in_flight.bytes -= part.bytes as usize;
        self.in_flight.pages -= part.pages();
        if part.timed
            && let Some(since) = self.timed.take()
            && !self.aborting
        {
            self.ledger.notification.record(since.elapsed());
        }
    }

    fn count_release(&mut self, copied: bool) {
        self.in_flight.counted -= 1;
        if self.aborting {
            self.ledger.aborted += 1;
        } else {
            self.ledger.completed += 1;
            self.ledger.doubtful += u64::from(copied);
        }
    }

    /// Waits until the kernel has released something. Returns false if it holds nothing.
    pub(super) fn await_release(&mut self, by: Instant) -> io::Result<bool> {
        loop {
            if self.in_flight.requests == 0 {
                return Ok(false);
            }
            if self.read_completions()? > 0 {
                return Ok(true);
            }
            let left = by.saturating_duration_since(Instant::now());
            // Wait even if it is too late, because entering the kernel makes completions.
            self.ring.wait(1, left)?;
            if self.read_completions()? > 0 {
                return Ok(true);
            }
            if left.is_zero() {
                let held = self.in_flight.requests;
                let message = format!("the kernel still holds {held} sends because the peer did not read");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }

    /// Leaks the memory that the kernel still holds, because it could be sent after it is freed or rewritten.
    pub(super) fn give_up(&mut self) {
        self.ring.give_up();
        self.ledger.undrained += self.in_flight.counted;
        self.in_flight = InFlight::default();
    }
}
