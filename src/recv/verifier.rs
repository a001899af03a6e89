//! Checks every byte of a stream of messages and reports the first wrong one.

use std::fmt;

use crate::message::{Buffers, Spec, content};
use crate::workload::Deck;

/// Checks the stream of one connection.
#[derive(Debug)]
pub struct Verifier {
    /// The expected bytes of the current message.
    expected: Vec<u8>,
    position: usize,
    sequence: u64,
    /// A ring's messages have their sequence number as content; a constant message is always number 0.
    numbered: bool,
    /// Decides the sizes, if messages are not all the same.
    deck: Option<Box<(Deck, Spec)>>,
    /// The class that `expected` holds.
    class: Option<usize>,
    wrong: Option<WrongByte>,
}

/// The first wrong byte of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongByte {
    /// The number of the message on this connection, from 0.
    pub message: u64,
    /// The position of the byte in the message.
    pub position: usize,
    /// The expected byte.
    pub expected: u8,
    /// The received byte.
    pub found: u8,
}

impl fmt::Display for WrongByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, position, expected, found } = self;
        write!(
            f,
            "message {message} is wrong from byte {position} on: received 0x{found:02x} instead of \
             0x{expected:02x}"
        )
    }
}

impl std::error::Error for WrongByte {}

impl Verifier {
    /// A verifier for a new connection with messages of `spec`.
    pub fn new(spec: &Spec) -> Self {
        let mut expected = vec![0; spec.size];
        content(0, 0, &mut expected);
        Self {
            expected,
            position: 0,
            sequence: 0,
            numbered: matches!(spec.buffers, Buffers::Ring(_)),
            deck: None,
            class: None,
            wrong: None,
        }
    }

    /// A verifier for a new connection that plays `deck`, laid out as `base` says.
    pub fn of_deck(deck: Deck, base: &Spec) -> Self {
        let mut verifier = Self { deck: Some(Box::new((deck, *base))), ..Self::new(base) };
        verifier.expect_next();
        verifier
    }

    /// Computes the bytes of the next message.
    fn expect_next(&mut self) {
        if let Some((deck, base)) = self.deck.as_deref_mut() {
            let class = deck.next_class();
            if !self.numbered && self.class == Some(class) {
                return;
            }
            self.class = Some(class);
            let workload = &deck.workload;
            let spec = workload.spec(workload.classes()[class], base);
            let allocated = spec.is_allocated();
            if workload.shares_one_buffer(base) && !allocated {
                self.expected = spec.shared_content();
                return;
            }
            self.expected.resize(spec.size, 0);
            content(if self.numbered { self.sequence } else { 0 }, 0, &mut self.expected);
        } else if self.numbered {
            content(self.sequence, 0, &mut self.expected);
        }
    }

    /// Takes the next bytes of the stream.
    pub fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.wrong.is_none() {
            let n = bytes.len().min(self.expected.len() - self.position);
            let (now, later) = bytes.split_at(n);
            self.compare(now);
            self.position += n;
            if self.position == self.expected.len() {
                self.position = 0;
                self.sequence += 1;
                self.expect_next();
            }
            bytes = later;
        }
    }

    fn compare(&mut self, bytes: &[u8]) {
        let expected = &self.expected[self.position..self.position + bytes.len()];
        if expected == bytes {
            return;
        }
        let differs = expected.iter().zip(bytes).position(|(expected, found)| expected != found);
        self.wrong = differs.map(|at| WrongByte {
            message: self.sequence,
            position: self.position + at,
            expected: expected[at],
            found: bytes[at],
        });
    }

    /// Whole messages seen so far.
    pub fn messages(&self) -> u64 {
        self.sequence
    }

    /// The first wrong byte, if there was one.
    pub fn wrong(&self) -> Option<WrongByte> {
        self.wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(spec: &Spec, messages: u64) -> Vec<u8> {
        let numbered = matches!(spec.buffers, Buffers::Ring(_));
        let mut bytes = vec![0; spec.size * messages as usize];
        for (sequence, message) in bytes.chunks_mut(spec.size).enumerate() {
            content(if numbered { sequence as u64 } else { 0 }, 0, message);
        }
        bytes
    }

    fn specs() -> [Spec; 2] {
        let spec = Spec::new(37).unwrap();
        [spec, Spec { buffers: Buffers::Ring(3), ..spec }]
    }

    proptest! {
        #[test]
        fn a_right_stream_passes_however_it_is_cut(cuts in proptest::collection::vec(1usize..90, 1..30)) {
            for spec in specs() {
                let bytes = stream(&spec, 9);
                let mut verifier = Verifier::new(&spec);
                let mut rest = &bytes[..];
                for cut in cuts.iter().cycle() {
                    let (now, later) = rest.split_at((*cut).min(rest.len()));
                    verifier.see(now);
                    rest = later;
                    if rest.is_empty() { break; }
                }
                prop_assert_eq!(verifier.wrong(), None);
                prop_assert_eq!(verifier.messages(), 9);
            }
        }

        #[test]
        fn any_wrong_byte_is_named(at in 0usize..37 * 9, flip in 1u8..=255) {
            for spec in specs() {
                let mut bytes = stream(&spec, 9);
                bytes[at] ^= flip;
                let mut verifier = Verifier::new(&spec);
                verifier.see(&bytes);
                let wrong = verifier.wrong().unwrap();
                prop_assert_eq!((wrong.message as usize, wrong.position), (at / 37, at % 37));
                prop_assert_eq!(wrong.expected ^ wrong.found, flip);
            }
        }
    }

    #[test]
    fn a_lost_a_doubled_and_a_stale_message_are_found() {
        let spec = specs()[1];
        let bytes = stream(&spec, 4);
        let (first, rest) = bytes.split_at(37);
        for bad in [rest.to_vec(), [first, &bytes].concat(), [first, first].concat()] {
            let mut verifier = Verifier::new(&spec);
            verifier.see(&bad);
            assert!(verifier.wrong().is_some());
        }
    }
}
