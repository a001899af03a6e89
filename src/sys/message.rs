//! A message in memory of its own: its fields in the form in which the kernel takes them, one array of iovecs, made
//! once. Made anew for each send it was still in the CPU's store buffer when the kernel read it, and cost a
//! `sendmsg` of 1 KiB 5 % (`cargo bench --bench against_c -- --path onecopy --size 1024 --clients 1`).
//!
//! It is here, and not where messages are laid out, because what the kernel reads after a call has returned must be of a
//! type whose memory no safe code can free or write: the paths by reference take an `Arc` of this type and of no other.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory::Block;

/// One message in memory: bytes in several pieces that nothing else points into.
#[derive(Debug)]
pub struct Message {
    iovecs: Box<[libc::iovec]>,
    /// The same bytes where all are neighbours. Here and not in an array of its own, which for a message that is cold would be
    /// one more place that no cache holds.
    whole: Option<libc::iovec>,
    /// The sum of the fields' lengths in bytes.
    size: usize,
    owner: Owner,
    /// See [`Message::keep_for_ever`].
    kept: AtomicBool,
}

/// What the iovecs point into.
#[derive(Debug)]
enum Owner {
    /// Each at an allocation of its own, which was a `Box<[u8]>`.
    Allocations,
    /// Into these.
    Blocks(Vec<Block>),
}

// SAFETY: the memory is owned alone, as by boxes, and the pointers lead nowhere else.
unsafe impl Send for Message {}
// SAFETY: shared access only reads (`slices`); writing needs &mut (`slices_mut`).
unsafe impl Sync for Message {}

// SAFETY: the bytes of a message change only by `&mut`, which nobody has while another `Arc` of it is left, and a field is
// always the same memory.
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

// SAFETY: as for the message; a run is always the same memory as well.
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
    /// The same allocation.
    #[inline]
    pub(crate) fn of(message: Arc<Message>) -> Arc<Self> {
        // SAFETY: the pointer comes from `into_raw`, and the layouts are the same (`repr(transparent)`), as `Arc::from_raw` demands.
        unsafe { Arc::from_raw(Arc::into_raw(message).cast()) }
    }
}

impl Message {
    /// One field in each allocation.
    pub fn allocated(fields: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let iovec = |field: Box<[u8]>| {
            let iov_len = field.len();
            libc::iovec { iov_base: Box::into_raw(field).cast(), iov_len }
        };
        Self::of(fields.into_iter().map(iovec).collect(), None, Owner::Allocations)
    }

    /// One field in each block, from `first` bytes into it on; an empty one where the block ends before.
    pub fn mapped(blocks: Vec<Block>, first: usize) -> Self {
        let field = |block: &Block| {
            let first = first.min(block.length());
            part(block, first, block.length() - first)
        };
        let iovecs = blocks.iter().map(field).collect();
        // Mappings that happen to be neighbours stay apart: no slice may cover two of them.
        Self::of(iovecs, None, Owner::Blocks(blocks))
    }

    /// Fields in one block, each from a place on and so long, in ascending order; the first that does not fit behind the one
    /// before is left out, and all that follow it.
    pub fn in_block(block: Block, fields: impl IntoIterator<Item = (usize, usize)>) -> Self {
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

    /// Neighbours of these lengths from `first` bytes into one block on; what does not fit is left out.
    pub fn neighbours(block: Block, first: usize, lengths: &[usize]) -> Self {
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
        let own = self.slices();
        // The message's own slices, as most sends have them.
        std::ptr::eq(slices, own) || slices.iter().all(|slice| self.holds_one(slice))
    }

    fn holds_one(&self, slice: &[u8]) -> bool {
        let (start, end) = (slice.as_ptr() as usize, slice.as_ptr() as usize + slice.len());
        self.iovecs_of_runs().iter().any(|run| {
            let first = run.iov_base as usize;
            first <= start && end <= first + run.iov_len
        })
    }

    /// The fields as `sendmsg` takes them.
    #[inline]
    pub fn slices(&self) -> &[IoSlice<'_>] {
        // SAFETY: an IoSlice is laid out as an iovec (documented), and each iovec tells initialised memory that
        // `self` owns: it lives as long as the borrow, which keeps writers out.
        unsafe { std::slice::from_raw_parts(self.iovecs.as_ptr().cast(), self.iovecs.len()) }
    }

    /// The same bytes in as few pieces as they lie in: fields that are neighbours in memory are one.
    #[inline]
    pub fn runs(&self) -> &[IoSlice<'_>] {
        let runs = self.iovecs_of_runs();
        // SAFETY: as in `slices`; a run lies within one allocation or block, whose bytes are all initialised.
        unsafe { std::slice::from_raw_parts(runs.as_ptr().cast(), runs.len()) }
    }

    /// The fields, to be written.
    pub fn slices_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.iovecs.iter_mut().map(|iovec| {
            // SAFETY: as in `slices`, and `&mut self` makes this the only access; no two fields overlap.
            unsafe { std::slice::from_raw_parts_mut(iovec.iov_base.cast(), iovec.iov_len) }
        })
    }

    /// How many bytes from position `from` on lie one after the other in memory: to the end of a field, or further
    /// where the next one is its neighbour. 0 at the end.
    #[inline]
    pub fn adjacent(&self, from: usize) -> usize {
        self.run(from).1
    }

    /// The address of the byte at position `from`, and how many lie there one after the other.
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

    /// The file that the fields lie in, neighbours from this offset on; `None` where they lie in none.
    pub(super) fn extent(&self) -> Option<(BorrowedFd<'_>, u64)> {
        let ([block], Some(whole)) = (self.blocks(), &self.whole) else { return None };
        let (file, start) = block.extent()?;
        let first = whole.iov_base as usize - block.start().as_ptr() as usize;
        Some((file, start + first as u64))
    }

    /// Whether the fields lie in mappings of ours, whose pages the kernel can keep when the message is gone, and no allocator
    /// hands out again.
    pub fn has_own_pages(&self) -> bool {
        !self.blocks().is_empty()
    }

    /// Whether the fields lie in a file, one after the other.
    pub fn lies_in_a_file(&self) -> bool {
        self.extent().is_some()
    }

    /// The share, 0 to 1, of the memory around the message that lies on huge pages.
    pub fn huge_share(&self) -> f64 {
        match self.blocks() {
            [block] => block.huge_share().unwrap_or(0.0),
            _ => 0.0,
        }
    }

    /// Whether nobody has yet called this. The caller keeps a clone of the message's `Arc` then, for as long as others
    /// could write into it: see [`super::splice::HeldMessages`].
    #[inline]
    pub(super) fn keep_for_ever(&self) -> bool {
        !self.kept.load(Ordering::Relaxed) && !self.kept.swap(true, Ordering::Relaxed)
    }

    /// The mappings that the fields lie in; none for allocations.
    pub(super) fn blocks(&self) -> &[Block] {
        match &self.owner {
            Owner::Allocations => &[],
            Owner::Blocks(blocks) => blocks,
        }
    }
}

/// A part of a block that its owner does not move. No reference into it may be made but by way of the iovec.
fn part(block: &Block, start: usize, length: usize) -> libc::iovec {
    libc::iovec { iov_base: block.start().as_ptr().wrapping_add(start).cast(), iov_len: length }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Owner::Allocations = self.owner {
            for iovec in &self.iovecs {
                let field = std::ptr::slice_from_raw_parts_mut(iovec.iov_base.cast::<u8>(), iovec.iov_len);
                // SAFETY: exactly the pointer and the length that `allocated` took out of a Box, given back once.
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
            Message::neighbours(Block::pages(8).unwrap(), 0, &lengths),
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
    fn neighbours_lie_in_one_run_and_others_do_not() {
        let near = Message::neighbours(Block::pages(12).unwrap(), 0, &[3, 0, 5, 4]);
        for from in 0..=12 {
            assert_eq!(near.adjacent(from), 12 - from);
        }
        assert_eq!(near.runs().len(), 1);
        let far = Message::mapped([3, 5].map(|length| Block::pages(length).unwrap()).into(), 0);
        // Two mappings of a page each may be neighbours, but not these bytes of theirs.
        assert_eq!([0, 2, 3, 7, 8].map(|from| far.adjacent(from)), [3, 1, 5, 1, 0]);
    }

    #[test]
    fn what_does_not_fit_into_the_block_is_left_out() {
        let fields = Message::neighbours(Block::pages(8).unwrap(), 0, &[5, 5]);
        assert_eq!(fields.slices().len(), 1);
    }
}
