//! The buffer into which the kernel copies received data, at a given offset in a page.

use std::io;
use std::ops::{Deref, DerefMut};

use crate::offset::{BufferStart, PERIOD};
use crate::sys::memory::Block;

#[derive(Debug)]
pub(super) enum ReceiveBuffer {
    /// The part of the block from this offset on.
    Block(Block, usize),
    Allocated(Box<[u8]>),
}

impl ReceiveBuffer {
    /// `length` touched bytes at offset `begin`.
    pub(super) fn new(begin: BufferStart, length: usize) -> io::Result<Self> {
        Ok(match begin {
            BufferStart::At(first) => {
                let mut block = Block::pages(usize::from(first) + length)?;
                block.as_mut_slice().fill(0);
                Self::Block(block, first.into())
            }
            BufferStart::Malloc => Self::Allocated(vec![0; length].into_boxed_slice()),
        })
    }

    /// The offset in a page at which it starts.
    pub(super) fn offset(&self) -> usize {
        self.as_ptr() as usize % PERIOD
    }
}

impl Deref for ReceiveBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Block(block, first) => &block.as_slice()[*first..],
            Self::Allocated(bytes) => bytes,
        }
    }
}

impl DerefMut for ReceiveBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Block(block, first) => &mut block.as_mut_slice()[*first..],
            Self::Allocated(bytes) => bytes,
        }
    }
}
