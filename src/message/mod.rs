//! The message: up to eight fields with a given layout in memory, and content that depends on the position.
//!
//! The layout affects every measurement: a zero-copy send of two fields on one page costs half of one of two
//! fields on different pages. Content that depends on the position lets a receiver check any byte.
//!
//! - `spec`: what a message is; `fields`: how it is divided; `layout`: where the fields lie
//! - here: messages of a spec, of several, or of your own memory, and their content

mod fields;
mod layout;
mod spec;

use std::io;

use crate::sys::memory::{Block, page_size};

pub use crate::sys::message::Message;
pub use fields::{FIELDS, Fields, Lengths, MAX_SIZE};
pub use layout::{Buffers, Footprint, Layout, MAX_RING};
pub use spec::{BadDivision, BadMessageSize, Spec};

/// Why bytes of the caller are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFields {
    /// There are too many fields, or none.
    #[error("a message has 1 to {FIELDS} fields (got {0})")]
    Number(usize),
    /// The field at this index has no byte.
    #[error("each field of a message has at least one byte (field {0} is empty)")]
    Empty(usize),
}

impl Message {
    /// A message of `spec` with the content of sequence number 0.
    pub fn new(spec: &Spec) -> io::Result<Self> {
        Self::several(spec, 1)?.pop().ok_or(io::ErrorKind::OutOfMemory.into())
    }

    /// This many messages, with the memory layout of messages that are sent one after the other.
    pub fn several(spec: &Spec, count: usize) -> io::Result<Vec<Self>> {
        let (lengths, first) = (spec.lengths(), spec.first());
        let adjacent = |block| Self::adjacent_fields(block, first, &lengths);
        let allocated = || Self::allocated(lengths.iter().map(|n| vec![0; *n].into_boxed_slice()));
        let pages = || lengths.iter().map(|n| Block::pages(first + *n)).collect::<io::Result<_>>();
        let memory: Box<dyn Iterator<Item = io::Result<Self>>> = match spec.layout {
            Layout::Heap if spec.is_allocated() => Box::new((0..count).map(|_| Ok(allocated()))),
            Layout::Heap => {
                let part = (spec.heap_length(), spec.heap_stride());
                let blocks = Block::several(first, std::iter::repeat_n(part, count))?;
                Box::new(blocks.into_iter().map(|block| Ok(Self::in_block(block, spec.heap_fields(0)))))
            }
            Layout::Page => Box::new((0..count).map(|_| pages().map(|blocks| Self::mapped(blocks, first)))),
            Layout::Arena => Box::new((0..count).map(|_| Block::pages(first + spec.size).map(adjacent))),
            Layout::Huge => {
                Box::new(Block::huge(first + spec.size, count)?.into_iter().map(adjacent).map(Ok))
            }
            Layout::Memfd => {
                Box::new(Block::in_memfd(first + spec.size, count)?.into_iter().map(adjacent).map(Ok))
            }
        };
        with_content(memory, count)
    }

    /// Messages of several sizes, and how many of each, one after the other. All specs have the same layout.
    pub(crate) fn of_each(specs: &[(Spec, usize)]) -> io::Result<Vec<Self>> {
        let on_heap = |spec: &Spec| spec.layout == Layout::Heap && !spec.is_allocated();
        let Some((first, _)) = specs.first().filter(|(spec, _)| on_heap(spec)) else {
            let of_spec = specs.iter().map(|(spec, count)| Self::several(spec, *count));
            return Ok(of_spec.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect());
        };
        // In one mapping, because a trace has thousands of sizes and a process few mappings.
        let part = |(spec, count): &(Spec, usize)| {
            std::iter::repeat_n((spec.heap_length(), spec.heap_stride()), *count)
        };
        let mut blocks = Block::several(first.first(), specs.iter().flat_map(part))?.into_iter();
        let mut messages = Vec::with_capacity(blocks.len());
        for (spec, count) in specs {
            let of_spec = blocks.by_ref().take(*count);
            let memory = of_spec.map(|block| Ok(Self::in_block(block, spec.heap_fields(0))));
            messages.append(&mut with_content(memory, *count)?);
        }
        Ok(messages)
    }

    /// A message of each spec, all of them prefixes of one buffer; with [`Layout::Page`], the fields are prefixes of one
    /// buffer each. All specs have the same layout and start. They cannot be rewritten.
    pub(crate) fn prefixes(specs: &[Spec]) -> io::Result<Vec<Self>> {
        let Some(any) = specs.first() else { return Ok(Vec::new()) };
        if any.is_allocated() {
            // Nobody can say where an allocator puts a prefix.
            return specs.iter().map(Self::new).collect();
        }
        let mut lengths: Vec<usize> = Vec::new();
        for (index, start, length) in specs.iter().flat_map(Spec::in_shared_blocks) {
            lengths.resize(lengths.len().max(index + 1), 0);
            lengths[index] = lengths[index].max(start + length);
        }
        let one =
            |blocks: Vec<Block>| blocks.into_iter().next().ok_or(io::Error::from(io::ErrorKind::OutOfMemory));
        let block = |length: usize| match any.layout {
            Layout::Heap => one(Block::several(any.first(), [(length, length)])?),
            Layout::Page | Layout::Arena => Block::pages(length),
            Layout::Huge => one(Block::huge(length, 1)?),
            Layout::Memfd => one(Block::in_memfd(length, 1)?),
        };
        let mut blocks = lengths.into_iter().map(block).collect::<io::Result<Vec<_>>>()?;
        for (index, block) in blocks.iter_mut().enumerate() {
            content(index as u64, 0, block.as_mut_slice());
        }
        let blocks = std::sync::Arc::from(blocks);
        Ok(specs.iter().map(|spec| Self::in_shared_blocks(&blocks, spec.in_shared_blocks())).collect())
    }

    /// Copies the bytes of a message with the same fields.
    fn copy(&mut self, other: &Self) {
        for (field, bytes) in self.slices_mut().zip(other.slices()) {
            field.copy_from_slice(bytes);
        }
    }

    /// A message with one field, from memory of the caller.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self::allocated([bytes.into()])
    }

    /// A message with one to eight fields from memory of the caller, in order:
    ///
    /// ```
    /// use copycost::message::Message;
    ///
    /// let message = Message::from_fields([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![0; 4096]])?;
    /// assert_eq!(message.slices().len(), 2);
    /// # Ok::<(), copycost::message::BadFields>(())
    /// ```
    ///
    /// # Errors
    /// [`BadFields`] for no or more than [`FIELDS`] fields, and for an empty one.
    pub fn from_fields(fields: impl IntoIterator<Item: Into<Box<[u8]>>>) -> Result<Self, BadFields> {
        let fields: Vec<Box<[u8]>> = fields.into_iter().map(Into::into).collect();
        if !(1..=FIELDS).contains(&fields.len()) {
            return Err(BadFields::Number(fields.len()));
        }
        match fields.iter().position(|field| field.is_empty()) {
            Some(index) => Err(BadFields::Empty(index)),
            None => Ok(Self::allocated(fields)),
        }
    }

    /// Writes the content of message number `sequence` into every byte.
    pub fn write(&mut self, sequence: u64) {
        let mut position = 0;
        for field in self.slices_mut() {
            content(sequence, position, field);
            position += field.len();
        }
    }

    /// Writes one byte into every page of every field: the least cost of rewriting a message.
    pub fn touch(&mut self, sequence: u64) {
        let page = page_size();
        for field in self.slices_mut() {
            for byte in field.iter_mut().step_by(page) {
                *byte = sequence as u8;
            }
        }
    }
}

/// Collects `count` messages with the content of sequence number 0.
fn with_content(memory: impl Iterator<Item = io::Result<Message>>, count: usize) -> io::Result<Vec<Message>> {
    let mut messages = Vec::<Message>::with_capacity(count);
    for memory in memory {
        let mut message = memory?;
        // All have the same content, and copying is faster than computing it.
        match messages.first() {
            Some(first) => message.copy(first),
            None => message.write(0),
        }
        messages.push(message);
    }
    Ok(messages)
}

/// Fills `out` with the content of message number `sequence` from byte `position` on. The content differs by
/// position and by message, so a check finds bytes that are lost, doubled, swapped or stale.
pub fn content(sequence: u64, position: usize, out: &mut [u8]) {
    let at = |index: usize| word(sequence, index as u64).to_le_bytes();
    // The end of a word that starts earlier, whole words, the start of a word that goes on.
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
/// family) and one mixing round. This is cheap, and the first 2^32 words of a message all differ.
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
    fn fields_are_divided_as_in_the_original() {
        let lengths = Spec::new(1027).unwrap().lengths();
        assert_eq!(lengths.as_slice(), [129, 129, 129, 128, 128, 128, 128, 128]);
    }

    #[test]
    fn invalid_sizes_are_refused() {
        for size in [0, 1, 7, MAX_SIZE + 1] {
            assert_eq!(Spec::new(size), Err(BadMessageSize { size }));
        }
    }

    #[test]
    fn fields_of_the_caller_are_a_message_or_are_refused() {
        let fields: Vec<Vec<u8>> = (1..=FIELDS).map(|length| vec![length as u8; length]).collect();
        let message = Message::from_fields(fields.clone()).unwrap();
        assert_eq!((message.slices().len(), bytes(&message)), (FIELDS, fields.concat()));
        let nine = vec![vec![1]; FIELDS + 1];
        assert_eq!(
            Message::from_fields(nine).unwrap_err().to_string(),
            "a message has 1 to 8 fields (got 9)"
        );
        assert_eq!(Message::from_fields(Vec::<Vec<u8>>::new()).unwrap_err(), BadFields::Number(0));
        assert_eq!(Message::from_fields([vec![1], vec![]]).unwrap_err(), BadFields::Empty(1));
    }

    #[test]
    fn names_parse_back() {
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
