//! A token file.
#![no_main]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use copycost_cli::remote::Token;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("copycost-fuzz-token-{}", std::process::id()));
    fs::write(&file, "").expect("a file");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a file of our own");
    file
});

fuzz_target!(|data: &[u8]| {
    fs::write(&*FILE, data).expect("a file");
    let secret = data.trim_ascii();
    match Token::read(&FILE) {
        Ok(token) => {
            assert!((16..=4096).contains(&secret.len()));
            assert_eq!(token.to_hex().len(), 2 * secret.len());
        }
        Err(error) => assert!(error.to_string().contains("a token has 16 to 4096"), "{error}"),
    }
});
