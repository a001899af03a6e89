//! Where in a page a buffer begins.
//!
//! On some CPUs the instruction with which the kernel copies (`rep movsb`) is 5 to 36 times slower where destination
//! minus source, modulo 4096, is 1 to 31 (measured on AMD Zen 3; docs/buffer-offsets.md). An allocator decides such
//! offsets by its history, so a comparison of send paths could be one of allocators. Here every buffer that bytes are
//! copied from or to has an offset that was chosen: drawn for a set-up, the same for all of its paths, from those at which
//! no copy is slow. The slow case is asked for, and never drawn.

use std::fmt;
use std::str::FromStr;

/// Copies repeat their behaviour with the distance of the two ends modulo this many bytes.
pub const PERIOD: usize = 4096;

/// Distances from the source to the destination, modulo [`PERIOD`], at which a copy is slow where the CPU has the hazard.
const SLOW: std::ops::RangeInclusive<usize> = 1..=31;

/// Offsets are drawn from the multiples of this: a cache line.
const GRANULE: usize = 64;

/// Whether copying between these addresses, or offsets in a page, is slow on a CPU that has the hazard.
pub fn is_slow(destination: usize, source: usize) -> bool {
    SLOW.contains(&(destination.wrapping_sub(source) % PERIOD))
}

/// One of the multiples of 64 from 64 to 4032 with the fewest slow copies, by `slow_copies`; which of them is decided by
/// `seed`. There are sizes for which every offset has some.
pub fn draw(seed: u64, slow_copies: impl Fn(usize) -> usize) -> u16 {
    let mut candidates: Vec<usize> = (GRANULE..PERIOD).step_by(GRANULE).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut candidates);
    let best = candidates.into_iter().min_by_key(|offset| slow_copies(*offset));
    best.unwrap_or(GRANULE) as u16
}

/// Memory in which bytes can begin at any offset.
#[derive(Debug)]
pub struct Pages {
    bytes: Box<[u8]>,
    first: usize,
}

impl Pages {
    /// Room for `length` bytes from any offset on, touched.
    pub fn new(length: usize) -> Self {
        let bytes = vec![1; length + 2 * PERIOD].into_boxed_slice();
        let first = bytes.as_ptr().addr().next_multiple_of(PERIOD) - bytes.as_ptr().addr();
        Self { bytes, first }
    }

    /// `length` bytes that begin `offset` bytes into a page.
    ///
    /// # Panics
    /// Where there is no room for them.
    pub fn at(&mut self, offset: usize, length: usize) -> &mut [u8] {
        &mut self.bytes[self.first + offset..][..length]
    }
}

/// Where in a page a buffer is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offset {
    /// Drawn anew for each set-up, the same for all paths in it, from offsets at which no copy is slow. Layouts that are
    /// page-aligned by definition begin at 0.
    #[default]
    Drawn,
    /// So many bytes into a page, 0 to 4095.
    At(u16),
    /// Wherever the allocator puts it.
    Malloc,
}

/// Where a buffer begins, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferStart {
    /// So many bytes into a page, 0 to 4095.
    At(u16),
    /// Wherever the allocator puts it.
    Malloc,
}

impl Default for BufferStart {
    /// One cache line into a page: free of the hazard beside anything that begins with a page.
    fn default() -> Self {
        Self::At(GRANULE as u16)
    }
}

impl Offset {
    /// Decides: where nothing else was asked for, by `drawn`.
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
    /// Of messages, and of what a path gathers them into.
    pub send: Offset,
    /// Of the receive buffers.
    pub receive: Offset,
    /// Decides what is drawn. The same for all paths of a set-up.
    pub seed: u64,
}

impl Offsets {
    /// Whether any of them is decided by the seed.
    pub fn is_drawn(&self) -> bool {
        [self.send, self.receive].contains(&Offset::Drawn)
    }

    /// Where a path begins the buffer that it gathers fields in, if that was asked for.
    pub fn staging(&self) -> Option<BufferStart> {
        match self.send {
            Offset::Drawn => None,
            asked => Some(asked.decide(|| 0)),
        }
    }

    /// Where receive buffers begin. The kernel copies into them from the beginning of a page, or from a multiple of 64 bytes
    /// behind it where the messages before were such.
    pub fn receive_begin(&self) -> BufferStart {
        self.receive.decide(|| draw(self.seed ^ 0x5245_4356, |offset| usize::from(is_slow(offset, 0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_free_and_decided_by_the_seed() {
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
    fn bytes_begin_where_they_are_asked_to() {
        let mut pages = Pages::new(5000);
        for offset in [0, 1, 64, 4095] {
            let bytes = pages.at(offset, 5000);
            assert_eq!((bytes.as_ptr().addr() % PERIOD, bytes.len()), (offset, 5000));
        }
    }

    #[test]
    fn the_slow_distances_are_those_that_were_measured() {
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
    fn words_read_back_and_others_name_what_is_allowed() {
        for text in ["drawn", "malloc", "0", "16", "4095"] {
            assert_eq!(text.parse::<Offset>().unwrap().to_string(), text);
        }
        for text in ["4096", "-1", "", "x", "65536"] {
            assert!(text.parse::<Offset>().unwrap_err().contains("0 to 4095"), "{text}");
        }
    }
}
