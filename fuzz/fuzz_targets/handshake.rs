//! What a host answers to a stranger, and a proof that is none.
#![no_main]

use copycost_cli::remote::handshake::{Challenge, ProofVerdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(bytes) = data.first_chunk::<40>() else { return };
    let challenge = Challenge::decode(bytes);
    if let Some(challenge) = challenge {
        assert_eq!(challenge.encode(), *bytes);
    }
    if let Some(verdict) = ProofVerdict::decode(bytes) {
        assert_eq!(verdict.encode(), *bytes);
        assert_eq!(challenge, None, "no answer means two things");
    }
});
