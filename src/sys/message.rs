//! A message in its own memory, with its fields in the kernel's form: one array of iovecs, made once, because
//! fresh iovecs would slow each send down (docs/tuning.md, "Small costs around a system call").
//!
//! It is in `sys` because the kernel reads its memory after a call has returned. So no safe code may free or
//! write this memory, and the paths by reference take an `Arc` of this type only.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory::Block;

/// One message in memory: bytes in several pieces that nothing else points to.
#[derive(Debug)]
pub struct Message {
    iovecs: Box<[libc::iovec]>,
    /// All bytes as one piece, if the fields are adjacent. It is not in a separate allocation, which would be
    /// one more cache miss for a cold message.
    whole: Option<libc::iovec>,
    /// The sum of the fields' lengths in bytes.
    size: usize,
    owner: Owner,
    /// See [`Message::mark_kept`].
    kept: AtomicBool,
}

/// The owner of the memory that the iovecs point to.
#[derive(Debug)]
enum Owner {
    /// Each iovec points to an allocation that was a `Box<[u8]>`.
    Allocations,
    /// The iovecs point into these blocks.
    Blocks(Vec<Block>),
    /// The iovecs point into these blocks, and those of other messages too. Nobody writes them.
    Shared(Arc<[Block]>),
}

// SAFETY: the message is the only owner of the memory, as with boxes, and the pointers lead nowhere else.
unsafe impl Send for Message {}
// SAFETY: shared access only reads (`slices`); writing needs &mut (`slices_mut`).
unsafe impl Sync for Message {}

// SAFETY: the bytes of a message change only by `&mut`, which nobody has while another `Arc` of it exists,
// and a field is always the same memory.
unsafe impl zerosend::Memory for Message {
    #[inline]
    fn part(&self, index: usize) -> Option<&[u8]> {
        self.slices().get(index).map(|field| &**field)
    }

    #[inline]
    fn size(&self) -> usize {
        self.size
    }
}

/// A message whose parts are its [runs](Message::runs) and not its fields.
#[derive(Debug)]
#[repr(transparent)]
pub struct InRuns(Message);

// SAFETY: as for the message; a run is always the same memory too.
unsafe impl zerosend::Memory for InRuns {
    #[inline]
    fn part(&self, index: usize) -> Option<&[u8]> {
        self.0.runs().get(index).map(|run| &**run)
    }

    #[inline]
    fn size(&self) -> usize {
        self.0.size
    }
}

impl InRuns {
    /// The same message in the same allocation.
    #[inline]
    pub(crate) fn of(message: Arc<Message>) -> Arc<Self> {
        // SAFETY: the pointer comes from `into_raw`, and the layouts are the same (`repr(transparent)`), as `Arc::from_raw` demands.
        unsafe { Arc::from_raw(Arc::into_raw(message).cast()) }
    }
}

impl Message {
    /// A message with one field in each allocation.
    pub(crate) fn allocated(fields: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let iovec = |field: Box<[u8]>| {
            let iov_len = field.len();
            libc::iovec { iov_base: Box::into_raw(field).cast(), iov_len }
        };
        Self::of(fields.into_iter().map(iovec).collect(), None, Owner::Allocations)
    }

    /// A message with one field in each block, from offset `first` on. A field is empty if its block ends
    /// before.
    pub(crate) fn mapped(blocks: Vec<Block>, first: usize) -> Self {
        let field = |block: &Block| {
            let first = first.min(block.length());
            part(block, first, block.length() - first)
        };
        let iovecs = blocks.iter().map(field).collect();
        // Mappings that happen to be adjacent stay separate, because no slice may cover two of them.
        Self::of(iovecs, None, Owner::Blocks(blocks))
    }

    /// A message with all fields in one block. Each has an offset and a length, in ascending order. The first
    /// field that does not fit after the one before is left out, with all that follow.
    pub(crate) fn in_block(block: Block, fields: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let (mut iovecs, mut filled, mut first, mut gaps) = (Vec::new(), 0, None, false);
        for (start, length) in fields {
            let end = start.checked_add(length).filter(|end| *end <= block.length() && start >= filled);
            let Some(end) = end else { break };
            gaps |= *first.get_or_insert(start) != start && start != filled;
            iovecs.push(part(&block, start, length));
            filled = end;
        }
        let whole = (!gaps).then(|| part(&block, first.unwrap_or(0), filled - first.unwrap_or(0)));
        Self::of(iovecs.into_boxed_slice(), whole, Owner::Blocks(vec![block]))
    }

    /// A message in blocks that it shares with other messages, and so cannot be written. Each field has the index of its
    /// block, an offset and a length, in ascending order. The first field that does not fit is left out, with all that
    /// follow.
    pub(crate) fn in_shared_blocks(
        blocks: &Arc<[Block]>,
        fields: impl IntoIterator<Item = (usize, usize, usize)>,
    ) -> Self {
        let (mut iovecs, mut end, mut gaps) = (Vec::new(), None, false);
        for (index, start, length) in fields {
            let Some(block) = blocks.get(index) else { break };
            let Some(filled) = start.checked_add(length).filter(|end| *end <= block.length()) else { break };
            gaps |= end.is_some_and(|end| end != (index, start));
            iovecs.push(part(block, start, length));
            end = Some((index, filled));
        }
        let size = iovecs.iter().map(|field| field.iov_len).sum();
        let whole = iovecs.first().filter(|_| !gaps).map(|first| libc::iovec { iov_len: size, ..*first });
        Self::of(iovecs.into_boxed_slice(), whole, Owner::Shared(Arc::clone(blocks)))
    }

    /// A message with adjacent fields of these lengths, from offset `first` in one block on. Fields that do
    /// not fit are left out.
    pub(crate) fn adjacent_fields(block: Block, first: usize, lengths: &[usize]) -> Self {
        let mut next = first;
        let field = |length: &usize| {
            let start = next;
            next = next.saturating_add(*length);
            (start, *length)
        };
        Self::in_block(block, lengths.iter().map(field).collect::<Vec<_>>())
    }

    fn of(iovecs: Box<[libc::iovec]>, whole: Option<libc::iovec>, owner: Owner) -> Self {
        let size = iovecs.iter().map(|field| field.iov_len).sum();
        Self { iovecs, whole, size, owner, kept: AtomicBool::new(false) }
    }

    /// The sum of the field lengths in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether each of `slices` lies in this message's memory.
    #[inline]
    pub(super) fn holds(&self, slices: &[IoSlice<'_>]) -> bool {
        let fields = self.slices();
        // Most sends have the message's own slices.
        std::ptr::eq(slices, fields) || slices.iter().all(|slice| self.holds_one(slice))
    }

    fn holds_one(&self, slice: &[u8]) -> bool {
        let (start, end) = (slice.as_ptr() as usize, slice.as_ptr() as usize + slice.len());
        self.iovecs_of_runs().iter().any(|run| {
            let first = run.iov_base as usize;
            first <= start && end <= first + run.iov_len
        })
    }

    /// The fields in the form for `sendmsg`.
    #[inline]
    pub fn slices(&self) -> &[IoSlice<'_>] {
        // SAFETY: an IoSlice is laid out as an iovec (documented), and each iovec points to initialised
        // memory that `self` owns: it lives as long as the borrow, which excludes writers.
        unsafe { std::slice::from_raw_parts(self.iovecs.as_ptr().cast(), self.iovecs.len()) }
    }

    /// The bytes in as few pieces as possible: adjacent fields are one piece.
    #[inline]
    pub fn runs(&self) -> &[IoSlice<'_>] {
        let runs = self.iovecs_of_runs();
        // SAFETY: as in `slices`; a run lies within one allocation or block, whose bytes are all initialised.
        unsafe { std::slice::from_raw_parts(runs.as_ptr().cast(), runs.len()) }
    }

    /// The fields, writable; none of a message whose memory is shared with others.
    pub fn slices_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let own = match self.owner {
            Owner::Allocations | Owner::Blocks(_) => self.iovecs.len(),
            Owner::Shared(_) => 0,
        };
        self.iovecs[..own].iter_mut().map(|iovec| {
            // SAFETY: as in `slices`. The message does not share its memory, `&mut self` makes this the only access, and no
            // two fields overlap.
            unsafe { std::slice::from_raw_parts_mut(iovec.iov_base.cast(), iovec.iov_len) }
        })
    }

    /// How many bytes from position `from` on are contiguous in memory: to the end of the field, or further
    /// if the next field is adjacent. 0 at the end.
    #[inline]
    pub(crate) fn adjacent(&self, from: usize) -> usize {
        self.run(from).1
    }

    /// The address of the byte at position `from`, and how many bytes are contiguous from there.
    #[inline]
    pub(super) fn run(&self, from: usize) -> (usize, usize) {
        let mut skip = from;
        for run in self.iovecs_of_runs() {
            if skip < run.iov_len {
                return (run.iov_base as usize + skip, run.iov_len - skip);
            }
            skip -= run.iov_len;
        }
        (0, 0)
    }

    /// The iovecs of [`Message::slices`].
    #[inline]
    pub(super) fn iovecs_of_fields(&self) -> &[libc::iovec] {
        &self.iovecs
    }

    /// The iovecs of [`Message::runs`].
    #[inline]
    pub(super) fn iovecs_of_runs(&self) -> &[libc::iovec] {
        self.whole.as_ref().map_or(&*self.iovecs, std::slice::from_ref)
    }

    /// The file that holds the fields, adjacent from this offset on; `None` if no file does.
    pub(super) fn extent(&self) -> Option<(BorrowedFd<'_>, u64)> {
        let ([block], Some(whole)) = (self.blocks(), &self.whole) else { return None };
        let (file, start) = block.extent()?;
        let first = whole.iov_base as usize - block.start().as_ptr() as usize;
        Some((file, start + first as u64))
    }

    /// Whether the fields are in mappings of the message itself. The kernel can keep their pages when the
    /// message is dropped, and no allocator reuses them.
    pub(crate) fn has_own_pages(&self) -> bool {
        !self.blocks().is_empty()
    }

    /// Whether the fields are adjacent in a file.
    pub(crate) fn is_in_file(&self) -> bool {
        self.extent().is_some()
    }

    /// The share, 0 to 1, of the memory around the message that is backed by huge pages.
    pub fn huge_share(&self) -> f64 {
        match self.blocks() {
            [block] => block.huge_share().unwrap_or(0.0),
            _ => 0.0,
        }
    }

    /// True at the first call only. The caller must then keep a clone of the message's `Arc` as long as
    /// others could write into it: see [`super::splice::HeldMessages`].
    #[inline]
    pub(super) fn mark_kept(&self) -> bool {
        !self.kept.load(Ordering::Relaxed) && !self.kept.swap(true, Ordering::Relaxed)
    }

    /// The mappings that hold the fields; none for allocations.
    pub(super) fn blocks(&self) -> &[Block] {
        match &self.owner {
            Owner::Allocations => &[],
            Owner::Blocks(blocks) => blocks,
            Owner::Shared(blocks) => blocks,
        }
    }
}

/// A part of a block, which its owner must not move. References into it may be made only through the iovec.
fn part(block: &Block, start: usize, length: usize) -> libc::iovec {
    libc::iovec { iov_base: block.start().as_ptr().wrapping_add(start).cast(), iov_len: length }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Owner::Allocations = self.owner {
            for iovec in &self.iovecs {
                let field = std::ptr::slice_from_raw_parts_mut(iovec.iov_base.cast::<u8>(), iovec.iov_len);
                // SAFETY: the pointer and the length are those that `allocated` took out of a Box, and they
                // are given back once.
                drop(unsafe { Box::from_raw(field) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_memory_can_be_written_and_read_back() {
        let lengths = [3, 0, 5];
        let kinds = [
            Message::allocated(lengths.map(|length| vec![0; length].into_boxed_slice())),
            Message::mapped(lengths.iter().map(|length| Block::pages(*length).unwrap()).collect(), 0),
            Message::adjacent_fields(Block::pages(8).unwrap(), 0, &lengths),
        ];
        for mut fields in kinds {
            for (value, field) in (1..).zip(fields.slices_mut()) {
                field.fill(value);
            }
            let read: Vec<_> = fields.slices().iter().map(|field| field.to_vec()).collect();
            assert_eq!((&read[0][..], &read[2][..]), (&[1; 3][..], &[3; 5][..]));
            let run: Vec<_> = fields.runs().iter().flat_map(|run| run.to_vec()).collect();
            assert_eq!(run, read.concat());
        }
    }

    #[test]
    fn adjacent_fields_are_one_run() {
        let near = Message::adjacent_fields(Block::pages(12).unwrap(), 0, &[3, 0, 5, 4]);
        for from in 0..=12 {
            assert_eq!(near.adjacent(from), 12 - from);
        }
        assert_eq!(near.runs().len(), 1);
        let far = Message::mapped([3, 5].map(|length| Block::pages(length).unwrap()).into(), 0);
        // Two mappings of a page each may be adjacent, but these bytes of them are not.
        assert_eq!([0, 2, 3, 7, 8].map(|from| far.adjacent(from)), [3, 1, 5, 1, 0]);
    }

    #[test]
    fn messages_that_share_their_memory_are_read_and_never_written() {
        let mut block = Block::pages(16).unwrap();
        (0..).zip(block.as_mut_slice()).for_each(|(value, byte)| *byte = value);
        let shared: Arc<[Block]> = Arc::from([block, Block::pages(4).unwrap()]);
        let long = Message::in_shared_blocks(&shared, [(0, 0, 4), (0, 4, 12), (0, 16, 1)]);
        assert_eq!((long.size(), long.slices().len(), long.runs().len()), (16, 2, 1), "one does not fit");
        let mut short = Message::in_shared_blocks(&shared, [(0, 1, 3), (1, 0, 2), (2, 0, 1)]);
        assert_eq!((short.size(), short.runs().len(), short.slices_mut().count()), (5, 2, 0));
        drop((shared, long));
        assert_eq!(
            short.slices().iter().flat_map(|field| field.to_vec()).collect::<Vec<u8>>(),
            [1, 2, 3, 0, 0]
        );
    }

    #[test]
    fn fields_that_do_not_fit_are_left_out() {
        let fields = Message::adjacent_fields(Block::pages(8).unwrap(), 0, &[5, 5]);
        assert_eq!(fields.slices().len(), 1);
    }
}
