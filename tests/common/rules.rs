//! The two rules that every test of the project keeps: a skip is one printed line with its reason, and the full set
//! has one switch. The library's unit tests include this file too.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::HashSet;
use std::io::Write as _;
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
