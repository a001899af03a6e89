//! Page-aligned memory from `mmap(2)`. The place of a field affects the cost of a zero-copy send, and an
//! allocator guarantees nothing about it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// The size of a base page in bytes.
pub fn page_size() -> usize {
    // SAFETY: sysconf reads no memory of the process; _SC_PAGESIZE is always defined.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096)
}

/// Gives freed memory back to the kernel, if the allocator can. glibc has an arena for each thread, returns
/// only the end of an arena, and keeps the arenas of ended threads (malloc_trim(3)). Without this, the memory
/// of one set-up is missing for the messages of the next.
pub fn trim() {
    // SAFETY: malloc_trim touches only what the allocator holds as free, under its own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The alignment and granule of a transparent huge page on x86-64 and on arm64 with 4 KiB base pages.
pub const HUGE_PAGE: usize = 2 << 20;

/// Zeroed memory that nothing else in this process points to.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    length: usize,
    /// The mapping around `start`. Other blocks may be in it, but never in the same bytes.
    mapping: Arc<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
    /// The memfd that it maps from the start; `None` for private anonymous memory.
    file: Option<OwnedFd>,
}

/// Keeps the addresses of a block from being reused, without access to its bytes.
#[derive(Debug)]
pub struct Lease {
    _mapping: Arc<Mapping>,
}

// SAFETY: a Mapping reads and writes nothing; it is unmapped by its last owner, on whatever thread.
unsafe impl Send for Mapping {}
// SAFETY: its fields are never written after it was made.
unsafe impl Sync for Mapping {}

// SAFETY: a Block owns its bytes alone, as a Box<[u8]> does.
unsafe impl Send for Block {}
// SAFETY: shared access only reads (`as_slice`); writing needs &mut.
unsafe impl Sync for Block {}

impl Block {
    /// `length` bytes (at least one) from the start of a page.
    pub fn pages(length: usize) -> io::Result<Self> {
        Self::aligned(length, page_size())
    }

    /// Blocks in one mapping, each with a length and the distance to the next, in bytes. The first starts `first` bytes
    /// into a page.
    pub fn several(first: usize, parts: impl IntoIterator<Item = (usize, usize)>) -> io::Result<Vec<Self>> {
        let (mut starts, mut end) = (Vec::new(), first);
        for (length, stride) in parts {
            let (length, stride) = (length.max(1), stride.max(length).max(1));
            starts.push((end, length));
            end = end.checked_add(stride).ok_or(io::ErrorKind::OutOfMemory)?;
        }
        let all = Self::aligned(end, page_size())?;
        let block = |(from, length)| {
            // SAFETY: `from + length` is at most `end`, the length of `all`, and no two parts overlap: each begins where the
            // stride of the one before ends, which is at least its length.
            let start = unsafe { all.start.add(from) };
            Self { start, length, mapping: Arc::clone(&all.mapping) }
        };
        Ok(starts.into_iter().map(block).collect())
    }

    /// `count` blocks of `length` bytes in one mapping of whole huge pages, with `madvise(MADV_HUGEPAGE)` and
    /// every page touched. They are [`Block::huge_stride`] bytes apart. [`Block::huge_share`] says whether
    /// the kernel used huge pages.
    pub fn huge(length: usize, count: usize) -> io::Result<Vec<Self>> {
        let length = length.max(1);
        let stride = Self::huge_stride(length).ok_or(io::ErrorKind::OutOfMemory)?;
        let total =
            stride.checked_mul(count.max(1)).and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE));
        let mut all = Self::aligned(total.ok_or(io::ErrorKind::OutOfMemory)?, HUGE_PAGE)?;
        // SAFETY: the range is this block's own mapping from `start` on, and the advice changes no content.
        // If it fails (a kernel without huge pages), the pages are ordinary, which huge_share() shows.
        let _ = unsafe { libc::madvise(all.start.as_ptr().cast(), all.length, libc::MADV_HUGEPAGE) };
        all.as_mut_slice().fill(0);
        let block = |number| {
            // SAFETY: `number` is below `count`, so that `length` bytes from there on lie inside `all`.
            let start = unsafe { all.start.add(number * stride) };
            Self { start, length, mapping: Arc::clone(&all.mapping) }
        };
        Ok((0..count).map(block).collect())
    }

    /// The distance between blocks of this length on huge pages. No block lies on more huge pages than
    /// necessary, and no two blocks share a cache line. `None` if there cannot be so much memory.
    pub fn huge_stride(length: usize) -> Option<usize> {
        const CACHE_LINE: usize = 64;
        if length <= HUGE_PAGE {
            Some(length.next_power_of_two().max(CACHE_LINE))
        } else {
            length.checked_next_multiple_of(HUGE_PAGE)
        }
    }

    /// The share, 0 to 1, of the memory around this block that the kernel backs by huge pages, from /proc/self/smaps.
    pub fn huge_share(&self) -> io::Result<f64> {
        let smaps = super::text::read("/proc/self/smaps")?;
        Ok(anon_huge_share(&smaps, self.start.as_ptr() as usize))
    }

    /// `count` blocks of `length` bytes in one memfd (memfd_create(2)) with allocated memory. Each starts on
    /// a page. They share one file, because a process may not open a file for each message.
    pub fn in_memfd(length: usize, count: usize) -> io::Result<Vec<Self>> {
        let length = length.max(1);
        let stride = length.checked_next_multiple_of(page_size()).ok_or(io::ErrorKind::OutOfMemory)?;
        let total = stride.checked_mul(count.max(1)).ok_or(io::ErrorKind::OutOfMemory)?;
        let file = memfd(total)?;
        let mapping = Arc::new(Mapping::new(total, libc::MAP_SHARED, Some(file))?);
        mapping.file.iter().for_each(seal);
        let block = |number| {
            // SAFETY: `number` is below `count`, so that `length` bytes from there on lie inside the mapping.
            let start = unsafe { mapping.start.cast::<u8>().add(number * stride) };
            Self { start, length, mapping: Arc::clone(&mapping) }
        };
        Ok((0..count).map(block).collect())
    }

    /// The start of the block. This pointer comes from the mapping itself and not from a reference, so the
    /// owner and the kernel may read and write through it while no reference into the block exists.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is the start of `length` mapped, readable bytes that live as long as self. Code
        // that writes through `start()` has the block to itself: it is private to its `Message` or ring,
        // which lend no block. A block that messages share is written by nobody.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Its bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as for `as_slice`, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// The file of this block and the block's offset in it; `None` for anonymous memory. It must not reach
    /// safe code outside this module, because with the descriptor that code could write behind references to
    /// the bytes.
    pub(super) fn extent(&self) -> Option<(BorrowedFd<'_>, u64)> {
        let file = self.mapping.file.as_ref()?;
        let offset = self.start.as_ptr() as usize - self.mapping.start.as_ptr() as usize;
        Some((file.as_fd(), offset as u64))
    }

    /// Keeps its addresses from being mapped again after it is dropped, because the kernel knows them.
    pub fn lease(&self) -> Lease {
        Lease { _mapping: Arc::clone(&self.mapping) }
    }

    fn aligned(length: usize, alignment: usize) -> io::Result<Self> {
        let length = length.max(1);
        let total = length
            .checked_next_multiple_of(page_size())
            .and_then(|bytes| bytes.checked_add(alignment - page_size()))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Mapping::new(total, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)?;
        let offset = mapping.start.as_ptr().cast::<u8>().align_offset(alignment);
        // SAFETY: `offset` is below `alignment` and the mapping is `alignment - page` longer than the pages of
        // `length`, and begins on a page, so start + length stays inside it.
        let start = unsafe { mapping.start.cast::<u8>().add(offset) };
        Ok(Self { start, length, mapping: Arc::new(mapping) })
    }
}

impl Mapping {
    fn new(length: usize, flags: libc::c_int, file: Option<OwnedFd>) -> io::Result<Self> {
        let fd = file.as_ref().map_or(-1, |file| file.as_raw_fd());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address the kernel chooses overlaps nothing; it is anonymous, or of a file that is
        // as long and sealed against shrinking.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length, file })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; every block in it holds an Arc of it and is gone.
        let _ = unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

/// A memfd of `length` bytes, allocated, that can neither shrink nor grow.
fn memfd(length: usize) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string that lives as long as the call.
    let fd = super::checked(unsafe { libc::memfd_create(c"copycost".as_ptr(), flags) })?;
    // SAFETY: a file descriptor that was just made and that nobody else owns.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let length = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // SAFETY: it reads no memory of the process. Allocating here turns a lack of memory into an error instead
    // of a SIGBUS.
    super::checked(unsafe { libc::fallocate(fd, 0, 0, length) })?;
    // SAFETY: it reads no memory of the process.
    super::checked(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW) })?;
    Ok(file)
}

/// From now on the file can be written only through existing mappings. A kernel before Linux 5.1 has no such
/// seal; there it is enough that the descriptor never leaves this module.
fn seal(file: &OwnedFd) {
    for seals in [libc::F_SEAL_FUTURE_WRITE, libc::F_SEAL_SEAL] {
        // SAFETY: it reads no memory of the process.
        let _ = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    }
}

/// The AnonHugePages of the mapping that holds `address`, as a share of it.
fn anon_huge_share(smaps: &str, address: usize) -> f64 {
    let mut inside = None;
    for line in smaps.lines() {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let bounds = range.and_then(|(low, high)| {
            Some((usize::from_str_radix(low, 16).ok()?, usize::from_str_radix(high, 16).ok()?))
        });
        if let Some((low, high)) = bounds {
            inside = (low..high).contains(&address).then(|| high - low);
        } else if let Some(length) = inside
            && let Some(rest) = line.strip_prefix("AnonHugePages:")
        {
            let kib: usize = rest.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
            return (kib << 10) as f64 / length as f64;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_zeroed_and_writable_to_the_last_byte() {
        for length in [1, 4096, 4097, 70_000] {
            let huge = Block::huge(length, 1).unwrap().pop().unwrap();
            for (mut block, alignment) in [(Block::pages(length).unwrap(), page_size()), (huge, HUGE_PAGE)] {
                assert_eq!(block.length(), length);
                assert_eq!(block.start().as_ptr() as usize % alignment, 0);
                assert!(block.as_slice().iter().all(|byte| *byte == 0));
                block.as_mut_slice().fill(7);
                assert!(block.as_slice().iter().all(|byte| *byte == 7));
            }
        }
    }

    #[test]
    fn blocks_of_a_memfd_do_not_overlap_and_have_the_right_offsets() {
        use std::os::unix::fs::FileExt as _;
        let mut blocks = Block::in_memfd(5000, 3).unwrap();
        for (value, block) in (1..).zip(&mut blocks) {
            assert_eq!((block.length(), block.start().as_ptr() as usize % page_size()), (5000, 0));
            block.as_mut_slice().fill(value);
        }
        for (value, block) in (1..).zip(&blocks) {
            let (file, offset) = block.extent().unwrap();
            let file = std::fs::File::from(file.try_clone_to_owned().unwrap());
            let mut bytes = [0; 5000];
            file.read_exact_at(&mut bytes, offset).unwrap();
            assert_eq!(bytes, [value; 5000]);
            assert!(file.set_len(0).is_err(), "it cannot shrink under its mapping");
            let written = file.write_at(&[9], offset);
            assert!(written.is_err(), "nobody can write behind a reference to its bytes");
            assert_eq!(block.as_slice()[0], value);
        }
        let last = blocks.pop().unwrap();
        drop(blocks);
        assert_eq!(last.as_slice()[4999], 3, "the mapping lives as long as its last block");
        assert!(Block::pages(1).unwrap().extent().is_none());
    }

    #[test]
    fn blocks_on_huge_pages_do_not_overlap_and_use_as_few_pages_as_possible() {
        for length in [1, 1000, 4096, 70_000, HUGE_PAGE, HUGE_PAGE + 1] {
            let mut blocks = Block::huge(length, 5).unwrap();
            for (value, block) in (1..).zip(&mut blocks) {
                let (first, last) =
                    (block.start().as_ptr() as usize, block.start().as_ptr() as usize + length - 1);
                assert_eq!(last / HUGE_PAGE - first / HUGE_PAGE, (length - 1) / HUGE_PAGE);
                assert!(block.length() == length && block.as_slice().iter().all(|byte| *byte == 0));
                block.as_mut_slice().fill(value);
            }
            assert!(
                (1..).zip(&blocks).all(|(value, block)| block.as_slice().iter().all(|byte| *byte == value))
            );
        }
        assert!(Block::huge(usize::MAX, 1).is_err() && Block::huge(1 << 20, usize::MAX >> 10).is_err());
    }

    #[test]
    fn smaps_has_the_huge_pages_of_the_right_mapping() {
        let smaps = "7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \nSize: 4096 kB\nAnonHugePages:      2048 kB\n\
                     7f0000400000-7f0000500000 rw-p 00000000 00:00 0 \nAnonHugePages:         0 kB\n";
        assert_eq!(anon_huge_share(smaps, 0x7f00_0000_1000), 0.5);
        assert_eq!(anon_huge_share(smaps, 0x7f00_0040_0000), 0.0);
        assert_eq!(anon_huge_share(smaps, 0x1000), 0.0);
    }
}
