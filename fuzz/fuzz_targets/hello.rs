//! The first bytes of a connection: whatever they are, they are answered, and what was understood reads back.
#![no_main]

use copycost::internals::protocol::{Ask, Hello};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(Ok(hello)) = data.first_chunk().map(Hello::decode) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    let rest = data.get(Hello::BYTES..).unwrap_or(data);
    if let Some((bytes, Ok(ask))) = rest.first_chunk().map(|bytes| (bytes, Ask::decode(bytes))) {
        assert_eq!(ask.encode(), *bytes);
    }
});
