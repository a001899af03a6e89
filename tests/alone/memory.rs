//! What the process gives back to the system.

use std::fs;
use std::thread;

use crate::common::child::{alone, this_test};
use copycost::internals::sys::memory::{page_size, trim};

#[test]
fn what_a_thread_has_freed_is_given_back() {
    const FREED: usize = 256 << 20;
    let resident = || {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * page_size()
    };
    let fill = || {
        let pieces: Vec<_> = (0..FREED >> 14).map(|_| vec![1u8; 1 << 14]).collect();
        // It lies behind the others, so that they are not at the arena's end.
        let last = vec![1u8; 1 << 14];
        drop(pieces);
        last
    };
    alone(this_test!(), || {
        let last = thread::scope(|scope| scope.spawn(fill).join()).unwrap();
        let before = resident();
        trim();
        let given = before.saturating_sub(resident());
        assert!(given > FREED / 2, "{given} bytes");
        drop(last);
    });
}
