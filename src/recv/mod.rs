//! The receive paths: the ways to take bytes from a socket. This file has their common interface and the list
//! of them.
//!
//! A new path is a file in this directory, a `mod` line and an entry in [`ALL`]. `copycost list`,
//! `--receive`, the delivery tests and the bench target `receive` use this list.

mod buffer;
mod mapped;
mod plain;
mod trunc;
mod uring;
mod verifier;

use std::fmt;
use std::io;

use crate::offset::BufferStart;
use crate::sys::memory::page_size;
use crate::sys::socket::Socket;

pub use crate::unsupported::Unsupported;
pub use mapped::MappedReceiver;
pub use plain::PlainReceiver;
pub use trunc::TruncReceiver;
pub use uring::UringReceiver;
pub use verifier::{Verifier, WrongByte};

/// Every receive path in display order; the first is the default.
pub static ALL: &[ReceivePath] = &[plain::PATH, trunc::PATH, mapped::PATH, uring::PATH];

/// The path of this name.
pub fn by_name(name: &str) -> Option<&'static ReceivePath> {
    ALL.iter().find(|path| path.name == name)
}

/// One way to take bytes from a connection.
#[derive(Debug)]
pub struct ReceivePath {
    /// The name in flags and records.
    pub name: &'static str,
    /// One line: the copies and who makes them.
    pub description: &'static str,
    /// Checks whether this kernel supports it and, with `verify`, whether every byte can be checked.
    pub probe: fn(verify: bool) -> Result<(), Unsupported>,
    /// Opens a receiver on a connection, with its buffer at this offset.
    pub open: fn(Socket, BufferStart) -> io::Result<Box<dyn Receiver>>,
}

/// Takes bytes from a connection.
pub trait Receiver: Send + fmt::Debug {
    /// Takes at most `max` bytes, passes each chunk to `see` in order, and returns their number; 0 is the end
    /// of the stream. A timeout is `WouldBlock`.
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize>;

    /// Gives back the kernel's memory that it holds, because it receives nothing more for now.
    fn release(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The offset in a page at which the receive buffer starts; `None` for a path without one.
    fn buffer_offset(&self) -> Option<usize> {
        None
    }

    /// What it has received without a copy so far; `None` for a path that does not try.
    fn mapped(&self) -> Option<Mapped> {
        None
    }
}

/// What a path that maps pages has received, over one or several connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mapped {
    /// Bytes that were mapped.
    pub mapped: u64,
    /// Bytes that were copied because they could not be mapped.
    pub copied: u64,
    /// The size of the segments in bytes (tcpi_rcv_mss of one of the connections), if known.
    pub segment: Option<u32>,
}

impl Mapped {
    /// The difference to `earlier`, a former state of the same receiver.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            mapped: self.mapped - earlier.mapped,
            copied: self.copied - earlier.copied,
            segment: self.segment,
        }
    }

    /// The sum of two.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            mapped: self.mapped + other.mapped,
            copied: self.copied + other.copied,
            segment: self.segment.or(other.segment),
        }
    }

    /// The share of mapped bytes, 0 to 1; `None` if nothing arrived.
    pub fn share(&self) -> Option<f64> {
        let all = self.mapped + self.copied;
        (all > 0).then(|| self.mapped as f64 / all as f64)
    }

    /// If more than a twentieth was copied: the likely reason why the kernel cannot map it.
    pub fn copy_reason(&self) -> Option<String> {
        const ENOUGH: f64 = 0.95;
        let page = page_size();
        self.share().filter(|share| *share < ENOUGH)?;
        let segment = self.segment.unwrap_or(0) as usize;
        Some(if (1..page).contains(&segment) {
            format!("segments of {segment} bytes (MSS) hold no whole page of {page} bytes: raise the MTU")
        } else if self.mapped == 0 {
            "the kernel can map none of the received pages: copying sends and most network cards fill parts \
             of larger (compound) pages, and on one machine pages sent by reference belong to the sender"
                .to_owned()
        } else {
            let over = segment % page;
            format!(
                "the kernel maps a page only if a segment fills it from the first byte on (alignment): it \
                 copies the last {over} bytes of each segment of {segment} bytes (MSS), and more if data \
                 arrives in smaller pieces"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_an_id() {
        for path in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == path.name).count(), 1, "{}", path.name);
            assert!(path.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", path.name);
            assert!(path.description.len() <= 120 && !path.description.is_empty(), "{}", path.name);
        }
    }

    #[test]
    fn a_low_share_has_its_reason() {
        let why = |mapped, copied, segment| Mapped { mapped, copied, segment: Some(segment) }.copy_reason();
        assert_eq!(why(0, 0, 1448), None);
        assert_eq!(why(96, 4, 65_483), None);
        assert!(why(0, 100, 1448).unwrap().contains("1448 bytes (MSS)"));
        assert!(why(0, 100, 65_483).unwrap().contains("compound"));
        assert!(why(90, 10, 65_483).unwrap().contains("last 4043"));
    }

    #[test]
    fn a_difference_has_the_share_of_its_own_bytes() {
        let early = Mapped { mapped: 10, copied: 10, segment: None };
        let late = Mapped { mapped: 40, copied: 20, segment: Some(9000) };
        let part = late.since(&early);
        assert_eq!((part.mapped, part.copied, part.share()), (30, 10, Some(0.75)));
        assert_eq!(part.and(&early).segment, Some(9000));
    }
}
