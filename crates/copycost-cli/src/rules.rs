//! The two rules of this crate's unit tests, as the integration tests have them: one switch for the full set, and a skip
//! is one printed line with its reason.

use std::io::Write as _;

/// Whether the full set is wanted.
pub fn full() -> bool {
    std::env::var_os("COPYCOST_FULL").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Says why a test is not made here, past the harness that captures what is printed; a failure where everything is
/// required.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("COPYCOST_REQUIRE_ALL").is_none(),
        "COPYCOST_REQUIRE_ALL is set, and this would be skipped: {reason}"
    );
    let _ = std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes());
}
