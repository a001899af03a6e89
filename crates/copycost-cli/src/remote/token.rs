//! The shared secret of two hosts, and the proof that an end knows it.
//!
//! The secret itself never travels: each end proves with HMAC-SHA-256 over the other's fresh nonce and its own role,
//! so that neither a recorded proof nor an end's own challenge, sent back, opens anything.

use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Secrets shorter than this can be guessed from one recorded handshake.
const SHORTEST: usize = 16;

/// Secrets longer than this are no secrets but wrong files.
const LONGEST: u64 = 4096;

/// A shared secret.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl fmt::Debug for Token {
    /// Secrets do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why a file is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadToken {
    /// It cannot be read.
    #[error("the token file '{path}' cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is a directory, a device or a pipe.
    #[error("the token file '{0}' is not a regular file")]
    NoFile(String),
    /// Others may read it.
    #[error("the token file '{path}' can be read by others (mode {mode:03o}): chmod 600 '{path}'")]
    Exposed {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Too short or too long.
    #[error("the token file '{path}' holds {bytes} bytes: a token has {SHORTEST} to {LONGEST}")]
    Length {
        /// The file.
        path: String,
        /// What it holds, white space at the ends left out.
        bytes: usize,
    },
}

impl Token {
    /// Reads a token: the whole file, white space at its ends left out. A file that others can read is refused, as
    /// ssh does.
    pub fn read(path: &Path) -> Result<Self, BadToken> {
        let name = || path.display().to_string();
        let unreadable = |error| BadToken::Unreadable { path: name(), error };
        // Before opening: opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(BadToken::NoFile(name()));
        }
        let mut file = fs::File::open(path).map_err(unreadable)?;
        // Of what was opened, not of what the name may mean by now.
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(BadToken::Exposed { path: name(), mode });
        }
        let mut bytes = Vec::new();
        file.by_ref().take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::new(bytes.trim_ascii()).map_err(|bytes| BadToken::Length { path: name(), bytes })
    }

    /// A token that nobody has had before.
    pub fn fresh() -> std::io::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self(secret.to_vec()))
    }

    /// The secret in letters and digits, to be handed to those whom it is for.
    pub fn in_words(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A token from [`Token::in_words`].
    pub fn from_words(words: &str) -> Option<Self> {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let secret: Vec<u8> = words.as_bytes().chunks(2).map(pair).collect::<Option<_>>()?;
        Self::new(&secret).ok()
    }

    fn new(secret: &[u8]) -> Result<Self, usize> {
        let fits = (SHORTEST..=LONGEST as usize).contains(&secret.len());
        if fits { Ok(Self(secret.to_vec())) } else { Err(secret.len()) }
    }

    /// The proof of an end with this `role` for the two nonces of a handshake.
    pub fn prove(&self, role: ProvingEnd, host: &[u8; 32], guest: &[u8; 32]) -> [u8; 32] {
        self.mac(role, host, guest).finalize().into_bytes().into()
    }

    /// Whether `proof` is that of `role`; in constant time.
    pub fn proves(&self, proof: &[u8; 32], role: ProvingEnd, host: &[u8; 32], guest: &[u8; 32]) -> bool {
        self.mac(role, host, guest).verify_slice(proof).is_ok()
    }

    fn mac(&self, role: ProvingEnd, host: &[u8; 32], guest: &[u8; 32]) -> Hmac<Sha256> {
        #[allow(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(match role {
            ProvingEnd::Host => b"copycost host\0",
            ProvingEnd::Guest => b"copycost guest",
        });
        mac.update(host);
        mac.update(guest);
        mac
    }
}

/// Which end proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvingEnd {
    /// The end that serves.
    Host,
    /// The end that measures.
    Guest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(folder: &Path, name: &str, text: &[u8], mode: u32) -> std::path::PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn files_that_are_no_secret_are_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"0123456789abcdef0123456789abcdef\n";
        assert!(Token::read(&file(folder.path(), "good", secret, 0o600)).is_ok());
        for (name, text, mode, says) in [
            ("group", &secret[..], 0o640, "chmod 600"),
            ("world", secret, 0o604, "mode 604"),
            ("empty", b"", 0o600, "holds 0 bytes"),
            ("short", b"0123456789\n", 0o600, "holds 10 bytes"),
            ("long", &[b'x'; 5000], 0o600, "16 to 4096"),
        ] {
            let error = Token::read(&file(folder.path(), name, text, mode)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(name), "{error}");
        }
        assert!(Token::read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(Token::read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_fresh_token_survives_its_words_and_is_no_other() {
        let token = Token::fresh().unwrap();
        assert_eq!(Token::from_words(&token.in_words()).unwrap().0, token.0);
        assert_ne!(Token::fresh().unwrap().0, token.0);
        for wrong in ["", "00", "zz".repeat(20).as_str(), &"ä".repeat(20), &"0".repeat(33)] {
            assert!(Token::from_words(wrong).is_none_or(|token| token.0.len() >= SHORTEST), "{wrong}");
        }
    }

    #[test]
    fn a_proof_holds_for_its_role_and_its_nonces_only() {
        let token = Token::new(b"0123456789abcdef").unwrap();
        let other = Token::new(b"0123456789abcdeg").unwrap();
        let (host, guest) = ([1; 32], [2; 32]);
        let proof = token.prove(ProvingEnd::Guest, &host, &guest);
        assert!(token.proves(&proof, ProvingEnd::Guest, &host, &guest));
        assert!(!token.proves(&proof, ProvingEnd::Host, &host, &guest));
        assert!(!token.proves(&proof, ProvingEnd::Guest, &[3; 32], &guest));
        assert!(!token.proves(&proof, ProvingEnd::Guest, &host, &[3; 32]));
        assert!(!other.proves(&proof, ProvingEnd::Guest, &host, &guest));
        assert!(!format!("{token:?}").contains("0123"));
    }
}
