//! Where the fields lie, whether they are rewritten, and how much memory the messages cover.

use std::fmt;
use std::fs;
use std::str::FromStr;

use crate::names::named_enum;
use crate::sys::sched;
use crate::units::ByteSize;

/// Where the fields lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Layout {
    /// One allocation for each field, as strings lie on a fresh heap: one after the other, with the
    /// allocator's header between them. With [`BufferStart::Malloc`](crate::offset::BufferStart::Malloc) the memory comes from the allocator
    /// itself.
    #[default]
    Heap,
    /// One page-aligned mapping for each field.
    Page,
    /// Adjacent fields in one page-aligned mapping.
    Arena,
    /// Adjacent fields, with all messages in one mapping that starts on a huge page and requests huge pages.
    /// A message that fits lies on one huge page.
    Huge,
    /// Adjacent fields in a memfd. All messages are in one file, and each starts on a page.
    Memfd,
}

/// Whether messages are rewritten before they are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Buffers {
    /// One message with the same content, again and again.
    #[default]
    Constant,
    /// A ring of this many messages. Each is rewritten before it is sent, after the kernel has released it.
    Ring(usize),
}

/// How much memory the messages cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Footprint {
    /// As little as the buffers need, so the data stays in the nearest cache.
    #[default]
    Hot,
    /// Half of the second-level cache.
    L2,
    /// Half of the last-level cache.
    Llc,
    /// Four times the last-level cache, at least 128 MiB.
    Cold,
}

impl Footprint {
    /// How many bytes the messages must cover.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Hot => 0,
            Self::L2 => cache_bytes(2).unwrap_or(1 << 20) / 2,
            Self::Llc => cache_bytes(3).unwrap_or(32 << 20) / 2,
            Self::Cold => (4 * cache_bytes(3).unwrap_or(32 << 20)).max(128 << 20),
        }
    }
}

/// The size of the unified cache of `level`, as the kernel reports it for the first CPU that this process may
/// use.
fn cache_bytes(level: u32) -> Option<usize> {
    let cpu = *sched::allowed_cpus().ok()?.first()?;
    let caches = fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}/cache")).ok()?;
    caches.flatten().find_map(|cache| {
        let read = |name| fs::read_to_string(cache.path().join(name)).ok();
        let unified = read("type")?.trim() == "Unified" && read("level")?.trim().parse() == Ok(level);
        unified.then(|| read("size")?.trim().parse::<ByteSize>().ok().map(|size| size.0))?
    })
}

named_enum!(Layout: Heap = "heap", Page = "page", Arena = "arena", Huge = "huge", Memfd = "memfd");
named_enum!(Footprint: Hot = "hot", L2 = "l2", Llc = "llc", Cold = "cold");

impl fmt::Display for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.pad("constant"),
            Self::Ring(messages) => f.pad(&format!("ring:{messages}")),
        }
    }
}

impl FromStr for Buffers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "constant" {
            return Ok(Self::Constant);
        }
        let messages = text.strip_prefix("ring:").and_then(|count| count.parse().ok());
        match messages {
            Some(messages @ 1..=MAX_RING) => Ok(Self::Ring(messages)),
            _ => Err(format!(
                "the buffers must be constant, or ring:N with N from 1 to {MAX_RING} (got '{text}')"
            )),
        }
    }
}

/// The most messages in a ring. With more, the bookkeeping of a connection no longer fits its caches.
pub const MAX_RING: usize = 65_536;
