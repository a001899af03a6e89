//! The buffer that the kernel copies received bytes into: it begins where it was asked to.

use std::io;
use std::ops::{Deref, DerefMut};

use crate::offset::{Begin, PERIOD};
use crate::sys::memory::Block;

/// Memory to receive into.
#[derive(Debug)]
pub(super) enum Buffer {
    /// From so many bytes into the block on.
    Block(Block, usize),
    Allocated(Box<[u8]>),
}

impl Buffer {
    /// So many bytes that begin at `begin`, touched.
    pub(super) fn new(begin: Begin, length: usize) -> io::Result<Self> {
        Ok(match begin {
            Begin::At(first) => {
                let mut block = Block::pages(usize::from(first) + length)?;
                block.as_mut_slice().fill(0);
                Self::Block(block, first.into())
            }
            Begin::Malloc => Self::Allocated(vec![0; length].into_boxed_slice()),
        })
    }

    /// Where in a page it begins.
    pub(super) fn offset(&self) -> usize {
        self.as_ptr() as usize % PERIOD
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Block(block, first) => &block.as_slice()[*first..],
            Self::Allocated(bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Block(block, first) => &mut block.as_mut_slice()[*first..],
            Self::Allocated(bytes) => bytes,
        }
    }
}
