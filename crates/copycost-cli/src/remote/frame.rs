//! Frames of a control connection: four bytes of length, little-endian, and that many bytes of JSON.

use std::io;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json::disarmed;
use copycost::internals::sys::socket::{SendFlags, Socket};

/// The largest frame in bytes that a server reads from an authenticated client. A scenario takes a few hundred bytes, and
/// the stretch of a trace at most 150 KiB.
pub const MOST_FROM_CLIENT: usize = 256 << 10;

/// The largest frame in bytes that a client reads from a server. A report holds histograms.
pub const MOST_FROM_SERVER: usize = 1 << 20;

/// The reason why bytes are not a valid frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// The frame is longer than the reader allows.
    #[error("received a frame of {length} bytes, but at most {most} are allowed")]
    TooLong {
        /// The length in the header, in bytes.
        length: usize,
        /// The reader's limit, in bytes.
        most: usize,
    },
    /// The JSON is malformed or has another type.
    #[error("a frame could not be parsed: {0}")]
    Garbled(String),
}

/// Encodes `value` as a frame, header included.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, BadFrame> {
    let json = serde_json::to_vec(value).map_err(|error| BadFrame::Garbled(error.to_string()))?;
    let length = u32::try_from(json.len())
        .map_err(|_| BadFrame::TooLong { length: json.len(), most: u32::MAX as usize })?;
    Ok([&length.to_le_bytes()[..], &json].concat())
}

/// The length in a frame's header, if it does not exceed `most` bytes.
pub fn length(header: [u8; 4], most: usize) -> Result<usize, BadFrame> {
    let length = u32::from_le_bytes(header) as usize;
    if length <= most { Ok(length) } else { Err(BadFrame::TooLong { length, most }) }
}

/// Parses the JSON of a frame, header excluded.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, BadFrame> {
    serde_json::from_slice(json).map_err(|error| BadFrame::Garbled(error.to_string()))
}

/// Sends `value` as a frame.
pub fn send<T: Serialize>(socket: &Socket, value: &T) -> io::Result<()> {
    send_bytes(socket, &encode(value).map_err(io::Error::other)?)
}

/// Sends all of `bytes`, in several calls if necessary.
pub fn send_bytes(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = socket.send(rest, SendFlags::NONE)?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Receives the next frame, which must be complete before `by`; `None` if the peer has closed the connection.
pub fn receive<T: DeserializeOwned>(socket: &Socket, most: usize, by: Instant) -> io::Result<Option<T>> {
    let Some(json) = receive_bytes(socket, most, by)? else { return Ok(None) };
    decode(&json).map(Some).map_err(io::Error::other)
}

fn receive_bytes(socket: &Socket, most: usize, by: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; 4];
    if !socket.recv_exact(&mut header, by)? {
        return Ok(None);
    }
    let mut json = vec![0; length(header, most).map_err(io::Error::other)?];
    if !json.is_empty() && !socket.recv_exact(&mut json, by)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(json))
}

/// Like [`receive`], for frames whose strings are shown to the user: control characters are replaced by spaces.
pub fn receive_to_show<T: DeserializeOwned>(
    socket: &Socket,
    most: usize,
    by: Instant,
) -> io::Result<Option<T>> {
    let Some(json) = receive_bytes(socket, most, by)? else { return Ok(None) };
    decode(disarmed(&String::from_utf8_lossy(&json)).as_bytes()).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in proptest::collection::vec(any::<String>(), 0..8)) {
            let frame = encode(&value).unwrap();
            let length = length([frame[0], frame[1], frame[2], frame[3]], MOST_FROM_SERVER).unwrap();
            prop_assert_eq!(length, frame.len() - 4);
            prop_assert_eq!(decode::<Vec<String>>(&frame[4..]), Ok(value));
        }

        #[test]
        fn any_header_is_a_length_within_the_bound_or_refused(header: [u8; 4], most in 0usize..1 << 33) {
            let announced = u32::from_le_bytes(header) as usize;
            prop_assert_eq!(length(header, most).is_ok(), announced <= most);
        }
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused_before_it_is_read() {
        let most = MOST_FROM_CLIENT;
        assert_eq!(length([0xff; 4], most), Err(BadFrame::TooLong { length: u32::MAX as usize, most }));
        assert_eq!(length(65_536u32.to_le_bytes(), most), Ok(65_536));
    }
}
