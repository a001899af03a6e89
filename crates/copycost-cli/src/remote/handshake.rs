//! The handshake of a control connection: both ends prove that they know the token.
//!
//! The client sends first and sends more bytes than it gets, so that nobody can use the server to amplify traffic:
//!
//! | from | bytes | content |
//! |---|---|---|
//! | client | 32 + 64 | hello, then its nonce (32) and zeroes (32) |
//! | server | 40 | `open` or `hmac`, 4 bytes of zero, its nonce (32) |
//! | client | 32 | its proof; zeroes if the server is open |
//! | server | 40 | `good` or `deny`, 4 bytes of zero, its own proof (zeroes if it is open or denies) |

use std::io;
use std::time::Instant;

use super::frame::send_bytes;
use super::token::{ProvingEnd, Token};
use copycost::internals::protocol::{BadHello, Hello, Purpose, VERSION};
use copycost::internals::sys::socket::Socket;

/// Random bytes that an end makes for one handshake.
pub type Nonce = [u8; 32];

const OPENING: usize = 64;
const ANSWER: usize = 40;

/// The first answer of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// Whether the server asks for a proof.
    pub wants_proof: bool,
    /// The server's nonce.
    pub nonce: Nonce,
}

/// The answer of a server to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofVerdict {
    /// Whether the server accepts the client.
    pub good: bool,
    /// The server's own proof; zeroes if it is open or denies.
    pub proof: [u8; 32],
}

/// The reason why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A system call on the connection failed.
    #[error("the handshake failed: {0}")]
    Io(io::Error),
    /// The other end closed the connection early.
    #[error("the handshake failed: the other end closed the connection")]
    Ended,
    /// The other end sent unexpected bytes.
    #[error("the host speaks another protocol")]
    Garbled,
    /// The server speaks another version of the protocol.
    #[error(
        "the host speaks version {0} of copycost's protocol, and this is version {VERSION}: use the same \
         copycost on both hosts"
    )]
    Version(u16),
    /// The server asks for a token, but the user gave none.
    #[error("the host asks for a token: give --token-file")]
    NoToken,
    /// The user gave a token, but the server does not ask for one: it may be the wrong server.
    #[error("the host does not ask for a token: check that it is the right host, or leave out --token-file")]
    Unasked,
    /// The server has another token.
    #[error("the host has a different token: use the same token file on both hosts")]
    Denied,
    /// The server could not prove that it knows the token.
    #[error("the host could not prove that it knows the token: it is a different host")]
    Impostor,
}

impl Challenge {
    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; ANSWER] {
        encode_answer(if self.wants_proof { b"hmac" } else { b"open" }, &self.nonce)
    }

    /// Reads what [`Challenge::encode`] wrote. Other bytes give `None`.
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
    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; ANSWER] {
        encode_answer(if self.good { b"good" } else { b"deny" }, &self.proof)
    }

    /// Reads what [`ProofVerdict::encode`] wrote. Other bytes give `None`.
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

fn encode_answer(tag: &[u8; 4], rest: &[u8; 32]) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    bytes[..4].copy_from_slice(tag);
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

/// The server's part of the handshake, after the hello. Returns whether the client is accepted.
pub fn greet_client(socket: &Socket, token: Option<&Token>, by: Instant) -> io::Result<bool> {
    let opening: [u8; OPENING] = read(socket, by)?;
    let mut client_nonce = [0; 32];
    client_nonce.copy_from_slice(&opening[..32]);
    let nonce = fresh()?;
    send_bytes(socket, &Challenge { wants_proof: token.is_some(), nonce }.encode())?;
    let proof: [u8; 32] = read(socket, by)?;
    let good = token.is_none_or(|token| token.proves(&proof, ProvingEnd::Client, &nonce, &client_nonce));
    let server_proof =
        token.filter(|_| good).map(|token| token.prove(ProvingEnd::Server, &nonce, &client_nonce));
    send_bytes(socket, &ProofVerdict { good, proof: server_proof.unwrap_or_default() }.encode())?;
    Ok(good)
}

/// Reads the first answer of the server. A server with another version answers with a hello instead.
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

/// The client's part of the handshake, including the hello.
pub fn greet_server(socket: &Socket, token: Option<&Token>, by: Instant) -> Result<(), HandshakeError> {
    let client_nonce = fresh()?;
    let mut opening = [0; Hello::BYTES + OPENING];
    opening[..Hello::BYTES].copy_from_slice(&Hello { purpose: Purpose::Control }.encode());
    opening[Hello::BYTES..][..32].copy_from_slice(&client_nonce);
    send_bytes(socket, &opening)?;
    let challenge = read_challenge(socket, by)?;
    let proof = match (token, challenge.wants_proof) {
        (Some(token), true) => token.prove(ProvingEnd::Client, &challenge.nonce, &client_nonce),
        (None, false) => [0; 32],
        (None, true) => return Err(HandshakeError::NoToken),
        (Some(_), false) => return Err(HandshakeError::Unasked),
    };
    send_bytes(socket, &proof)?;
    let verdict = ProofVerdict::decode(&read(socket, by)?).ok_or(HandshakeError::Garbled)?;
    let known =
        |token: &Token| token.proves(&verdict.proof, ProvingEnd::Server, &challenge.nonce, &client_nonce);
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
        fn encoded_answers_decode_to_the_same(flag: bool, rest: [u8; 32]) {
            let challenge = Challenge { wants_proof: flag, nonce: rest };
            prop_assert_eq!(Challenge::decode(&challenge.encode()), Some(challenge));
            let verdict = ProofVerdict { good: flag, proof: rest };
            prop_assert_eq!(ProofVerdict::decode(&verdict.encode()), Some(verdict));
        }

        #[test]
        fn no_bytes_panic(first: [u8; 20], second: [u8; 20]) {
            let mut bytes = [0; ANSWER];
            bytes[..20].copy_from_slice(&first);
            bytes[20..].copy_from_slice(&second);
            let _ = (Challenge::decode(&bytes), ProofVerdict::decode(&bytes));
        }
    }
}
