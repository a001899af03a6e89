//! The offset in a page at which a buffer starts.
//!
//! On some CPUs the kernel's copy instruction (`rep movsb`) is 5 to 36 times slower if destination minus
//! source, modulo 4096, is 1 to 31 (measured on AMD Zen 3; docs/buffer-offsets.md). An allocator's history
//! decides such offsets, so a comparison of send paths could be one of allocators. Here every buffer of a
//! copy has a chosen offset: it is drawn for each set-up, from the offsets without slow copies, and is the
//! same for all paths.

use std::fmt;
use std::str::FromStr;

/// The speed of a copy depends on the distance of source and destination modulo this many bytes.
pub const PERIOD: usize = 4096;

/// Distances from source to destination, modulo [`PERIOD`], with slow copies on a CPU that has the hazard.
const SLOW: std::ops::RangeInclusive<usize> = 1..=31;

/// Offsets are drawn from the multiples of this: a cache line.
const GRANULE: usize = 64;

/// Whether a copy between these addresses, or offsets in a page, is slow on a CPU that has the hazard.
pub fn is_slow(destination: usize, source: usize) -> bool {
    SLOW.contains(&(destination.wrapping_sub(source) % PERIOD))
}

/// Draws an offset by `seed`: one of the multiples of 64 from 64 to 4032 with the fewest `slow_copies`. For
/// some sizes every offset has some.
pub fn draw(seed: u64, slow_copies: impl Fn(usize) -> usize) -> u16 {
    let mut candidates: Vec<usize> = (GRANULE..PERIOD).step_by(GRANULE).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut candidates);
    let best = candidates.into_iter().min_by_key(|offset| slow_copies(*offset));
    best.unwrap_or(GRANULE) as u16
}

/// Memory in which data can start at any offset.
#[derive(Debug)]
pub struct Pages {
    bytes: Box<[u8]>,
    first: usize,
}

impl Pages {
    /// Room for `length` bytes from any offset on. Its pages are touched.
    pub fn new(length: usize) -> Self {
        let bytes = vec![1; length + 2 * PERIOD].into_boxed_slice();
        let first = bytes.as_ptr().addr().next_multiple_of(PERIOD) - bytes.as_ptr().addr();
        Self { bytes, first }
    }

    /// `length` bytes that start `offset` bytes into a page.
    ///
    /// If there is no room for them.
    pub fn at(&mut self, offset: usize, length: usize) -> &mut [u8] {
        &mut self.bytes[self.first + offset..][..length]
    }
}

/// The requested offset of a buffer in its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offset {
    /// Drawn for each set-up from the offsets without slow copies, the same for all its paths. Page-aligned
    /// layouts start at 0.
    #[default]
    Drawn,
    /// This many bytes into a page, 0 to 4095.
    At(u16),
    /// The allocator decides.
    Malloc,
}

/// The offset at which a buffer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferStart {
    /// This many bytes into a page, 0 to 4095.
    At(u16),
    /// The allocator decides.
    Malloc,
}

impl Default for BufferStart {
    /// One cache line into a page, which is never slow with a buffer at the start of a page.
    fn default() -> Self {
        Self::At(GRANULE as u16)
    }
}

impl Offset {
    /// Decides the offset, by `drawn` if it is to be drawn.
    pub fn decide(self, drawn: impl FnOnce() -> u16) -> BufferStart {
        match self {
            Self::Drawn => BufferStart::At(drawn()),
            Self::At(offset) => BufferStart::At(offset),
            Self::Malloc => BufferStart::Malloc,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drawn => f.pad("drawn"),
            Self::At(offset) => f.pad(&offset.to_string()),
            Self::Malloc => f.pad("malloc"),
        }
    }
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "drawn" => Ok(Self::Drawn),
            "malloc" => Ok(Self::Malloc),
            number => match number.parse() {
                Ok(offset) if usize::from(offset) < PERIOD => Ok(Self::At(offset)),
                _ => Err(format!("'{text}' is not drawn, malloc or a number from 0 to {}", PERIOD - 1)),
            },
        }
    }
}

/// The offsets of a scenario's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offsets {
    /// The offset of messages, and of the buffer in which a path joins fields.
    pub send: Offset,
    /// The offset of receive buffers.
    pub receive: Offset,
    /// The seed of drawn offsets, the same for all paths of a set-up.
    pub seed: u64,
}

impl Offsets {
    /// Whether the seed decides any of them.
    pub fn is_drawn(&self) -> bool {
        [self.send, self.receive].contains(&Offset::Drawn)
    }

    /// The offset of the buffer in which a path joins fields, if the user gave one.
    pub fn staging(&self) -> Option<BufferStart> {
        match self.send {
            Offset::Drawn => None,
            given => Some(given.decide(|| 0)),
        }
    }

    /// The offset of receive buffers. The kernel copies into them from the start of a page, or from a
    /// multiple of 64 bytes after it if the messages before had such sizes.
    pub fn receive_begin(&self) -> BufferStart {
        self.receive.decide(|| draw(self.seed ^ 0x5245_4356, |offset| usize::from(is_slow(offset, 0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_offsets_are_not_slow_and_depend_on_the_seed() {
        for seed in 0..500 {
            let slow = |offset| usize::from(is_slow(offset, 0)) + usize::from(is_slow(0, offset));
            let offset = usize::from(draw(seed, slow));
            assert!(offset % GRANULE == 0 && (64..4096).contains(&offset));
            assert!(!is_slow(offset, 0) && !is_slow(0, offset));
            assert_eq!(usize::from(draw(seed, |_| 0)), usize::from(draw(seed, |_| 0)));
        }
        let distinct: std::collections::BTreeSet<_> = (0..500).map(|seed| draw(seed, |_| 0)).collect();
        assert!(distinct.len() > 50, "{} different", distinct.len());
        assert_ne!(draw(1, |offset| offset.abs_diff(128)), draw(1, |offset| offset.abs_diff(192)));
    }

    #[test]
    fn bytes_start_at_the_offset() {
        let mut pages = Pages::new(5000);
        for offset in [0, 1, 64, 4095] {
            let bytes = pages.at(offset, 5000);
            assert_eq!((bytes.as_ptr().addr() % PERIOD, bytes.len()), (offset, 5000));
        }
    }

    #[test]
    fn the_slow_distances() {
        for (destination, source, slow) in [
            (0, 0, false),
            (1, 0, true),
            (31, 0, true),
            (32, 0, false),
            (0, 4080, true),
            (0, 16, false),
            (8208, 4096, true),
        ] {
            assert_eq!(is_slow(destination, source), slow, "{destination} from {source}");
        }
    }

    #[test]
    fn names_parse_back_and_errors_list_the_choices() {
        for text in ["drawn", "malloc", "0", "16", "4095"] {
            assert_eq!(text.parse::<Offset>().unwrap().to_string(), text);
        }
        for text in ["4096", "-1", "", "x", "65536"] {
            assert!(text.parse::<Offset>().unwrap_err().contains("0 to 4095"), "{text}");
        }
    }
}
