//! The buffer in which fields are joined before they are sent. Its offset makes both copies fast on every
//! CPU: of the fields into it, and by the kernel out of it.

use std::io;

use crate::message::Message;
use crate::offset::{BufferStart, PERIOD, draw, is_slow};
use crate::sys::memory::Block;

#[derive(Debug)]
pub(super) struct Staging {
    begin: Option<BufferStart>,
    memory: StagingMemory,
}

#[derive(Debug)]
enum StagingMemory {
    /// No fields were joined yet.
    None,
    /// The part of the block from this offset on.
    Block(Block, usize),
    Allocated(Box<[u8]>),
}

impl Staging {
    /// A buffer at offset `begin`. `None`: an offset at which the first message has no slow copy.
    pub(super) fn new(begin: Option<BufferStart>) -> Self {
        Self { begin, memory: StagingMemory::None }
    }

    /// At least `length` bytes, for `message` and others with the same layout.
    #[inline]
    pub(super) fn for_message(&mut self, message: &Message, length: usize) -> io::Result<&mut [u8]> {
        if self.length() < length {
            self.grow(message, length)?;
        }
        Ok(match &mut self.memory {
            StagingMemory::None => &mut [],
            StagingMemory::Block(block, first) => &mut block.as_mut_slice()[*first..],
            StagingMemory::Allocated(bytes) => bytes,
        })
    }

    /// The length in bytes.
    #[inline]
    pub(super) fn length(&self) -> usize {
        match &self.memory {
            StagingMemory::None => 0,
            StagingMemory::Block(block, first) => block.length() - first,
            StagingMemory::Allocated(bytes) => bytes.len(),
        }
    }

    /// The offset in a page; `None` if there is no buffer yet.
    pub(super) fn offset(&self) -> Option<usize> {
        match &self.memory {
            StagingMemory::None => None,
            StagingMemory::Block(block, first) => Some((block.as_slice().as_ptr() as usize + first) % PERIOD),
            StagingMemory::Allocated(bytes) => Some(bytes.as_ptr() as usize % PERIOD),
        }
    }

    #[cold]
    fn grow(&mut self, message: &Message, length: usize) -> io::Result<()> {
        let begin = *self.begin.get_or_insert_with(|| BufferStart::At(fast_offset(message)));
        self.memory = match begin {
            BufferStart::At(first) => {
                StagingMemory::Block(Block::pages(usize::from(first) + length)?, first.into())
            }
            BufferStart::Malloc => StagingMemory::Allocated(vec![0; length].into_boxed_slice()),
        };
        Ok(())
    }
}

/// An offset at which no copy of `message` into the buffer and no send from it is slow. The message's address
/// decides it, which is drawn for a set-up and the same for all its paths.
fn fast_offset(message: &Message) -> u16 {
    let slices = message.slices();
    let source = |field: &[u8]| field.as_ptr() as usize;
    let seed = slices.first().map_or(0, |field| source(field) % PERIOD);
    draw(seed as u64, |first| {
        let mut position = first;
        let slow = |field: &&std::io::IoSlice<'_>| {
            let slow = is_slow(position, source(field));
            position += field.len();
            slow
        };
        slices.iter().filter(slow).count() + usize::from(is_slow(0, first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Fields, Layout, Spec};
    use crate::offset::Offset;

    #[test]
    fn no_field_is_copied_slowly() {
        for size in [8, 1000, 1024, 4096, 16_384, 65_536, 100_001] {
            for (seed, layout) in (0..).zip(Layout::ALL.iter().cycle().take(40)) {
                for fields in Fields::ALL {
                    let spec = Spec { layout: *layout, fields: *fields, ..Spec::new(size).unwrap() };
                    let message = Message::new(&spec.with_offset(Offset::Drawn, seed)).unwrap();
                    let mut staging = Staging::new(None);
                    let buffer = staging.for_message(&message, size).unwrap().as_ptr() as usize;
                    let mut position = buffer;
                    for field in message.slices() {
                        assert!(!is_slow(position, field.as_ptr() as usize), "{spec} seed {seed}");
                        position += field.len();
                    }
                    assert!(!is_slow(0, buffer));
                    assert_eq!(staging.offset(), Some(buffer % PERIOD));
                }
            }
        }
    }

    #[test]
    fn it_keeps_its_offset_when_it_grows() {
        let message = Message::from_bytes(*b"four");
        let mut staging = Staging::new(Some(BufferStart::At(4080)));
        for length in [4, 5000, 100_000] {
            assert!(staging.for_message(&message, length).unwrap().len() >= length);
            assert_eq!(staging.offset(), Some(4080));
        }
        let mut allocated = Staging::new(Some(BufferStart::Malloc));
        assert_eq!(allocated.for_message(&message, 10).unwrap().len(), 10);
    }
}
