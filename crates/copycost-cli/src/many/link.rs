//! Messages between the ranks of a job, and waiting for them without computing.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What carries messages between the ranks. Those from one rank to another arrive whole and in their order.
pub trait RankLink: fmt::Debug + Send + Sync {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Takes a message for another rank. Does not wait for it to be read.
    fn send(&self, to: usize, bytes: &[u8]);

    /// The next message that has arrived, and from whom; `None` where there is none now.
    fn poll(&self) -> Option<(usize, Vec<u8>)>;
}

/// Sends `word`.
pub fn tell<T: Serialize>(link: &dyn RankLink, to: usize, word: &T) {
    // Nothing that is said here has a key that is no string, or a number that JSON has not.
    link.send(to, &serde_json::to_vec(word).unwrap_or_default());
}

/// The next word that has arrived; one that is not understood is as good as its sender's silence.
pub fn hear<T: DeserializeOwned>(link: &dyn RankLink) -> Option<(usize, T)> {
    let (from, bytes) = link.poll()?;
    serde_json::from_slice(&bytes).ok().map(|word| (from, word))
}

/// The shortest and the longest sleep between two looks.
const NAPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

/// Looks again and again, with longer and longer sleeps between; `None` when it is too late.
pub fn wait<T>(by: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let mut nap = NAPS.0;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() > by {
            return None;
        }
        thread::sleep(nap);
        nap = (nap * 2).min(NAPS.1);
    }
}

/// Messages in pieces small enough that every MPI delivers a piece as a whole at once, without asking its receiver
/// first: then taking a piece that has arrived never waits.
pub const PIECE: usize = 1024;

/// `bytes` in pieces: the first four bytes of the first are their number.
pub fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let whole = [&length[..], bytes].concat();
    whole.chunks(PIECE).map(<[u8]>::to_vec).collect()
}

/// Pieces of one sender that are not yet a message.
#[derive(Debug, Default)]
pub struct Assembly(Vec<u8>);

impl Assembly {
    /// Adds a piece; the message where this was the last of it.
    pub fn add(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        self.0.extend_from_slice(piece);
        let length: [u8; 4] = self.0.get(..4)?.try_into().ok()?;
        let end = 4 + u32::from_le_bytes(length) as usize;
        if self.0.len() < end {
            return None;
        }
        let mut message = std::mem::take(&mut self.0);
        message.truncate(end);
        message.drain(..4);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_come_out_of_their_pieces() {
        let mut assembly = Assembly::default();
        for length in [0, 1, PIECE - 5, PIECE - 4, PIECE - 3, PIECE, 3 * PIECE, 100_000] {
            let message: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut pieces = pieces(&message);
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
            let last = pieces.pop().unwrap();
            assert!(pieces.iter().all(|piece| assembly.add(piece).is_none()), "{length}");
            assert_eq!(assembly.add(&last), Some(message), "{length}");
        }
    }
}
