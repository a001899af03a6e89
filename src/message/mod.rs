//! The message: eight fields, laid out in memory as asked, with content that tells its own position.
//!
//! Where the fields lie is a condition of every measurement (two neighbours on one page cost a zero-copy send
//! half of what two strangers cost), and content that is coded by position lets a receiver check any byte.

use std::fmt;
use std::io;
use std::str::FromStr;

use arrayvec::ArrayVec;

use crate::offset::{BufferStart, Offset, PERIOD, draw, is_slow};
use crate::sys::memory::{Block, HUGE_PAGE, page_size};
use crate::units::ByteSize;

pub use crate::sys::message::Message;

/// The most fields a message has.
pub const FIELDS: usize = 8;

/// The header fields of a `headed` message are this long, as a short header line or a length-prefixed key is.
const HEADER_BYTES: usize = 32;

/// How a message's size is divided into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fields {
    /// Eight parts of size/8 bytes, the first size%8 of them one byte longer.
    #[default]
    Even,
    /// Seven header fields of 32 bytes (of size/16 where the message is below 512 bytes) and one body.
    Headed,
    /// One field, as the peers of this tool send.
    Single,
    /// Fields of these lengths, whose sum is the size.
    Exact(Lengths),
}

/// The lengths of one to eight fields in bytes, in order; behind the last one zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths([u32; FIELDS]);

impl Lengths {
    /// One to eight lengths of at least a byte each.
    pub fn new(lengths: &[usize]) -> Option<Self> {
        let mut own = [0; FIELDS];
        if lengths.is_empty() || lengths.len() > FIELDS {
            return None;
        }
        for (own, length) in own.iter_mut().zip(lengths) {
            *own = u32::try_from(*length).ok().filter(|length| (1..=MAX_SIZE as u32).contains(length))?;
        }
        Some(Self(own))
    }

    /// The lengths in bytes.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|length| *length as usize).filter(|length| *length > 0)
    }
}

/// Where the fields lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Layout {
    /// One allocation a field, as an application's strings lie on a fresh heap: one after the other, with the allocator's
    /// header between them. With [`BufferStart::Malloc`] the allocator itself is asked.
    #[default]
    Heap,
    /// One page-aligned mapping a field.
    Page,
    /// Neighbours in one page-aligned mapping.
    Arena,
    /// Neighbours, all messages in one mapping that begins on a huge page and asks for huge pages. A message lies on one
    /// where it fits.
    Huge,
    /// Neighbours in a memfd, one file for all messages in turn, each message from a page on.
    Memfd,
}

/// Whether a message is written again before it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Buffers {
    /// The same content again and again.
    #[default]
    Constant,
    /// This many messages in turn, each rewritten before it is sent and only after the kernel let go of it.
    Ring(usize),
}

/// How much memory the messages in turn cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Footprint {
    /// As little as the buffers need: the source stays in the nearest cache.
    #[default]
    Hot,
    /// Half of the second-level cache.
    L2,
    /// Half of the last-level cache.
    Llc,
    /// Four times the last-level cache, 128 MiB at least.
    Cold,
}

/// Gives an enum of plain words `ALL`, Display and FromStr, so that flags, tables and records share the words.
#[doc(hidden)]
#[macro_export]
macro_rules! words {
    ($name:ident: $($variant:ident = $word:literal),+) => {
        impl $name {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// Their words, in the same order.
            pub const WORDS: &[&'static str] = &[$($word),+];
        }
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
        impl ::std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("'{text}' is not one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}
#[doc(hidden)]
pub use words;

impl Fields {
    /// Every division that has a word.
    pub const ALL: &[Self] = &[Self::Even, Self::Headed, Self::Single];

    /// The size of a message that is so divided, where the division decides it.
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Exact(lengths) => Some(lengths.iter().sum()),
            Self::Even | Self::Headed | Self::Single => None,
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even => f.pad("even"),
            Self::Headed => f.pad("headed"),
            Self::Single => f.pad("single"),
            Self::Exact(lengths) => {
                let lengths: Vec<_> = lengths.iter().map(|length| length.to_string()).collect();
                f.pad(&lengths.join(","))
            }
        }
    }
}

impl FromStr for Fields {
    type Err = String;

    /// A word, or lengths between commas, as sizes are written.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(word) = Self::ALL.iter().find(|fields| fields.to_string() == text) {
            return Ok(*word);
        }
        let bytes = |part: &str| part.parse::<ByteSize>().ok().map(|size| size.0);
        let lengths: Option<Vec<_>> = text.split(',').map(bytes).collect();
        let exact = lengths.and_then(|lengths| Lengths::new(&lengths)).map(Self::Exact);
        exact.filter(|fields| fields.size().is_some_and(|size| Spec::new(size).is_ok())).ok_or_else(|| {
            format!(
                "the fields must be even, headed, single, or one to eight lengths separated by commas, such \
                 as 64,65472, that add up to 8 bytes to 1 GiB (got '{text}')"
            )
        })
    }
}

words!(Layout: Heap = "heap", Page = "page", Arena = "arena", Huge = "huge", Memfd = "memfd");
words!(Footprint: Hot = "hot", L2 = "l2", Llc = "llc", Cold = "cold");

impl fmt::Display for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.pad("constant"),
            Self::Ring(messages) => f.pad(&format!("ring:{messages}")),
        }
    }
}

impl FromStr for Buffers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "constant" {
            return Ok(Self::Constant);
        }
        let messages = text.strip_prefix("ring:").and_then(|count| count.parse().ok());
        match messages {
            Some(messages @ 1..=MAX_RING) => Ok(Self::Ring(messages)),
            _ => Err(format!(
                "the buffers must be constant, or ring:N with N from 1 to {MAX_RING} (got '{text}')"
            )),
        }
    }
}

/// The most messages in a ring: beyond this the bookkeeping of a connection outgrows its caches.
pub const MAX_RING: usize = 65_536;

/// The largest message.
pub const MAX_SIZE: usize = 1 << 30;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// The sum of the field lengths in bytes, 8 to 1 GiB.
    pub size: usize,
    /// How the size is divided.
    pub fields: Fields,
    /// Where the fields lie.
    pub layout: Layout,
    /// Whether messages are rewritten.
    pub buffers: Buffers,
    /// How much memory the messages in turn cover.
    pub footprint: Footprint,
    /// Where in a page each message begins; with [`Layout::Page`] each field.
    pub begin: BufferStart,
}

/// A size that no message can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("size must be between 8 bytes and 1 GiB (got {size} bytes)")]
pub struct BadMessageSize {
    /// The size asked for, in bytes.
    pub size: usize,
}

/// Fields that do not make up their message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the fields {fields} add up to {sum} bytes, but the size is {size}: leave out the size, or make it {sum}"
)]
pub struct BadDivision {
    /// The fields.
    pub fields: Fields,
    /// Their sum in bytes.
    pub sum: usize,
    /// The size asked for, in bytes.
    pub size: usize,
}

/// Round sizes from 64 bytes on come round in a page within so many messages.
const MESSAGES_IN_A_ROW: usize = PERIOD / 64;

impl Spec {
    /// The same, so divided.
    ///
    /// # Errors
    /// [`BadDivision`] where exact fields have another sum.
    pub fn divided(self, fields: Fields) -> Result<Self, BadDivision> {
        match fields.size() {
            Some(sum) if sum != self.size => Err(BadDivision { fields, sum, size: self.size }),
            _ => Ok(Self { fields, ..self }),
        }
    }

    /// A constant message of `size` bytes in eight even fields on the heap, hot: the original's message.
    pub fn new(size: usize) -> Result<Self, BadMessageSize> {
        if !(FIELDS..=MAX_SIZE).contains(&size) {
            return Err(BadMessageSize { size });
        }
        Ok(Self {
            size,
            fields: Fields::default(),
            layout: Layout::default(),
            buffers: Buffers::default(),
            footprint: Footprint::default(),
            begin: BufferStart::default(),
        })
    }

    /// The lengths of the fields in bytes; their sum is `size`.
    pub fn lengths(&self) -> ArrayVec<usize, FIELDS> {
        match self.fields {
            Fields::Even => {
                (0..FIELDS).map(|i| self.size / FIELDS + usize::from(i < self.size % FIELDS)).collect()
            }
            Fields::Headed => {
                let header = HEADER_BYTES.min(self.size / (2 * FIELDS)).max(1);
                let body = self.size - (FIELDS - 1) * header;
                [header; FIELDS - 1].into_iter().chain([body]).collect()
            }
            Fields::Single => [self.size].into_iter().collect(),
            Fields::Exact(lengths) => lengths.iter().collect(),
        }
    }

    /// The same, beginning where `offset` says; what is drawn is decided by `seed`.
    #[must_use]
    pub fn beginning(self, offset: Offset, seed: u64) -> Self {
        let drawn = || match self.layout {
            // The kernel copies field after field, and message after message, to the beginning of a page on.
            Layout::Heap => draw(seed, |first| {
                let fields = self.heap_fields(first);
                let slow_in = |message: usize| {
                    let mut position = message.wrapping_mul(self.size);
                    let slow = |(start, length): &&(usize, usize)| {
                        let slow = is_slow(position, *start);
                        position = position.wrapping_add(*length);
                        slow
                    };
                    fields.iter().filter(slow).count()
                };
                (0..MESSAGES_IN_A_ROW).map(slow_in).sum()
            }),
            // Page-aligned by definition.
            Layout::Page | Layout::Arena | Layout::Huge | Layout::Memfd => 0,
        };
        Self { begin: offset.decide(drawn), ..self }
    }

    /// How many bytes into a page it begins.
    fn first(&self) -> usize {
        match self.begin {
            BufferStart::At(offset) => offset.into(),
            BufferStart::Malloc => 0,
        }
    }

    /// Where the fields lie on a fresh heap, and their lengths, when the first begins at `first`: in chunks of a header of 8
    /// bytes and the field, rounded up to 16 bytes, 32 at least (glibc, malloc/malloc.c).
    fn heap_fields(&self, first: usize) -> ArrayVec<(usize, usize), FIELDS> {
        const HEADER: usize = 8;
        let mut next = first;
        let field = |length: usize| {
            let start = next;
            next += (length + HEADER).next_multiple_of(16).max(32);
            (start, length)
        };
        self.lengths().into_iter().map(field).collect()
    }

    /// From one message on a fresh heap to the next: whole pages for those that fill some, so that all begin at one offset,
    /// and whole cache lines for smaller ones.
    fn heap_stride(&self) -> usize {
        let granule = if self.size < page_size() { 64 } else { page_size() };
        self.heap_length().next_multiple_of(granule)
    }

    /// From the beginning of the first field on a fresh heap to the end of the last.
    fn heap_length(&self) -> usize {
        let (start, length) = self.heap_fields(0).last().copied().unwrap_or_default();
        start + length
    }

    /// The memory that so many messages in turn take, in bytes: not less than they take, whatever their size and layout.
    pub fn memory(&self, messages: usize) -> usize {
        /// What stands around a message (its `Arc`, its iovecs, the list that it is in) and around each of its
        /// fields (an allocator's header and rounding, or a mapping in the kernel).
        const AROUND: usize = 512;
        const AROUND_FIELD: usize = 48;
        const AROUND_MAPPING: usize = 256;
        let lengths = self.lengths();
        let first = self.first();
        let fields = match self.layout {
            Layout::Heap if self.begin == BufferStart::Malloc => self.size + lengths.len() * AROUND_FIELD,
            Layout::Heap => self.heap_stride(),
            Layout::Page => lengths
                .iter()
                .map(|length| (first + length).next_multiple_of(page_size()) + AROUND_MAPPING)
                .sum(),
            Layout::Arena | Layout::Memfd => {
                (first + self.size).next_multiple_of(page_size()) + AROUND_MAPPING
            }
            Layout::Huge => Block::huge_stride(first + self.size).unwrap_or(usize::MAX),
        };
        let bytes = fields.saturating_add(AROUND).saturating_mul(messages);
        // In whole huge pages.
        match self.layout {
            Layout::Huge => bytes.saturating_add(HUGE_PAGE),
            Layout::Heap => bytes.saturating_add(first),
            _ => bytes,
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = ByteSize(self.size);
        write!(f, "{size}, {} fields, {}, {}, {}", self.fields, self.layout, self.buffers, self.footprint)
    }
}

impl Message {
    /// A message as `spec` lays it out, filled with the content of sequence number 0.
    pub fn new(spec: &Spec) -> io::Result<Self> {
        Self::several(spec, 1)?.pop().ok_or(io::ErrorKind::OutOfMemory.into())
    }

    /// So many of them, as messages in turn lie in memory.
    pub fn several(spec: &Spec, count: usize) -> io::Result<Vec<Self>> {
        let (lengths, first) = (spec.lengths(), spec.first());
        let neighbours = |block| Self::neighbours(block, first, &lengths);
        let allocated = || Self::allocated(lengths.iter().map(|n| vec![0; *n].into_boxed_slice()));
        let pages = || lengths.iter().map(|n| Block::pages(first + *n)).collect::<io::Result<_>>();
        let memory: Box<dyn Iterator<Item = io::Result<Self>>> = match spec.layout {
            Layout::Heap if spec.begin == BufferStart::Malloc => {
                Box::new((0..count).map(|_| Ok(allocated())))
            }
            Layout::Heap => {
                let blocks = Block::several(first, spec.heap_length(), spec.heap_stride(), count)?;
                Box::new(blocks.into_iter().map(|block| Ok(Self::in_block(block, spec.heap_fields(0)))))
            }
            Layout::Page => Box::new((0..count).map(|_| pages().map(|blocks| Self::mapped(blocks, first)))),
            Layout::Arena => Box::new((0..count).map(|_| Block::pages(first + spec.size).map(neighbours))),
            Layout::Huge => {
                Box::new(Block::huge(first + spec.size, count)?.into_iter().map(neighbours).map(Ok))
            }
            Layout::Memfd => {
                Box::new(Block::in_memfd(first + spec.size, count)?.into_iter().map(neighbours).map(Ok))
            }
        };
        let mut messages = Vec::<Self>::with_capacity(count);
        for memory in memory {
            let mut message = memory?;
            // All are alike, and a copy is faster than to work the content out.
            match messages.first() {
                Some(first) => message.copy(first),
                None => message.write(0),
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// Takes over the bytes of a message that is divided alike.
    fn copy(&mut self, other: &Self) {
        for (field, bytes) in self.fields_mut().into_iter().zip(other.slices()) {
            field.copy_from_slice(bytes);
        }
    }

    /// A message of one field that a library user already has in memory.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self::allocated([bytes.into()])
    }

    /// The fields, in order, to write into.
    pub fn fields_mut(&mut self) -> ArrayVec<&mut [u8], FIELDS> {
        self.slices_mut().collect()
    }

    /// Writes the content of `sequence` into every byte.
    pub fn write(&mut self, sequence: u64) {
        let mut position = 0;
        for field in self.fields_mut() {
            content(sequence, position, field);
            position += field.len();
        }
    }

    /// Writes one byte of `sequence` into every page of every field: what rewriting costs at least.
    pub fn touch(&mut self, sequence: u64) {
        let page = page_size();
        for field in self.fields_mut() {
            for byte in field.iter_mut().step_by(page) {
                *byte = sequence as u8;
            }
        }
    }
}

/// Fills `out` with what lies at `position` (bytes from the message's start) in message number `sequence`.
/// Words differ from place to place and from message to message, so that bytes that are lost, doubled,
/// swapped or stale do not pass for right.
pub fn content(sequence: u64, position: usize, out: &mut [u8]) {
    let at = |index: usize| word(sequence, index as u64).to_le_bytes();
    // The end of a word that begins before, whole words, the beginning of one that goes on.
    let before = position % 8;
    let end = (8 - before) % 8;
    let (head, rest) = out.split_at_mut(end.min(out.len()));
    head.copy_from_slice(&at(position / 8)[before..][..head.len()]);
    let (words, tail) = rest.as_chunks_mut::<8>();
    let mut index = position.div_ceil(8);
    for word in words {
        *word = at(index);
        index += 1;
    }
    tail.copy_from_slice(&at(index)[..tail.len()]);
}

/// Weyl steps with odd constants (2^64 divided by the golden ratio; a constant from the xorshift-multiply
/// family) and one mixing round: cheap, and no two of the first 2^32 places of a message are alike.
fn word(sequence: u64, index: u64) -> u64 {
    let mixed = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (sequence.wrapping_add(1)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every_spec(size: usize) -> impl Iterator<Item = Spec> {
        let base = Spec::new(size).unwrap();
        Fields::ALL.iter().flat_map(move |fields| {
            Layout::ALL.iter().map(move |layout| Spec { fields: *fields, layout: *layout, ..base })
        })
    }

    fn bytes(message: &Message) -> Vec<u8> {
        message.slices().iter().flat_map(|field| field.to_vec()).collect()
    }

    #[test]
    fn fields_are_as_the_original_divides_them() {
        let lengths = Spec::new(1027).unwrap().lengths();
        assert_eq!(lengths.as_slice(), [129, 129, 129, 128, 128, 128, 128, 128]);
    }

    #[test]
    fn sizes_without_a_message_are_refused() {
        for size in [0, 1, 7, MAX_SIZE + 1] {
            assert_eq!(Spec::new(size), Err(BadMessageSize { size }));
        }
    }

    #[test]
    fn words_read_back() {
        for layout in Layout::ALL {
            assert_eq!(layout.to_string().parse(), Ok(*layout));
        }
        for buffers in [Buffers::Constant, Buffers::Ring(16)] {
            assert_eq!(buffers.to_string().parse(), Ok(buffers));
        }
        for fields in Fields::ALL.iter().copied().chain([Fields::Exact(Lengths::new(&[64, 65_472]).unwrap())])
        {
            assert_eq!(fields.to_string().parse(), Ok(fields));
        }
        assert_eq!("64,1KiB".parse::<Fields>().unwrap().size(), Some(1088));
        for bad in
            ["", ",", "64,", "1,2,3", "64,-1", "0,64", "64;64", "1,1,1,1,1,1,1,1,1", "1GiB,8", "5GiB", "odd"]
        {
            assert!(bad.parse::<Fields>().unwrap_err().contains("64,65472"), "{bad}");
        }
        for bad in ["ring", "ring:0", "ring:x", "ring:65537", "Constant"] {
            assert!(bad.parse::<Buffers>().is_err(), "{bad}");
        }
        assert!("pile".parse::<Layout>().unwrap_err().contains("heap, page, arena, huge"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn content_does_not_depend_on_the_layout(size in 8usize..20_000, sequence: u64) {
            let mut expected = vec![0; size];
            content(sequence, 0, &mut expected);
            for spec in every_spec(size) {
                let mut message = Message::new(&spec).unwrap();
                message.write(sequence);
                prop_assert_eq!(spec.lengths().iter().sum::<usize>(), size);
                prop_assert_eq!(bytes(&message), expected.clone(), "{}", spec);
            }
        }

        #[test]
        fn content_can_be_checked_from_any_position(size in 1usize..500, cut in 0usize..500, sequence: u64) {
            let cut = cut.min(size);
            let mut whole = vec![0; size];
            content(sequence, 0, &mut whole);
            let mut tail = vec![0; size - cut];
            content(sequence, cut, &mut tail);
            prop_assert_eq!(&whole[cut..], &tail[..]);
        }
    }
}
