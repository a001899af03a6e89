//! Messages between the ranks of a job, and a wait for them that uses almost no CPU time.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A transport for messages between the ranks. Messages from one rank to another arrive whole and in order.
pub trait RankLink: fmt::Debug + Send + Sync {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// Sends a message to rank `to` without waiting for it to be read.
    fn send(&self, to: usize, bytes: &[u8]);

    /// The next message that has arrived, with its sender's rank; `None` if there is none now.
    fn poll(&self) -> Option<(usize, Vec<u8>)>;
}

/// Sends `message` as JSON to rank `to`.
pub fn send_message<T: Serialize>(link: &dyn RankLink, to: usize, message: &T) {
    // Serialising cannot fail: all keys are strings, and all numbers exist in JSON.
    link.send(to, &serde_json::to_vec(message).unwrap_or_default());
}

/// The next message that has arrived, with its sender's rank. Unparsable messages are ignored.
pub fn receive_message<T: DeserializeOwned>(link: &dyn RankLink) -> Option<(usize, T)> {
    let (from, bytes) = link.poll()?;
    serde_json::from_slice(&bytes).ok().map(|message| (from, message))
}

/// The shortest and the longest sleep between two polls.
const NAPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

/// Calls `poll` with growing sleeps in between until it returns a value; `None` after `deadline`.
pub fn wait<T>(deadline: Instant, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    let mut nap = NAPS.0;
    loop {
        if let Some(found) = poll() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(nap);
        nap = (nap * 2).min(NAPS.1);
    }
}

/// Bytes of a piece. Every MPI delivers a message this small eagerly, without a handshake with the receiver, so
/// receiving a piece that has arrived never blocks.
pub const PIECE: usize = 1024;

/// `bytes` in pieces of [`PIECE`] bytes. The first four bytes of the first piece are the length, little-endian.
pub fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let whole = [&length[..], bytes].concat();
    whole.chunks(PIECE).map(<[u8]>::to_vec).collect()
}

/// The pieces of an incomplete message from one sender.
#[derive(Debug, Default)]
pub struct Assembly(Vec<u8>);

impl Assembly {
    /// Adds a piece. Returns the message if this was its last piece.
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
    fn messages_of_any_length_are_reassembled() {
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
