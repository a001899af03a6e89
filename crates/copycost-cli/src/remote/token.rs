//! The shared secret of two hosts, and the proof that an end knows it.
//!
//! The secret is never sent. Each end proves its knowledge with HMAC-SHA-256 over both nonces and its own role, so an
//! attacker can use neither a recorded proof nor a reflected challenge.

use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The shortest secret in bytes. A shorter one can be guessed from one recorded handshake.
const SHORTEST: usize = 16;

/// The longest secret in bytes. A longer file is the wrong file.
const LONGEST: u64 = 4096;

/// The secret that the client and the server share. Its `Debug` output does not show it.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl fmt::Debug for Token {
    /// Secrets do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The reason why a token file is rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadToken {
    /// The file cannot be read.
    #[error("the token file '{path}' cannot be read: {error}")]
    Unreadable {
        /// The path as the user gave it.
        path: String,
        /// The error of the system call.
        error: std::io::Error,
    },
    /// The path is a directory, a device or a pipe.
    #[error("the token file '{0}' is not a regular file")]
    NoFile(String),
    /// The group or others have rights on the file.
    #[error("the token file '{path}' can be read by others (mode {mode:03o}): chmod 600 '{path}'")]
    Exposed {
        /// The path as the user gave it.
        path: String,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The secret is too short or too long.
    #[error("the token file '{path}' holds {bytes} bytes: a token has {SHORTEST} to {LONGEST}")]
    Length {
        /// The path as the user gave it.
        path: String,
        /// The length without white space at the ends.
        bytes: usize,
    },
}

impl Token {
    /// Reads a token: the whole file without white space at its ends. Like ssh, it rejects a file that others can read.
    pub fn read(path: &Path) -> Result<Self, BadToken> {
        let name = || path.display().to_string();
        let unreadable = |error| BadToken::Unreadable { path: name(), error };
        // Checked before opening, because opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(BadToken::NoFile(name()));
        }
        let mut file = fs::File::open(path).map_err(unreadable)?;
        // The metadata of the open file; the name may point to another file by now.
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(BadToken::Exposed { path: name(), mode });
        }
        let mut bytes = Vec::new();
        file.by_ref().take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::new(bytes.trim_ascii()).map_err(|bytes| BadToken::Length { path: name(), bytes })
    }

    /// A new random token of 32 bytes.
    pub fn fresh() -> std::io::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self(secret.to_vec()))
    }

    /// The secret in hexadecimal, to be sent to the other ranks of a job.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Parses the output of [`Token::to_hex`].
    pub fn from_hex(text: &str) -> Option<Self> {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let secret: Vec<u8> = text.as_bytes().chunks(2).map(pair).collect::<Option<_>>()?;
        Self::new(&secret).ok()
    }

    fn new(secret: &[u8]) -> Result<Self, usize> {
        let fits = (SHORTEST..=LONGEST as usize).contains(&secret.len());
        if fits { Ok(Self(secret.to_vec())) } else { Err(secret.len()) }
    }

    /// The proof of the end with this `role`, for the nonces of server and client.
    pub fn prove(&self, role: ProvingEnd, server: &[u8; 32], client: &[u8; 32]) -> [u8; 32] {
        self.mac(role, server, client).finalize().into_bytes().into()
    }

    /// Whether `proof` is the proof of the end with this `role`. Compares in constant time.
    pub fn proves(&self, proof: &[u8; 32], role: ProvingEnd, server: &[u8; 32], client: &[u8; 32]) -> bool {
        self.mac(role, server, client).verify_slice(proof).is_ok()
    }

    fn mac(&self, role: ProvingEnd, server: &[u8; 32], client: &[u8; 32]) -> Hmac<Sha256> {
        #[allow(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(match role {
            ProvingEnd::Server => b"copycost host\0",
            ProvingEnd::Client => b"copycost guest",
        });
        mac.update(server);
        mac.update(client);
        mac
    }
}

/// The end of the connection that makes a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvingEnd {
    /// The end that accepts the control connection.
    Server,
    /// The end that opens the control connection.
    Client,
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
    fn unsafe_files_are_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"0123456789abcdef0123456789abcdef\n";
        assert!(Token::read(&file(folder.path(), "good", secret, 0o600)).is_ok());
        for (name, text, mode, part) in [
            ("group", &secret[..], 0o640, "chmod 600"),
            ("world", secret, 0o604, "mode 604"),
            ("empty", b"", 0o600, "holds 0 bytes"),
            ("short", b"0123456789\n", 0o600, "holds 10 bytes"),
            ("long", &[b'x'; 5000], 0o600, "16 to 4096"),
        ] {
            let error = Token::read(&file(folder.path(), name, text, mode)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(name), "{error}");
        }
        assert!(Token::read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(Token::read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_fresh_token_survives_its_text_and_is_unique() {
        let token = Token::fresh().unwrap();
        assert_eq!(Token::from_hex(&token.to_hex()).unwrap().0, token.0);
        assert_ne!(Token::fresh().unwrap().0, token.0);
        for wrong in ["", "00", "zz".repeat(20).as_str(), &"ä".repeat(20), &"0".repeat(33)] {
            assert!(Token::from_hex(wrong).is_none_or(|token| token.0.len() >= SHORTEST), "{wrong}");
        }
    }

    #[test]
    fn a_proof_holds_for_its_role_and_its_nonces_only() {
        let token = Token::new(b"0123456789abcdef").unwrap();
        let other = Token::new(b"0123456789abcdeg").unwrap();
        let (server, client) = ([1; 32], [2; 32]);
        let proof = token.prove(ProvingEnd::Client, &server, &client);
        assert!(token.proves(&proof, ProvingEnd::Client, &server, &client));
        assert!(!token.proves(&proof, ProvingEnd::Server, &server, &client));
        assert!(!token.proves(&proof, ProvingEnd::Client, &[3; 32], &client));
        assert!(!token.proves(&proof, ProvingEnd::Client, &server, &[3; 32]));
        assert!(!other.proves(&proof, ProvingEnd::Client, &server, &client));
        assert!(!format!("{token:?}").contains("0123"));
    }
}
