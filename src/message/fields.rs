//! How a message is divided into fields.

use std::fmt;
use std::str::FromStr;

use crate::units::ByteSize;

/// The largest number of fields.
pub const FIELDS: usize = 8;

/// The largest message, in bytes.
pub const MAX_SIZE: usize = 1 << 30;

/// The length of a header field of a `headed` message, similar to a short header line or a length-prefixed
/// key.
pub(super) const HEADER_BYTES: usize = 32;

/// How a message's size is divided into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fields {
    /// Eight parts of size/8 bytes, the first size%8 of them one byte longer.
    #[default]
    Even,
    /// Seven header fields of 32 bytes (size/16 in messages below 512 bytes) and one body.
    Headed,
    /// One field, as similar tools send.
    Single,
    /// Fields of these lengths, whose sum is the size.
    Exact(Lengths),
}

/// The lengths of one to eight fields in bytes, in order, padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths([u32; FIELDS]);

impl Lengths {
    /// Takes one to eight lengths of at least one byte each.
    pub fn new(lengths: &[usize]) -> Option<Self> {
        let mut padded = [0; FIELDS];
        if lengths.is_empty() || lengths.len() > FIELDS {
            return None;
        }
        for (slot, length) in padded.iter_mut().zip(lengths) {
            *slot = u32::try_from(*length).ok().filter(|length| (1..=MAX_SIZE as u32).contains(length))?;
        }
        Some(Self(padded))
    }

    /// The lengths in bytes.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|length| *length as usize).filter(|length| *length > 0)
    }
}

impl Fields {
    /// Every division that has a name.
    pub const ALL: &[Self] = &[Self::Even, Self::Headed, Self::Single];

    /// The size of the message, if the division fixes it.
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Exact(lengths) => Some(lengths.iter().sum()),
            Self::Even | Self::Headed | Self::Single => None,
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even => f.pad("even"),
            Self::Headed => f.pad("headed"),
            Self::Single => f.pad("single"),
            Self::Exact(lengths) => {
                let lengths: Vec<_> = lengths.iter().map(|length| length.to_string()).collect();
                f.pad(&lengths.join(","))
            }
        }
    }
}

impl FromStr for Fields {
    type Err = String;

    /// A name, or lengths separated by commas, in the syntax of sizes.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(named) = Self::ALL.iter().find(|fields| fields.to_string() == text) {
            return Ok(*named);
        }
        let bytes = |part: &str| part.parse::<ByteSize>().ok().map(|size| size.0);
        let lengths: Option<Vec<_>> = text.split(',').map(bytes).collect();
        let exact = lengths.and_then(|lengths| Lengths::new(&lengths)).map(Self::Exact);
        exact.filter(|fields| fields.size().is_some_and(|size| (FIELDS..=MAX_SIZE).contains(&size))).ok_or_else(|| {
            format!(
                "the fields must be even, headed, single, or one to eight lengths separated by commas, such \
                 as 64,65472, that add up to 8 bytes to 1 GiB (got '{text}')"
            )
        })
    }
}
