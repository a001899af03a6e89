//! Who is there: the first bytes of a control connection after its hello.
//!
//! The guest speaks first and longest, so that a host off loopback never sends a stranger more than it was sent:
//!
//! | from | bytes | what |
//! |---|---|---|
//! | guest | 32 + 64 | hello, then its nonce (32) and zeroes (32) |
//! | host | 40 | `open` or `hmac`, 4 bytes of zero, its nonce (32) |
//! | guest | 32 | its proof; zeroes where the host is open |
//! | host | 40 | `good` or `deny`, 4 bytes of zero, its own proof (zeroes where it is open or denies) |

use std::io;
use std::time::Instant;

use super::frame::send_bytes;
use super::token::{ProvingEnd, Token};
use copycost::internals::protocol::{BadHello, Hello, Purpose, VERSION};
use copycost::internals::sys::socket::Socket;

/// A fresh number of one handshake.
pub type Nonce = [u8; 32];

const OPENING: usize = 64;
const ANSWER: usize = 40;

/// What a host answers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// It asks for a proof.
    pub wants_proof: bool,
    /// Its nonce.
    pub nonce: Nonce,
}

/// What a host answers to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofVerdict {
    /// The guest is let in.
    pub good: bool,
    /// The host's own proof.
    pub proof: [u8; 32],
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The connection failed.
    #[error("the handshake failed: {0}")]
    Io(io::Error),
    /// The other end closed the connection.
    #[error("the handshake failed: the other end closed the connection")]
    Ended,
    /// The other end said something else.
    #[error("the host speaks another protocol")]
    Garbled,
    /// The host speaks another version.
    #[error(
        "the host speaks version {0} of copycost's protocol, and this is version {VERSION}: use the same \
         copycost on both hosts"
    )]
    Version(u16),
    /// The host asks for a token, and there is none.
    #[error("the host asks for a token: give --token-file")]
    NoToken,
    /// A token was given, and the host does not ask for one: it may be another host.
    #[error("the host does not ask for a token: check that it is the right host, or leave out --token-file")]
    Unasked,
    /// The host has another token.
    #[error("the host has a different token: use the same token file on both hosts")]
    Denied,
    /// The host could not prove that it knows the token.
    #[error("the host could not prove that it knows the token: it is a different host")]
    Impostor,
}

impl Challenge {
    /// As it is sent.
    pub fn encode(&self) -> [u8; ANSWER] {
        answer(if self.wants_proof { b"hmac" } else { b"open" }, &self.nonce)
    }

    /// Reads what [`Challenge::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8; ANSWER]) -> Option<Self> {
        let wants_proof = match &bytes[..8] {
            b"hmac\0\0\0\0" => true,
            b"open\0\0\0\0" => false,
            _ => return None,
        };
        Some(Self { wants_proof, nonce: tail(bytes) })
    }
}

impl ProofVerdict {
    /// As it is sent.
    pub fn encode(&self) -> [u8; ANSWER] {
        answer(if self.good { b"good" } else { b"deny" }, &self.proof)
    }

    /// Reads what [`ProofVerdict::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8; ANSWER]) -> Option<Self> {
        let good = match &bytes[..8] {
            b"good\0\0\0\0" => true,
            b"deny\0\0\0\0" => false,
            _ => return None,
        };
        Some(Self { good, proof: tail(bytes) })
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
        match error.kind() {
            UnexpectedEof | ConnectionReset | BrokenPipe => Self::Ended,
            TimedOut => Self::Io(io::Error::other("the other end sent nothing before the timeout")),
            _ => Self::Io(error),
        }
    }
}

fn answer(word: &[u8; 4], rest: &[u8; 32]) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    bytes[..4].copy_from_slice(word);
    bytes[8..].copy_from_slice(rest);
    bytes
}

fn tail(bytes: &[u8; ANSWER]) -> [u8; 32] {
    let mut rest = [0; 32];
    rest.copy_from_slice(&bytes[8..]);
    rest
}

fn fresh() -> io::Result<Nonce> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

fn read<const N: usize>(socket: &Socket, by: Instant) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    if socket.recv_exact(&mut bytes, by)? { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The host's part, after the hello. True: the guest is let in.
pub fn greet_guest(socket: &Socket, token: Option<&Token>, by: Instant) -> io::Result<bool> {
    let opening: [u8; OPENING] = read(socket, by)?;
    let mut guest = [0; 32];
    guest.copy_from_slice(&opening[..32]);
    let nonce = fresh()?;
    send_bytes(socket, &Challenge { wants_proof: token.is_some(), nonce }.encode())?;
    let proof: [u8; 32] = read(socket, by)?;
    let good = token.is_none_or(|token| token.proves(&proof, ProvingEnd::Guest, &nonce, &guest));
    let own = token.filter(|_| good).map(|token| token.prove(ProvingEnd::Host, &nonce, &guest));
    send_bytes(socket, &ProofVerdict { good, proof: own.unwrap_or_default() }.encode())?;
    Ok(good)
}

/// The host's first answer, which is a hello where it speaks another version.
fn read_challenge(socket: &Socket, by: Instant) -> Result<Challenge, HandshakeError> {
    let head: [u8; Hello::BYTES] = read(socket, by)?;
    if let Err(BadHello::Version(version)) = Hello::decode(&head) {
        return Err(HandshakeError::Version(version));
    }
    let mut bytes = [0; ANSWER];
    bytes[..Hello::BYTES].copy_from_slice(&head);
    bytes[Hello::BYTES..].copy_from_slice(&read::<{ ANSWER - Hello::BYTES }>(socket, by)?);
    Challenge::decode(&bytes).ok_or(HandshakeError::Garbled)
}

/// The guest's part, hello included.
pub fn greet_host(socket: &Socket, token: Option<&Token>, by: Instant) -> Result<(), HandshakeError> {
    let guest = fresh()?;
    let mut opening = [0; Hello::BYTES + OPENING];
    opening[..Hello::BYTES].copy_from_slice(&Hello { purpose: Purpose::Control }.encode());
    opening[Hello::BYTES..][..32].copy_from_slice(&guest);
    send_bytes(socket, &opening)?;
    let challenge = read_challenge(socket, by)?;
    let proof = match (token, challenge.wants_proof) {
        (Some(token), true) => token.prove(ProvingEnd::Guest, &challenge.nonce, &guest),
        (None, false) => [0; 32],
        (None, true) => return Err(HandshakeError::NoToken),
        (Some(_), false) => return Err(HandshakeError::Unasked),
    };
    send_bytes(socket, &proof)?;
    let verdict = ProofVerdict::decode(&read(socket, by)?).ok_or(HandshakeError::Garbled)?;
    let known = |token: &Token| token.proves(&verdict.proof, ProvingEnd::Host, &challenge.nonce, &guest);
    match (verdict.good, token.is_none_or(known)) {
        (true, true) => Ok(()),
        (true, false) => Err(HandshakeError::Impostor),
        (false, _) => Err(HandshakeError::Denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(word: bool, rest: [u8; 32]) {
            let challenge = Challenge { wants_proof: word, nonce: rest };
            prop_assert_eq!(Challenge::decode(&challenge.encode()), Some(challenge));
            let verdict = ProofVerdict { good: word, proof: rest };
            prop_assert_eq!(ProofVerdict::decode(&verdict.encode()), Some(verdict));
        }

        #[test]
        fn any_bytes_are_answered(first: [u8; 20], second: [u8; 20]) {
            let mut bytes = [0; ANSWER];
            bytes[..20].copy_from_slice(&first);
            bytes[20..].copy_from_slice(&second);
            let _ = (Challenge::decode(&bytes), ProofVerdict::decode(&bytes));
        }
    }
}
