//! The texts of /proc that a measurement reads, and secrets in words.
#![no_main]

use std::time::Duration;

use copycost::internals::cost::opener::last_level;
use copycost::internals::cost::softirq::configured;
use copycost::internals::cost::system::{parse_schedstat, parse_stat};
use copycost_cli::json::{disarmed, within};
use copycost_cli::profile::symbols::Symbols;
use copycost_cli::remote::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = &*String::from_utf8_lossy(data);
    let _ = (parse_stat(text, Duration::from_millis(10)), parse_schedstat(text));
    let _ = (configured(text), last_level(text));
    let symbols = Symbols::parse(text);
    let _ = (symbols.name(0), symbols.name(u64::MAX));
    if let Some(token) = Token::from_hex(text) {
        assert_eq!(Token::from_hex(&token.to_hex()).map(|token| token.to_hex()), Some(token.to_hex()));
    }
    let (plain, _) = (disarmed(text), within(text, 7));
    assert_eq!(disarmed(&plain), plain, "once is enough");
});
