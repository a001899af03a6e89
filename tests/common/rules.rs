//! The rules that every test of the project keeps: a skip is one printed line with its reason, the full set has one
//! switch, and where a user may lock little memory, tests take it in turn. The library's unit tests include this file too.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};

/// Set where everything can be had (CI): a test that would be skipped fails instead.
pub const REQUIRE_ALL: &str = "COPYCOST_REQUIRE_ALL";

/// Set to run the full set: every combination, and not only every value once.
pub const FULL: &str = "COPYCOST_FULL";

/// A skip's line begins with this.
pub const SKIPPED: &str = "skipped: ";

/// Whether the full set was asked for.
pub fn full() -> bool {
    std::env::var_os(FULL).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Says why something is not tested here, once in each process; a failure where [`REQUIRE_ALL`] is set.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os(REQUIRE_ALL).is_none(),
        "{REQUIRE_ALL} is set, and this would be skipped: {reason}"
    );
    static SAID: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.get_or_insert_default().insert(reason.to_owned()) {
        // Not by `eprintln!`: the harness captures what a passing test prints by the macros, and shows it to nobody.
        let _ = std::io::stderr().write_all(format!("{SKIPPED}{reason}\n").as_bytes());
    }
}

/// Whether the memory that this user may lock is bounded: all processes of the user share it, and what is sent by
/// reference or registered with io_uring counts.
pub fn lock_is_bounded() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let unlimited = |line: &str| line.split_whitespace().nth(3) == Some("unlimited");
    effective >> CAP_IPC_LOCK & 1 == 0
        && !limits.lines().find(|line| line.starts_with("Max locked memory")).is_some_and(unlimited)
}

/// Where [`lock_is_bounded`], this thread waits for its turn and has it until it ends: 8 MiB, which is what a user has by
/// default, are enough for any one test and not for two. A file lock, because a test may be a process of its own. A thread
/// that a test starts and waits for must not take a turn too.
pub fn take_turn_with_locked_memory() {
    thread_local! {
        static TURN: RefCell<Option<File>> = const { RefCell::new(None) };
    }
    TURN.with_borrow_mut(|turn| {
        if turn.is_none() && lock_is_bounded() {
            let binary = File::open(std::env::current_exe().unwrap()).unwrap();
            // SAFETY: the descriptor is open, and the call touches no memory of ours.
            #[allow(unsafe_code, reason = "File::lock came after this project's oldest compiler, 1.88")]
            let result = unsafe { libc::flock(binary.as_raw_fd(), libc::LOCK_EX) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            *turn = Some(binary);
        }
    });
}
