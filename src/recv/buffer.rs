//! The buffer that the kernel copies received bytes into: it begins where it was asked to.

use std::io;
use std::ops::{Deref, DerefMut};

use crate::offset::{BufferStart, PERIOD};
use crate::sys::memory::Block;

/// Memory to receive into.
#[derive(Debug)]
pub(super) enum ReceiveBuffer {
    /// From so many bytes into the block on.
    Block(Block, usize),
    Allocated(Box<[u8]>),
}

impl ReceiveBuffer {
    /// So many bytes that begin at `begin`, touched.
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

    /// Where in a page it begins.
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
