//! The first bytes of every connection, also within one process: a client sends a hello, then requests for
//! messages.
//!
//! All numbers are little-endian. After the hello a data connection carries requests in one direction and
//! only messages in the other, so that no protocol data is timed.

use std::fmt;

/// The version of the protocol. Both ends must have the same.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"copycost";

/// A random number that a data connection must present. The server makes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket([u8; 16]);

impl Ticket {
    /// A new ticket from the kernel's random numbers.
    pub fn new() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }
}

impl From<[u8; 16]> for Ticket {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl From<Ticket> for [u8; 16] {
    fn from(ticket: Ticket) -> Self {
        ticket.0
    }
}

impl fmt::Debug for Ticket {
    /// Hides the ticket, which must not appear in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// The first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
}

/// What a connection is for, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Messages for a client.
    Data {
        /// The client's number, from 0.
        client: u32,
        /// The ticket of the service.
        ticket: Ticket,
    },
    /// Control messages, which say what to measure.
    Control,
}

/// A request for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The number of messages; 0 only marks the last request.
    pub messages: u64,
    /// This is the last request of the run: the server sends what it holds back, waits until the kernel has
    /// released everything, and reports.
    pub last: bool,
}

/// Why the first bytes or a request are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHello {
    /// The peer uses another protocol.
    #[error("the peer does not speak copycost's protocol")]
    Magic,
    /// The peer uses another version.
    #[error(
        "the peer speaks version {0} of copycost's protocol, and this is version {VERSION}: use the same \
         copycost at both ends"
    )]
    Version(u16),
    /// The purpose is unknown to this version.
    #[error(
        "the peer requested something that this version does not know: use the same copycost at both ends"
    )]
    Purpose,
    /// The bytes are not a request.
    #[error("the peer sent something other than a request for messages")]
    Ask,
}

impl Hello {
    /// The encoded length in bytes.
    pub const BYTES: usize = 32;

    /// The hello of a client.
    pub fn data(client: u32, ticket: Ticket) -> Self {
        Self { purpose: Purpose::Data { client, ticket } }
    }

    /// The encoded form: magic, version, purpose (0 data, 1 control), a zero byte, client, ticket.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        match self.purpose {
            Purpose::Data { client, ticket } => {
                bytes[12..16].copy_from_slice(&client.to_le_bytes());
                bytes[16..].copy_from_slice(&ticket.0);
            }
            Purpose::Control => bytes[10] = 1,
        }
        bytes
    }

    /// Reads what [`Hello::encode`] wrote.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, BadHello> {
        if bytes[..8] != MAGIC {
            return Err(BadHello::Magic);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(BadHello::Version(version));
        }
        let mut ticket = [0; 16];
        ticket.copy_from_slice(&bytes[16..]);
        let client = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        let purpose = match bytes[10] {
            0 => Purpose::Data { client, ticket: Ticket(ticket) },
            1 => Purpose::Control,
            _ => return Err(BadHello::Purpose),
        };
        Ok(Self { purpose })
    }
}

impl Ask {
    /// The encoded length in bytes.
    pub const BYTES: usize = 16;

    const TAG: [u8; 4] = *b"ask ";

    /// The encoded form: tag, last (0 or 1), 3 zero bytes, messages.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&Self::TAG);
        bytes[4] = u8::from(self.last);
        bytes[8..].copy_from_slice(&self.messages.to_le_bytes());
        bytes
    }

    /// Reads what [`Ask::encode`] wrote.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, BadHello> {
        if bytes[..4] != Self::TAG || bytes[4] > 1 || bytes[5..8] != [0; 3] {
            return Err(BadHello::Ask);
        }
        let mut messages = [0; 8];
        messages.copy_from_slice(&bytes[8..]);
        Ok(Self { messages: u64::from_le_bytes(messages), last: bytes[4] == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encoded_values_decode(client: u32, ticket: [u8; 16], messages: u64, last: bool) {
            for hello in [Hello::data(client, Ticket(ticket)), Hello { purpose: Purpose::Control }] {
                prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
            let ask = Ask { messages, last };
            prop_assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
        }

        #[test]
        fn any_bytes_decode_or_fail(hello: [u8; Hello::BYTES], ask: [u8; Ask::BYTES]) {
            let _ = Hello::decode(&hello);
            let _ = Ask::decode(&ask);
        }
    }

    #[test]
    fn other_protocols_and_versions_have_different_errors() {
        let hello = Hello::data(3, Ticket::new().unwrap());
        let mut other = hello.encode();
        other[8] = 9;
        assert_eq!(Hello::decode(&other), Err(BadHello::Version(9)));
        other[0] = b'G';
        assert_eq!(Hello::decode(&other), Err(BadHello::Magic));
    }
}
