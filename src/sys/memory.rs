//! Page-aligned memory straight from `mmap(2)`, because where a field lies decides what a zero-copy send costs
//! and an allocator promises nothing about it.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// The size of a base page in bytes.
pub fn page_size() -> usize {
    // SAFETY: sysconf reads no memory of ours; _SC_PAGESIZE is always defined.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096)
}

/// The alignment and granule of a transparent huge page on x86-64 and on arm64 with 4 KiB base pages.
pub const HUGE_PAGE: usize = 2 << 20;

/// Private anonymous memory, zeroed, that nothing else points into.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    length: usize,
    /// The whole mapping, which may begin before `start` to give it its alignment.
    mapping: Arc<Mapping>,
}

/// A mapping: unmapped when the last who knows it has let go.
#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

/// Keeps the addresses of a block from being given to others, and gives no access to its bytes.
#[derive(Debug)]
pub struct Lease {
    _mapping: Arc<Mapping>,
}

// SAFETY: a Mapping is an address and a length; what lies there is the Block's.
unsafe impl Send for Mapping {}
// SAFETY: as for Send, and nothing is done through a shared reference.
unsafe impl Sync for Mapping {}

// SAFETY: a Block owns its mapping alone, as a Box<[u8]> owns its bytes.
unsafe impl Send for Block {}
// SAFETY: shared access only reads (Deref to &[u8]); writing needs &mut.
unsafe impl Sync for Block {}

impl Block {
    /// `length` bytes (at least one) that begin on a page.
    pub fn pages(length: usize) -> io::Result<Self> {
        Self::aligned(length, page_size())
    }

    /// `length` bytes that begin on a huge page's boundary, in whole huge pages, with `madvise(MADV_HUGEPAGE)`
    /// given and every page touched. Whether the kernel gave huge pages is for [`Block::huge_bytes`] to tell.
    pub fn huge(length: usize) -> io::Result<Self> {
        let mut block = Self::aligned(length.max(1).next_multiple_of(HUGE_PAGE), HUGE_PAGE)?;
        // SAFETY: the range is exactly this block's own mapping from `start` on; the advice changes no content.
        // Its failure (a kernel without huge pages) leaves ordinary pages, which huge_bytes() then tells.
        let _ = unsafe { libc::madvise(block.start.as_ptr().cast(), block.length, libc::MADV_HUGEPAGE) };
        block.fill(0);
        block.length = length.max(1);
        Ok(block)
    }

    /// How many bytes around this block the kernel backs by huge pages, from /proc/self/smaps.
    pub fn huge_bytes(&self) -> io::Result<usize> {
        let smaps = std::fs::read_to_string("/proc/self/smaps")?;
        Ok(anon_huge_bytes(&smaps, self.start.as_ptr() as usize))
    }

    fn aligned(length: usize, alignment: usize) -> io::Result<Self> {
        let length = length.max(1);
        let total = length
            .checked_next_multiple_of(page_size())
            .and_then(|bytes| bytes.checked_add(alignment - page_size()))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new private anonymous mapping at an address the kernel chooses overlaps nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                total,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(address).ok_or(io::ErrorKind::OutOfMemory)?;
        let offset = address.cast::<u8>().align_offset(alignment);
        // SAFETY: `offset` is below `alignment` and the mapping is `alignment - page` longer than the pages of
        // `length`, and begins on a page, so start + length stays inside it.
        let start = unsafe { mapping.cast::<u8>().add(offset) };
        Ok(Self { start, length, mapping: Arc::new(Mapping { start: mapping, length: total }) })
    }

    /// Keeps its addresses from being mapped again after it is gone, for one who has told them to the kernel.
    pub fn lease(&self) -> Lease {
        Lease { _mapping: Arc::clone(&self.mapping) }
    }
}

/// The AnonHugePages of the mapping that holds `address`, in bytes.
fn anon_huge_bytes(smaps: &str, address: usize) -> usize {
    let mut inside = false;
    for line in smaps.lines() {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let bounds = range.and_then(|(low, high)| {
            Some((usize::from_str_radix(low, 16).ok()?, usize::from_str_radix(high, 16).ok()?))
        });
        if let Some((low, high)) = bounds {
            inside = (low..high).contains(&address);
        } else if inside && let Some(rest) = line.strip_prefix("AnonHugePages:") {
            let kib: usize = rest.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
            return kib << 10;
        }
    }
    0
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` begins `length` mapped, readable bytes that live as long as self, and `&self` allows no writer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for Deref, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `aligned` made; only a Block makes references into it, which it outlives.
        let _ = unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_zeroed_and_writable_to_the_last_byte() {
        for length in [1, 4096, 4097, 70_000] {
            for (mut block, alignment) in
                [(Block::pages(length).unwrap(), page_size()), (Block::huge(length).unwrap(), HUGE_PAGE)]
            {
                assert_eq!(block.len(), length);
                assert_eq!(block.as_ptr() as usize % alignment, 0);
                assert!(block.iter().all(|byte| *byte == 0));
                block.fill(7);
                assert!(block.iter().all(|byte| *byte == 7));
            }
        }
    }

    #[test]
    fn smaps_tells_the_huge_pages_of_the_right_mapping() {
        let smaps = "7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \nSize: 4096 kB\nAnonHugePages:      2048 kB\n\
                     7f0000400000-7f0000500000 rw-p 00000000 00:00 0 \nAnonHugePages:         0 kB\n";
        assert_eq!(anon_huge_bytes(smaps, 0x7f00_0000_1000), 2 << 20);
        assert_eq!(anon_huge_bytes(smaps, 0x7f00_0040_0000), 0);
        assert_eq!(anon_huge_bytes(smaps, 0x1000), 0);
    }
}
