//! What a message is: its size, its fields, where they lie.

use std::fmt;

use arrayvec::ArrayVec;

use super::fields::{FIELDS, Fields, HEADER_BYTES, MAX_SIZE};
use super::layout::{Buffers, Footprint, Layout};
use crate::offset::{BufferStart, Offset, PERIOD, draw, is_slow};
use crate::sys::memory::{Block, HUGE_PAGE, page_size};
use crate::units::ByteSize;

/// The description of a message.
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
    /// How much memory the messages cover.
    pub footprint: Footprint,
    /// The offset in a page at which each message starts; with [`Layout::Page`], each field.
    pub start: BufferStart,
}

/// No message can have this size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("size must be between 8 bytes and 1 GiB (got {size} bytes)")]
pub struct BadMessageSize {
    /// The size asked for, in bytes.
    pub size: usize,
}

/// The fields do not add up to the size of the message.
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

/// After this many messages, round sizes from 64 bytes on start at the same place in a page again.
const MESSAGES_IN_A_ROW: usize = PERIOD / 64;

impl Spec {
    /// The same message with these fields.
    ///
    /// [`BadDivision`] if exact fields have another sum.
    pub fn with_fields(self, fields: Fields) -> Result<Self, BadDivision> {
        match fields.size() {
            Some(sum) if sum != self.size => Err(BadDivision { fields, sum, size: self.size }),
            _ => Ok(Self { fields, ..self }),
        }
    }

    /// A constant message of `size` bytes in eight even fields on the heap, hot: the message of the original
    /// experiment.
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
            start: BufferStart::default(),
        })
    }

    /// The lengths of the fields in bytes; their sum is `size`.
    pub fn lengths(&self) -> Vec<usize> {
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

    /// The same message at this offset. `seed` decides a drawn offset.
    #[must_use]
    pub fn with_offset(self, offset: Offset, seed: u64) -> Self {
        let drawn = || match self.layout {
            // The kernel copies fields and messages one after the other, from the start of a page on.
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
        Self { start: offset.decide(drawn), ..self }
    }

    /// The offset in a page at which it starts.
    pub(super) fn first(&self) -> usize {
        match self.start {
            BufferStart::At(offset) => offset.into(),
            BufferStart::Malloc => 0,
        }
    }

    /// The offsets and lengths of the fields on a fresh heap when the first starts at `first`. A field takes
    /// a chunk: a header of 8 bytes and the field, rounded up to 16 bytes, at least 32 (glibc,
    /// malloc/malloc.c).
    pub(super) fn heap_fields(&self, first: usize) -> ArrayVec<(usize, usize), FIELDS> {
        const HEADER: usize = 8;
        let mut next = first;
        let field = |length: usize| {
            let start = next;
            next += (length + HEADER).next_multiple_of(16).max(32);
            (start, length)
        };
        self.lengths().into_iter().map(field).collect()
    }

    /// The distance from one message to the next on a fresh heap. Messages of a page or more take whole
    /// pages, so that all start at the same offset; smaller ones take whole cache lines.
    pub(super) fn heap_stride(&self) -> usize {
        let granule = if self.size < page_size() { 64 } else { page_size() };
        self.heap_length().next_multiple_of(granule)
    }

    /// The length from the start of the first field on a fresh heap to the end of the last.
    pub(super) fn heap_length(&self) -> usize {
        let (start, length) = self.heap_fields(0).last().copied().unwrap_or_default();
        start + length
    }

    /// Whether the allocator decides where its fields lie.
    pub(crate) fn is_allocated(&self) -> bool {
        self.layout == Layout::Heap && self.start == BufferStart::Malloc
    }

    /// Where its fields lie if it is a prefix of buffers that it shares: for each field the number of the buffer, the
    /// offset in it, and the length, in bytes.
    pub(crate) fn in_shared_blocks(&self) -> Vec<(usize, usize, usize)> {
        match self.layout {
            Layout::Heap => {
                self.heap_fields(0).into_iter().map(|(start, length)| (0, start, length)).collect()
            }
            Layout::Page => {
                let field = |(index, length)| (index, self.first(), length);
                self.lengths().into_iter().enumerate().map(field).collect()
            }
            Layout::Arena | Layout::Huge | Layout::Memfd => {
                let mut next = self.first();
                let field = |length| {
                    let start = next;
                    next += length;
                    (0, start, length)
                };
                self.lengths().into_iter().map(field).collect()
            }
        }
    }

    /// Its bytes as a prefix of shared buffers, whose content is that of the message with the buffer's number.
    pub(crate) fn shared_content(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        let mut rest = &mut bytes[..];
        for (index, start, length) in self.in_shared_blocks() {
            let (field, later) = std::mem::take(&mut rest).split_at_mut(length);
            super::content(index as u64, start, field);
            rest = later;
        }
        bytes
    }

    /// The number of messages of a sender: enough for the buffers and the footprint.
    pub fn pool_messages(&self) -> usize {
        let ring = match self.buffers {
            Buffers::Constant => 1,
            Buffers::Ring(messages) => messages,
        };
        ring.max(self.footprint.bytes().div_ceil(self.size)).max(1)
    }

    /// An upper bound of their memory in bytes.
    pub fn pool_bytes(&self) -> usize {
        self.memory(self.pool_messages())
    }

    /// An upper bound of the memory, in bytes, of this many messages, for any size and layout.
    pub fn memory(&self, messages: usize) -> usize {
        /// The overhead of a message (its `Arc`, its iovecs, the list that it is in) and of each field (an
        /// allocator's header and rounding, or a mapping in the kernel).
        const AROUND: usize = 512;
        const AROUND_FIELD: usize = 48;
        const AROUND_MAPPING: usize = 256;
        let lengths = self.lengths();
        let first = self.first();
        let fields = match self.layout {
            Layout::Heap if self.start == BufferStart::Malloc => self.size + lengths.len() * AROUND_FIELD,
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
