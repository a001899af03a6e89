//! An allocator that counts, for all of this binary, and that can be made to overwrite what is freed. The tests of zerosend
//! include this file too.
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

struct Counting;

/// Allocations of the whole process.
static ALL: AtomicU64 = AtomicU64::new(0);

/// Allocations of the whole process that are not freed.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Bytes of these.
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

/// What freed memory is overwritten with.
pub const PATTERN: u8 = 0xDB;

/// Blocks smaller than this are the allocator's own affair, as ever.
const SMALLEST: usize = 1024;

/// Whether freed blocks are overwritten and handed out again at once.
static OVERWRITES: AtomicBool = AtomicBool::new(false);

/// Blocks that were freed and overwritten, the last one first in line to be handed out again: address, size, alignment.
static FREED: Mutex<[(usize, usize, usize); 64]> = Mutex::new([(0, 0, 0); 64]);

/// From now on each block of 1 KiB or more is overwritten with [`PATTERN`] when it is freed, and handed out again for the
/// next allocation of its size: what still reads it sees the pattern or another's bytes.
pub fn overwrite_what_is_freed() {
    OVERWRITES.store(true, Ordering::SeqCst);
}

/// A freed block of this layout.
fn reused(layout: Layout) -> Option<*mut u8> {
    if layout.size() < SMALLEST || !OVERWRITES.load(Ordering::Relaxed) {
        return None;
    }
    let mut freed = FREED.lock().ok()?;
    let fits = |&&mut (address, size, align): &&mut (usize, usize, usize)| {
        address != 0 && (size, align) == (layout.size(), layout.align())
    };
    let entry = freed.iter_mut().rev().find(fits)?;
    Some(std::mem::take(&mut entry.0) as *mut u8)
}

/// Overwrites a block that is freed and keeps it to be handed out again. False: there is no room for it, or it is small.
fn kept(pointer: *mut u8, layout: Layout) -> bool {
    if layout.size() < SMALLEST || !OVERWRITES.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: the block is as long, and its owner has given it back.
    unsafe { pointer.write_bytes(PATTERN, layout.size()) };
    let Ok(mut freed) = FREED.lock() else { return false };
    let Some(entry) = freed.iter_mut().find(|(address, ..)| *address == 0) else { return false };
    *entry = (pointer as usize, layout.size(), layout.align());
    true
}

thread_local! {
    /// Allocations of this thread. Constant and without a destructor, so that reading it allocates nothing.
    static MINE: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of the whole process so far.
pub fn of_process() -> u64 {
    ALL.load(Ordering::Relaxed)
}

/// Allocations of the whole process that are not freed.
pub fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// Bytes of the whole process that are allocated and not freed.
pub fn live_bytes() -> i64 {
    LIVE_BYTES.load(Ordering::Relaxed)
}

/// Allocations of this thread so far.
pub fn of_thread() -> u64 {
    MINE.get()
}

fn count() {
    ALL.fetch_add(1, Ordering::Relaxed);
    MINE.set(MINE.get() + 1);
}

// SAFETY: a call is passed on unchanged to the system's allocator, whose guarantees are then ours, or a block that it gave
// out with the same layout and that was given back is given out again, once. Counting touches only atomics and a
// thread-local without a destructor, and the list of blocks allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        LIVE.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        if let Some(block) = reused(layout) {
            return block;
        }
        // SAFETY: the caller's promises about `layout` are those that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        if kept(pointer, layout) {
            return;
        }
        // SAFETY: `pointer` came from System by `alloc` or `realloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        LIVE_BYTES.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as for `dealloc`, and the caller's promises about `size` are those that System asks for.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
