//! An allocator that counts, for all of this binary.
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

struct Counting;

/// Allocations of the whole process.
static ALL: AtomicU64 = AtomicU64::new(0);

/// Allocations of the whole process that are not freed.
static LIVE: AtomicI64 = AtomicI64::new(0);

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

/// Allocations of this thread so far.
pub fn of_thread() -> u64 {
    MINE.get()
}

fn count() {
    ALL.fetch_add(1, Ordering::Relaxed);
    MINE.set(MINE.get() + 1);
}

// SAFETY: every call is passed on unchanged to the system's allocator, whose guarantees are then ours; counting
// touches only atomics and a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        LIVE.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are those that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: `pointer` came from System by `alloc` or `realloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`, and the caller's promises about `size` are those that System asks for.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
